package raft

import (
	"context"

	"github.com/viewline/viewline/replication"
)

// Transport carries a group's messages between its replicas. Messages may be lost, repeated, reordered and late; they
// may not be changed unnoticed. It has to know who speaks.
type Transport interface {
	// Send hands a message on and returns at once; it drops the message when its bounded queue is full. The payload must
	// not be changed afterwards.
	Send(to replication.ReplicaID, payload []byte)

	// Reach says who is to be reached from here on, and where; "": the transport knows it by its own configuration. It
	// does not block.
	Reach(members map[replication.ReplicaID]string)

	// Receive sets the function that gets every message for this replica, possibly from many goroutines; it must not
	// block. nil stops the delivery and returns when no call is under way.
	Receive(deliver func(from replication.ReplicaID, payload []byte))

	// ServeCheckpoints sets the function that opens a snapshot for a peer. nil stops the service.
	ServeCheckpoints(open OpenFunc)

	// FetchCheckpoint asks a peer for a snapshot. The chunks end with io.EOF only when the peer says that it has sent the
	// last one, and with an error when ctx ends.
	FetchCheckpoint(ctx context.Context, from replication.ReplicaID, request replication.CheckpointRequest) (header []byte, chunks replication.ChunkReader, err error)
}

// OpenFunc opens a snapshot for a peer. Its error is replication.ErrCheckpointGone.
type OpenFunc = func(from replication.ReplicaID, request replication.CheckpointRequest) (header []byte, chunks replication.ChunkReader, err error)

// alone is the transport of a group of one.
type alone struct{}

func (alone) Send(replication.ReplicaID, []byte)          {}
func (alone) Reach(map[replication.ReplicaID]string)      {}
func (alone) Receive(func(replication.ReplicaID, []byte)) {}
func (alone) ServeCheckpoints(OpenFunc)                   {}
func (alone) FetchCheckpoint(context.Context, replication.ReplicaID, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return nil, nil, replication.ErrCheckpointGone
}
