package group

import (
	"fmt"

	"github.com/viewline/viewline/replication/vr/core"
)

// batch is one atomic change of a disk: the second step of a Ready.
type batch struct {
	hardState     *core.HardState
	truncate      bool
	truncateAbove core.OpNumber
	entries       []core.Entry
	truncateBelow core.OpNumber
}

func (b *batch) empty() bool {
	return b.hardState == nil && !b.truncate && len(b.entries) == 0 && b.truncateBelow == 0
}

// disk is what one replica has stored. What was written and not yet synced is certain only if the process
// dies and the machine lives; when the power fails, the last of these batches are lost.
type disk struct {
	hardState  core.HardState
	checkpoint checkpoint
	// entries are the durable log, without a gap. Invariant: the first is at most one above the checkpoint.
	entries []core.Entry
	// unsynced are written batches in their order.
	unsynced []batch
	// inspect, if set, sees each batch before it changes the durable state.
	inspect func(*batch)
}

// write hands a batch to the operating system.
func (d *disk) write(b batch) { d.unsynced = append(d.unsynced, b) }

// sync makes everything written durable.
func (d *disk) sync() error { return d.settle(len(d.unsynced)) }

// crash leaves what survives: the first so many of the batches that were not synced.
func (d *disk) crash(survivors int) error {
	err := d.settle(survivors)
	d.unsynced = d.unsynced[:0]
	return err
}

// install makes a checkpoint durable and the newest. Unlike a batch it is a file of its own: it may be
// durable while batches written before it are lost.
func (d *disk) install(c checkpoint) { d.checkpoint = c }

func (d *disk) settle(count int) error {
	for i := range count {
		if d.inspect != nil {
			d.inspect(&d.unsynced[i])
		}
		if err := d.change(&d.unsynced[i]); err != nil {
			return err
		}
	}
	d.unsynced = append(d.unsynced[:0], d.unsynced[count:]...)
	return nil
}

// change applies one batch. An error is a batch that no storage could carry out.
func (d *disk) change(b *batch) error {
	if b.hardState != nil {
		d.hardState = *b.hardState
	}
	if b.truncate {
		d.keepTo(b.truncateAbove)
	}
	d.entries = append(d.entries, b.entries...)
	if b.truncateBelow > 0 {
		d.keepFrom(b.truncateBelow)
	}
	for i := 1; i < len(d.entries); i++ {
		if d.entries[i].Op != d.entries[i-1].Op+1 {
			return fmt.Errorf("entry %d written after entry %d", d.entries[i].Op, d.entries[i-1].Op)
		}
	}
	if len(d.entries) > 0 && d.entries[0].Op > d.checkpoint.meta.Op+1 {
		return fmt.Errorf("the log begins at entry %d with nothing below but checkpoint %d", d.entries[0].Op, d.checkpoint.meta.Op)
	}
	return nil
}

func (d *disk) keepTo(op core.OpNumber) {
	for len(d.entries) > 0 && d.entries[len(d.entries)-1].Op > op {
		d.entries = d.entries[:len(d.entries)-1]
	}
}

func (d *disk) keepFrom(op core.OpNumber) {
	drop := 0
	for drop < len(d.entries) && d.entries[drop].Op < op {
		drop++
	}
	// Copied, since a reader of the old log (a restart) must not see it shift.
	d.entries = append([]core.Entry(nil), d.entries[drop:]...)
}

// last is the op-number of the last durable entry.
func (d *disk) last() (op core.OpNumber, any bool) {
	if len(d.entries) == 0 {
		return 0, false
	}
	return d.entries[len(d.entries)-1].Op, true
}

// entry returns the durable entry of an op-number, or nil.
func (d *disk) entry(op core.OpNumber) *core.Entry {
	if len(d.entries) == 0 || op < d.entries[0].Op {
		return nil
	}
	at := int(op - d.entries[0].Op)
	if at >= len(d.entries) {
		return nil
	}
	return &d.entries[at]
}

// holds reports whether the operation whose entry has this hash is durable here, in the log or below the
// checkpoint.
func (d *disk) holds(op core.OpNumber, hash core.Hash) bool {
	if op <= d.checkpoint.meta.Op {
		return true
	}
	entry := d.entry(op)
	return entry != nil && entry.Hash == hash
}

// durableTo is the last op-number up to which nothing is missing.
func (d *disk) durableTo() core.OpNumber {
	if last, any := d.last(); any {
		return max(last, d.checkpoint.meta.Op)
	}
	return d.checkpoint.meta.Op
}

// restored is what a replica starts from.
func (d *disk) restored() core.Restored {
	return core.Restored{
		HardState:  d.hardState,
		Checkpoint: d.checkpoint.meta,
		Entries:    append([]core.Entry(nil), d.entries...),
	}
}
