// Package streams is the vr.Transport of replicas on different machines: gRPC streams, by replication/transport.
//
//	node, err := transport.New(transport.Options{Cluster: id, Dial: credentials})
//	node.RegisterServer(server) // the process's *grpc.Server
//	group, err := node.Group(transport.Local{Group: 1, Replica: 2}, addresses)
//	replica, err := vr.Open(vr.Options{Self: 2, Transport: streams.Of(group), ...})
//
// One transport.Transport serves all groups of a process, and one stream goes to each other process.
package streams

import (
	"context"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// Of returns the replica's end of a transport in the words of Viewstamped Replication. The group stays the caller's
// to close, after the replica.
func Of(group *transport.Group) vr.Transport { return end{group} }

type end struct{ group *transport.Group }

// Send hands a message on.
func (e end) Send(to core.ReplicaID, payload []byte) { e.group.Send(uint32(to), payload) }

// Reach says who is to be reached, and where.
func (e end) Reach(members []core.Member) {
	addresses := make(map[uint32]string, len(members))
	for _, member := range members {
		addresses[uint32(member.ID)] = member.Address
	}
	e.group.Reach(addresses)
}

// Receive sets the receiver.
func (e end) Receive(deliver func(from core.ReplicaID, payload []byte)) {
	if deliver == nil {
		e.group.Receive(nil)
		return
	}
	e.group.Receive(func(from uint32, payload []byte) { deliver(core.ReplicaID(from), payload) })
}

// ServeCheckpoints sets the function that opens checkpoints for peers.
func (e end) ServeCheckpoints(open vr.OpenFunc) {
	if open == nil {
		e.group.ServeCheckpoints(nil)
		return
	}
	e.group.ServeCheckpoints(func(from uint32, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return open(core.ReplicaID(from), request)
	})
}

// FetchCheckpoint asks a peer for a checkpoint.
func (e end) FetchCheckpoint(ctx context.Context, from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return e.group.FetchCheckpoint(ctx, uint32(from), request)
}
