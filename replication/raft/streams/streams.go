// Package streams is the raft.Transport of replicas on different machines: gRPC streams, by replication/transport.
//
//	node, err := transport.New(transport.Options{Cluster: id, Dial: credentials})
//	node.RegisterServer(server) // the process's *grpc.Server
//	group, err := node.Group(transport.Local{Group: 1, Replica: 2, Backend: streams.Backend}, addresses)
//	replica, err := raft.Open(raft.Options{Self: 2, Transport: streams.Of(group), ...})
//
// One transport.Transport serves all groups of a process, whatever replicates them, and one stream goes to each other
// process.
package streams

import (
	"context"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/transport"
)

// Backend is what replicas of this backend are in handshakes: those of another in the same group are not heard.
const Backend = "raft"

// Of returns the replica's end of a transport. The group stays the caller's to close, after the replica.
func Of(group *transport.Group) raft.Transport { return end{group} }

type end struct{ group *transport.Group }

// Send hands a message on.
func (e end) Send(to replication.ReplicaID, payload []byte) { e.group.Send(uint32(to), payload) }

// Reach says who is to be reached, and where.
func (e end) Reach(members map[replication.ReplicaID]string) {
	addresses := make(map[uint32]string, len(members))
	for id, address := range members {
		addresses[uint32(id)] = address
	}
	e.group.Reach(addresses)
}

// Receive sets the receiver.
func (e end) Receive(deliver func(from replication.ReplicaID, payload []byte)) {
	if deliver == nil {
		e.group.Receive(nil)
		return
	}
	e.group.Receive(func(from uint32, payload []byte) { deliver(replication.ReplicaID(from), payload) })
}

// ServeCheckpoints sets the function that opens snapshots for peers.
func (e end) ServeCheckpoints(open raft.OpenFunc) {
	if open == nil {
		e.group.ServeCheckpoints(nil)
		return
	}
	e.group.ServeCheckpoints(func(from uint32, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return open(replication.ReplicaID(from), request)
	})
}

// FetchCheckpoint asks a peer for a snapshot.
func (e end) FetchCheckpoint(ctx context.Context, from replication.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return e.group.FetchCheckpoint(ctx, uint32(from), request)
}
