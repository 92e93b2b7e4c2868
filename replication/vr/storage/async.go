package storage

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

const (
	// flushInterval and flushBytes are when what waits is written in the background.
	flushInterval = 100 * time.Millisecond
	flushBytes    = 4 << 20
	// delayedBytesMax bounds what waits: a Write that finds more takes part in writing it.
	delayedBytesMax = 4 * flushBytes
	// What a batch and an entry count beside their payloads.
	batchBytes = 128
	entryBytes = 48
)

var _ vr.Storage = (*delayed)(nil)

// delayed is a Disk whose batches wait in memory for each other. They are written in their order, each whole and
// synced, so that the disk always has one of the states that the storage was in: a hard state never without the log
// that it speaks of. (The other way, to leave out bbolt's fsync and keep hard state and mark in a file of their own,
// lets a power cut tear the tree, and makes every pair of a hard state and an older log a state to think about.)
type delayed struct {
	*Disk

	// Write's.
	promised core.HardState // the last one
	begun    bool           // the disk says that the log is in use

	writing sync.Mutex // held by whoever writes to the disk

	mu      sync.Mutex // guards what follows; writing comes before it
	batches []delayedBatch
	bytes   int
	timer   *time.Timer
}

// delayedBatch is one or more batches, and the checkpoint that was the newest.
type delayedBatch struct {
	vr.Batch
	checkpoint core.CheckpointMeta
}

func newDelayed(disk *Disk) *delayed {
	d := &delayed{Disk: disk}
	// It is set when something waits, and not before: on a busy machine it would go off before it is here. The next
	// Write tells of a failure.
	d.timer = time.AfterFunc(math.MaxInt64, func() { _ = d.flush() })
	return d
}

// Load is the disk's, after what waits.
func (d *delayed) Load() (vr.Loaded, error) {
	if err := d.flush(); err != nil {
		return vr.Loaded{}, err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	loaded, err := d.Disk.Load()
	d.promised, d.begun = loaded.HardState, d.mark.life == lifeRunning
	return loaded, err
}

// Write keeps a batch in memory, or writes it with all that wait when it promises something. The first batch of a
// log that is fresh or was closed cleanly is written at once, since the disk must not say so any more.
func (d *delayed) Write(batch vr.Batch) error {
	if err := d.usable(); err != nil {
		return err
	}
	promise := batch.Sync || !d.begun
	if state := batch.HardState; state != nil {
		promise = promise || !samePromises(state, &d.promised)
		d.promised = *state
	}
	batch.Sync = promise
	if waiting := d.enqueue(&batch); !promise && waiting < delayedBytesMax {
		return nil
	}
	err := d.flush()
	d.begun = err == nil
	return err
}

// enqueue lets a batch wait and returns how many bytes do.
func (d *delayed) enqueue(batch *vr.Batch) int {
	newest := d.newest()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bytes == 0 {
		d.timer.Reset(flushInterval)
	}
	before := d.bytes
	d.bytes += batchBytes
	for i := range batch.Entries {
		d.bytes += entryBytes + len(batch.Entries[i].Payload)
	}
	if before < flushBytes && d.bytes >= flushBytes {
		d.timer.Reset(0)
	}
	if last := len(d.batches) - 1; last < 0 || !d.batches[last].takes(batch, newest) {
		batch.Entries = slices.Clone(batch.Entries) // the slice is the caller's again when Write returns
		d.batches = append(d.batches, delayedBatch{Batch: *batch, checkpoint: newest})
	}
	return d.bytes
}

// takes joins another batch to this one when one step does the same as the two. It does not when the other cuts the
// log, nor when it removes more of it than this one is known to have: then it may go on from a checkpoint.
func (b *delayedBatch) takes(other *vr.Batch, newest core.CheckpointMeta) bool {
	last := core.OpNumber(0)
	if len(b.Entries) > 0 {
		last = b.Entries[len(b.Entries)-1].Op
	}
	hints := !b.Truncate && len(b.Entries) == 0 && len(other.Entries) == 0
	if other.Truncate || other.Replace != nil || b.checkpoint != newest || other.TruncateBelow > last && !hints {
		return false
	}
	if other.HardState != nil {
		b.HardState = other.HardState
	}
	b.Entries = append(b.Entries, other.Entries...)
	b.TruncateBelow = max(b.TruncateBelow, other.TruncateBelow)
	b.Sync = b.Sync || other.Sync
	return true
}

// flush writes what waits. Whatever fails is final: it was accepted already.
func (d *delayed) flush() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	d.mu.Lock()
	batches := d.batches
	d.batches, d.bytes = nil, 0
	d.timer.Stop()
	d.mu.Unlock()
	for i := range batches {
		if err := d.writeAt(batches[i].Batch, batches[i].checkpoint); err != nil {
			return d.fail(err)
		}
	}
	return nil
}

// MarkClean writes what waits, and then the mark.
func (d *delayed) MarkClean() error {
	if err := d.flush(); err != nil {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	d.begun = false
	return d.Disk.MarkClean()
}

// Close writes what waits, unless a write has failed, and releases the files.
func (d *delayed) Close() error {
	var err error
	if d.usable() == nil {
		err = d.flush()
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	d.timer.Stop()
	if closing := d.Disk.Close(); err == nil {
		err = closing
	}
	return err
}
