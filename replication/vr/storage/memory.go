package storage

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

var _ vr.Storage = (*Memory)(nil)

// Memory is a storage that lives as long as its process: for tests and measurements, not for a replica that
// anyone relies on. It keeps what it was given across Close: the same Memory handed to a new replica is a
// restart after a power cut in which every Write that returned had reached the disk.
type Memory struct {
	mu        sync.Mutex // guards all below
	hardState core.HardState
	extent    extent
	entries   []core.Entry
	meta      core.CheckpointMeta
	state     []byte
	syncs     uint64
}

// NewMemory makes an empty one. There is nothing to format.
func NewMemory() *Memory { return &Memory{} }

// Load returns everything.
func (m *Memory) Load() (vr.Loaded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return vr.Loaded{HardState: m.hardState, Checkpoint: m.meta, Entries: slices.Clone(m.entries)}, nil
}

// Write keeps a batch; ErrGap, and nothing kept, when it does not join what is there.
func (m *Memory) Write(batch vr.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries, next := m.entries, m.extent
	if batch.Truncate && batch.TruncateAbove < next.last {
		if batch.TruncateAbove < next.base {
			return fmt.Errorf("%w: the log begins after operation %d, it cannot end at %d", ErrGap, next.base, batch.TruncateAbove)
		}
		entries = slices.Clip(entries[:batch.TruncateAbove-next.base])
		next.end(entries)
	}
	if batch.TruncateBelow > next.last+1 && (len(batch.Entries) == 0 || batch.Entries[0].Op != next.last+1) {
		if base := batch.TruncateBelow - 1; m.meta.Op != base {
			return fmt.Errorf("%w: the log would begin after operation %d, the newest checkpoint is of %d", ErrGap, base, m.meta.Op)
		}
		entries, next = nil, extent{base: m.meta.Op, baseHash: m.meta.Hash, last: m.meta.Op, lastHash: m.meta.Hash}
	}
	for i := range batch.Entries {
		if want := next.last + 1 + core.OpNumber(i); batch.Entries[i].Op != want {
			return fmt.Errorf("%w: operation %d where %d belongs", ErrGap, batch.Entries[i].Op, want)
		}
	}
	entries = append(entries, batch.Entries...)
	next.end(entries)
	if keep := batch.TruncateBelow; keep > next.base+1 {
		if keep > next.last+1 {
			return fmt.Errorf("%w: the log ends at operation %d, it cannot begin at %d", ErrGap, next.last, keep)
		}
		below := entries[keep-1-(next.base+1)]
		entries = slices.Clone(entries[keep-1-next.base:])
		next.base, next.baseHash = below.Op, below.Hash
	}
	next.join(m.meta)
	m.entries, m.extent = entries, next
	if batch.HardState != nil {
		m.hardState = *batch.HardState
	}
	m.syncs++
	return nil
}

// end sets where the log ends, given all of its entries.
func (e *extent) end(entries []core.Entry) {
	e.last, e.lastHash = e.base, e.baseHash
	if len(entries) > 0 {
		e.last, e.lastHash = entries[len(entries)-1].Op, entries[len(entries)-1].Hash
	}
}

// CreateCheckpoint starts a checkpoint.
func (m *Memory) CreateCheckpoint(meta core.CheckpointMeta) (vr.CheckpointWriter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if meta.Op < m.meta.Op || meta.Op == 0 {
		return nil, fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, meta.Op, m.meta.Op)
	}
	return &memoryWriter{memory: m, meta: meta}, nil
}

// OpenCheckpoint opens the newest one.
func (m *Memory) OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meta.Op == 0 {
		return core.CheckpointMeta{}, nil, vr.ErrNoCheckpoint
	}
	return m.meta, io.NopCloser(bytes.NewReader(m.state)), nil
}

// Syncs counts the batches and checkpoints.
func (m *Memory) Syncs() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

type memoryWriter struct {
	memory *Memory
	meta   core.CheckpointMeta
	state  []byte
	done   bool
}

func (w *memoryWriter) Write(data []byte) (int, error) {
	w.state = append(w.state, data...)
	return len(data), nil
}

func (w *memoryWriter) Commit() error {
	m := w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.done || w.meta.Op < m.meta.Op {
		return fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, w.meta.Op, m.meta.Op)
	}
	m.meta, m.state, w.done = w.meta, w.state, true
	m.syncs++
	return nil
}

func (w *memoryWriter) Abort() error {
	w.done = true
	return nil
}
