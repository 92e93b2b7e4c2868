package cluster

import (
	"context"
	"io"

	"github.com/viewline/viewline/replication/transport"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// groupTransport is a transport.Group in the words of Viewstamped Replication.
type groupTransport struct{ group *transport.Group }

var _ vr.Transport = groupTransport{}

// Send hands a message on.
func (t groupTransport) Send(to core.ReplicaID, payload []byte) { t.group.Send(uint32(to), payload) }

// Receive sets the receiver.
func (t groupTransport) Receive(deliver func(from core.ReplicaID, payload []byte)) {
	if deliver == nil {
		t.group.Receive(nil)
		return
	}
	t.group.Receive(func(from uint32, payload []byte) { deliver(core.ReplicaID(from), payload) })
}

// ServeCheckpoints sets the function that opens checkpoints for peers.
func (t groupTransport) ServeCheckpoints(open func(core.ReplicaID, core.OpNumber) ([]byte, io.ReadCloser, error)) {
	if open == nil {
		t.group.ServeCheckpoints(nil)
		return
	}
	t.group.ServeCheckpoints(func(from uint32, atLeast uint64) ([]byte, io.ReadCloser, error) {
		return open(core.ReplicaID(from), core.OpNumber(atLeast))
	})
}

// FetchCheckpoint asks a peer for its newest checkpoint.
func (t groupTransport) FetchCheckpoint(ctx context.Context, from core.ReplicaID, atLeast core.OpNumber) ([]byte, io.ReadCloser, error) {
	return t.group.FetchCheckpoint(ctx, uint32(from), uint64(atLeast))
}
