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
// restart after kill -9, and after PowerCut, LoseSyncs, Spoil and Copy one after worse.
type Memory struct {
	mu      sync.Mutex // guards all below
	current contents   // what a process reads
	durable contents   // what a power cut leaves
	syncs   uint64
	lying   bool
	lies    uint64
	// partial is what was kept of another replica's checkpoint; nil: nothing. It is durable.
	partial *partialState
	owner   vr.Owner
	// spoiled are current's bytes, once a test has changed some.
	spoiled *spoiled
}

// contents is everything that a storage holds. Copies share entries and state, which are only ever added to beyond the
// ends of all copies.
type contents struct {
	hardState  core.HardState
	extent     extent
	entries    []core.Entry
	checkpoint core.CheckpointMeta
	state      []byte
	life       life
}

// NewMemory makes an empty one. There is nothing to format.
func NewMemory() *Memory { return &Memory{} }

// Claim makes it a replica's.
func (m *Memory) Claim(owner vr.Owner) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := owner.Succeeds(m.owner)
	if err == nil {
		m.owner = next
	}
	return err
}

// Load returns everything. Like a disk's, it makes durable what it returns and takes the mark of a clean end away.
func (m *Memory) Load() (vr.Loaded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	loaded := vr.Loaded{
		HardState: m.current.hardState, Checkpoint: m.current.checkpoint, Entries: slices.Clone(m.current.entries),
		Fresh: m.current.life == lifeFresh && m.current.checkpoint.Op == 0, Clean: m.current.life != lifeRunning,
	}
	if err := m.readSpoiled(&loaded); err != nil {
		return vr.Loaded{}, err
	}
	if len(loaded.Damage) > 0 {
		return loaded, nil
	}
	if m.current.life == lifeClean {
		m.current.life = lifeRunning
	}
	m.sync()
	return loaded, nil
}

// Write keeps a batch; ErrGap, and nothing kept, when it does not join what is there.
func (m *Memory) Write(batch vr.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := m.current.after(&batch)
	if err != nil {
		return err
	}
	before := m.current
	if m.current = next; batch.Replace != nil {
		m.spoiled = nil
	}
	if batch.Sync || before.life != lifeRunning || !samePromises(&next.hardState, &before.hardState) {
		m.sync()
	}
	return nil
}

// sync makes durable what was written, or says so.
func (m *Memory) sync() {
	m.syncs++
	if m.lying {
		m.lies++
		return
	}
	m.durable = m.current
	m.durable.entries = slices.Clip(m.durable.entries)
}

// after is what there is with a batch.
func (i contents) after(batch *vr.Batch) (contents, error) {
	if base := batch.Replace; base != nil {
		if base.Op > i.checkpoint.Op {
			return i, fmt.Errorf("%w: the log would begin after operation %d, the newest checkpoint is of %d", ErrGap, base.Op, i.checkpoint.Op)
		}
		i.entries, i.extent = nil, beginning(*base)
	}
	if batch.Truncate && batch.TruncateAbove < i.extent.last {
		if batch.TruncateAbove < i.extent.base {
			return i, fmt.Errorf("%w: the log begins after operation %d, it cannot end at %d", ErrGap, i.extent.base, batch.TruncateAbove)
		}
		i.entries = slices.Clip(i.entries[:batch.TruncateAbove-i.extent.base])
		i.extent.end(i.entries)
	}
	if batch.TruncateBelow > i.extent.last+1 && (len(batch.Entries) == 0 || batch.Entries[0].Op != i.extent.last+1) {
		base := i.checkpoint
		if batch.TruncateBelow-1 != base.Op {
			return i, fmt.Errorf("%w: the log would begin after operation %d, the newest checkpoint is of %d", ErrGap, batch.TruncateBelow-1, base.Op)
		}
		i.entries, i.extent = nil, beginning(base)
	}
	for n := range batch.Entries {
		if want := i.extent.last + 1 + core.OpNumber(n); batch.Entries[n].Op != want {
			return i, fmt.Errorf("%w: operation %d where %d belongs", ErrGap, batch.Entries[n].Op, want)
		}
	}
	i.entries = append(i.entries, batch.Entries...)
	i.extent.end(i.entries)
	if keep := batch.TruncateBelow; keep > i.extent.base+1 {
		if keep > i.extent.last+1 {
			return i, fmt.Errorf("%w: the log ends at operation %d, it cannot begin at %d", ErrGap, i.extent.last, keep)
		}
		dropped := int(keep - 1 - i.extent.base)
		below := i.entries[dropped-1]
		if i.entries = i.entries[dropped:]; dropped >= len(i.entries) {
			i.entries = slices.Clone(i.entries) // gives the memory of the others back
		}
		i.extent.base, i.extent.baseHash = below.Op, below.Hash
	}
	i.extent.join(i.checkpoint)
	if batch.HardState != nil {
		i.hardState = *batch.HardState
	}
	i.life = lifeRunning
	return i, nil
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
	if newest := m.current.checkpoint.Op; meta.Op < newest || meta.Op == 0 {
		return nil, fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, meta.Op, newest)
	}
	// A state is about as large as the one before it, and grows in place then.
	return &memoryWriter{memory: m, meta: meta, state: make([]byte, 0, len(m.current.state)+len(m.current.state)/8)}, nil
}

// OpenCheckpoint opens the newest one.
func (m *Memory) OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current.checkpoint.Op == 0 {
		return core.CheckpointMeta{}, nil, vr.ErrNoCheckpoint
	}
	if m.spoiled != nil && m.spoiled.checkpoint != nil {
		return m.spoiled.openCheckpoint(m.current.checkpoint)
	}
	return m.current.checkpoint, io.NopCloser(bytes.NewReader(m.current.state)), nil
}

// Durability is sync: what Writes with Sync wrote is there after PowerCut.
func (m *Memory) Durability() Durability { return DurabilitySync }

// Log is what it is.
func (m *Memory) Log() string { return "memory" }

// Syncs counts the batches and checkpoints that were made durable.
func (m *Memory) Syncs() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs
}

// MarkClean makes everything durable, and marks it.
func (m *Memory) MarkClean() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current.life == lifeRunning {
		m.current.life = lifeClean
	}
	m.sync()
	return nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

// hold replaces everything.
func (m *Memory) hold(everything contents) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = everything
	m.sync()
}

// held is everything.
func (m *Memory) held() contents {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

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

// Commit makes the checkpoint durable. What was written and not synced is not, unlike with a batch.
func (w *memoryWriter) Commit() error {
	m := w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if newest := m.current.checkpoint.Op; w.done || w.meta.Op < newest {
		return fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, w.meta.Op, newest)
	}
	m.current.checkpoint, m.current.state, w.done = w.meta, w.state, true
	if m.spoiled != nil && m.spoiled.damaged {
		m.spoiled.checkpoint = nil // what is damaged of the log stays
	} else {
		m.spoiled = nil
	}
	m.dropPartial(w.meta.Op)
	m.syncs++
	if m.lying {
		m.lies++
		return nil
	}
	m.durable.checkpoint, m.durable.state = w.meta, w.state
	return nil
}

func (w *memoryWriter) Abort() error {
	w.done = true
	return nil
}
