package storage

import (
	"errors"
	"io"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// HoldCheckpoint opens the newest checkpoint for others.
func (m *Memory) HoldCheckpoint() (vr.HeldCheckpoint, error) {
	meta, body, err := m.OpenCheckpoint()
	if err != nil {
		return nil, err
	}
	state, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	h := &heldState{state: state, identity: vr.CheckpointIdentity{Meta: meta}}
	for at := 0; at < len(state); at += chunkBytesMax {
		h.sums = append(h.sums, chunkSum(uint32(len(h.sums)), state[at:min(at+chunkBytesMax, len(state))]))
	}
	h.identity.Digest = transfer.DigestOf(h.sums)
	return h, nil
}

// heldState is a state that others are given.
type heldState struct {
	state    []byte
	sums     []uint32 // of its chunks
	identity vr.CheckpointIdentity
}

func (h *heldState) Identity() vr.CheckpointIdentity { return h.identity }

func (h *heldState) Bytes() uint64 { return uint64(len(h.state)) }

func (h *heldState) Chunk(index uint64) (replication.Chunk, error) {
	if index >= uint64(len(h.sums)) {
		return replication.Chunk{}, io.EOF
	}
	data := h.state[index*chunkBytesMax:]
	return replication.Chunk{Index: index, Checksum: h.sums[index], Data: data[:min(len(data), chunkBytesMax)]}, nil
}

func (h *heldState) Close() error { return nil }

// partialState is a part of a checkpoint of another replica.
type partialState struct {
	identity vr.CheckpointIdentity
	state    []byte
	sums     []uint32
}

// Unfinished is the checkpoint of which a part is here.
func (m *Memory) Unfinished() (vr.CheckpointIdentity, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.partial == nil {
		return vr.CheckpointIdentity{}, false
	}
	return m.partial.identity, true
}

// ReceiveCheckpoint goes on with a checkpoint of another replica.
func (m *Memory) ReceiveCheckpoint(identity vr.CheckpointIdentity) (vr.CheckpointReceiver, error) {
	writer, err := m.CreateCheckpoint(identity.Meta)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.partial == nil || m.partial.identity != identity {
		m.partial = &partialState{identity: identity}
	}
	return &memoryReceiver{memory: m, partialState: *m.partial, writer: writer}, nil
}

// dropPartial removes the part of a checkpoint that is not above an op-number, with mu held.
func (m *Memory) dropPartial(op core.OpNumber) {
	if m.partial != nil && m.partial.identity.Meta.Op <= op {
		m.partial = nil
	}
}

type memoryReceiver struct {
	memory *Memory
	partialState
	writer vr.CheckpointWriter
	done   bool
}

func (r *memoryReceiver) Next() uint64 { return uint64(len(r.sums)) }

func (r *memoryReceiver) Bytes() uint64 { return uint64(len(r.state)) }

func (r *memoryReceiver) Write(chunk replication.Chunk) error {
	if err := checkChunk(&chunk, r.Next(), r.Bytes()); err != nil {
		return err
	}
	r.state, r.sums = append(r.state, chunk.Data...), append(r.sums, chunk.Checksum)
	return nil
}

func (r *memoryReceiver) Commit() error {
	if err := received(r.Next(), r.Bytes()).Whole(&r.identity, transfer.DigestOf(r.sums), 0); err != nil {
		return errors.Join(err, r.Abort())
	}
	r.done = true
	if _, err := r.writer.Write(r.state); err != nil {
		return err
	}
	return r.writer.Commit()
}

func (r *memoryReceiver) Keep() error { return r.leave(&r.partialState) }

func (r *memoryReceiver) Abort() error { return r.leave(nil) }

func (r *memoryReceiver) leave(kept *partialState) error {
	if r.done {
		return nil
	}
	r.done = true
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	r.memory.partial = kept
	return r.writer.Abort()
}
