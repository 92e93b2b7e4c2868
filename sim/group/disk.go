package group

import (
	"fmt"

	"github.com/viewline/viewline/replication/vr/core"
)

// batch is one atomic change of a disk: the second step of a Ready. states: it has a hard state.
type batch struct {
	states        bool
	hardState     core.HardState
	truncate      bool
	truncateAbove core.OpNumber
	entries       []core.Entry
	truncateBelow core.OpNumber
	// replace: the entries, which begin above base, take the place of the whole log, and of its damage.
	replace bool
	base    core.OpNumber
}

func (b *batch) empty() bool {
	return !b.states && !b.truncate && len(b.entries) == 0 && b.truncateBelow == 0 && !b.replace
}

// image is one state of a disk.
type image struct {
	hardState  core.HardState
	checkpoint checkpoint
	// entries are the log, without a gap. Invariant: the first is at most one above the checkpoint.
	entries []core.Entry
	// end is where the log ends: the next entry is one above, unless the log goes on from a checkpoint.
	end core.OpNumber
	damage
}

// disk is what one replica has stored.
//
// In sync the image is what is durable. What was written and not yet synced is certain only if the process dies and
// the machine lives; when the power fails, the last of these batches are lost.
//
// Both logs of replication/vr/storage keep within this: a batch is whole or not there (a transaction of bbolt, or one
// checksum in a segment), the batches that a crash takes are the last ones, and what Load has returned stays. More of
// what a batch removes from below may still be there, in both. What a log in segments may lose beyond this is acknowledged
// batches that go bad on the disk before its mark covers them (docs/FORMATS.md): that is a disk that lies, which is not here.
//
// In async and memory the image is what was written, and left is what a crash leaves of it: in async with the first
// of the batches since, in memory the state of the last clean end, though with the views that were promised since.
type disk struct {
	image
	durability core.Durability
	left       image
	// part is what is here of another replica's checkpoint.
	part part
	// unsynced are written batches in their order.
	unsynced []batch
	newest   batch // in async and memory
	// used: something was written. clean: the last end was, and nothing was started since.
	used, clean bool
	// inspect, if set, sees each batch before it changes the image.
	inspect func(*batch)
	// failed is the first batch that no storage could carry out.
	failed error
}

// write hands a batch to the operating system, or in async and memory to the storage.
func (d *disk) write(b batch) {
	d.used = true
	if d.durability != core.DurabilityMemory {
		d.unsynced = append(d.unsynced, b)
	}
	if d.durability != core.DurabilitySync {
		d.newest = b
		d.carryOut(&d.image, &d.newest, true)
	}
}

// sync makes everything written durable; in memory, the views.
func (d *disk) sync() error { return d.settle(len(d.unsynced)) }

// crash leaves what survives: the first so many of the batches that were not synced.
func (d *disk) crash(survivors int) error {
	if d.durability != core.DurabilityMemory {
		_ = d.settle(survivors)
	}
	d.unsynced = d.unsynced[:0]
	if d.durability != core.DurabilitySync {
		d.image = d.left.clone(d.entries)
	}
	return d.failed
}

// end is a clean end: everything is durable, and a mark says so.
func (d *disk) end() {
	_ = d.settle(len(d.unsynced))
	d.left, d.clean = d.clone(d.left.entries), true
}

// promised are the views that no crash takes away.
func (d *disk) promised() *core.HardState {
	if d.durability == core.DurabilitySync {
		return &d.hardState
	}
	return &d.left.hardState
}

// lossy reports whether a replica that starts from this disk has to recover.
func (d *disk) lossy() bool {
	return d.durability != core.DurabilitySync && d.used && !d.clean && d.promised().LastNormalView > 0
}

// install makes a checkpoint the newest, and durable but for memory. Unlike a batch it is a file of its own: it may be
// durable while batches written before it are lost.
func (d *disk) install(c checkpoint) {
	d.image.install(c)
	if d.part.here && d.part.identity.Meta.Op <= c.meta.Op {
		d.part = part{}
	}
	if d.durability == core.DurabilityAsync {
		d.left.install(c)
	}
}

func (d *disk) settle(count int) error {
	if d.durability == core.DurabilityMemory {
		d.left.hardState.View, d.left.hardState.LastNormalView = d.hardState.View, d.hardState.LastNormalView
		d.left.hardState.Membership = d.hardState.Membership
		return d.failed
	}
	for i := range count {
		if d.durability == core.DurabilitySync {
			d.carryOut(&d.image, &d.unsynced[i], true)
		} else {
			d.carryOut(&d.left, &d.unsynced[i], false)
		}
	}
	d.unsynced = append(d.unsynced[:0], d.unsynced[count:]...)
	return d.failed
}

func (d *disk) carryOut(on *image, b *batch, inspected bool) {
	if inspected && d.inspect != nil {
		d.inspect(b)
	}
	if err := on.change(b); err != nil && d.failed == nil {
		d.failed = err
	}
}

// emptied is a new disk in the memory of this one.
func (d *disk) emptied() disk {
	return disk{
		image: image{entries: d.entries[:0]}, left: image{entries: d.left.entries[:0]}, unsynced: d.unsynced[:0],
	}
}

// clone copies an image, its entries into the memory of some that nobody needs any more.
func (d *image) clone(into []core.Entry) image {
	return image{hardState: d.hardState, checkpoint: d.checkpoint, entries: append(into[:0], d.entries...), end: d.end, damage: d.damage}
}

// change applies one batch. An error is a batch that no storage could carry out.
func (d *image) change(b *batch) error {
	if b.states {
		d.hardState = b.hardState
	}
	if b.replace {
		d.entries, d.damage, d.end = d.entries[:0], damage{}, b.base
	}
	if b.truncate {
		d.keepTo(b.truncateAbove)
		d.end = min(d.end, b.truncateAbove)
	}
	if b.truncateBelow > d.end+1 && (len(b.entries) == 0 || b.entries[0].Op != d.end+1) {
		d.entries, d.end = d.entries[:0], b.truncateBelow-1 // it goes on from a checkpoint
	}
	if len(b.entries) > 0 {
		if first := b.entries[0].Op; first != d.end+1 {
			return fmt.Errorf("entry %d written where %d belongs", first, d.end+1)
		}
		d.end = b.entries[len(b.entries)-1].Op
	}
	joint := len(d.entries)
	d.entries = append(d.entries, b.entries...)
	for i := max(joint, 1); i < len(d.entries); i++ {
		if d.entries[i].Op != d.entries[i-1].Op+1 {
			return fmt.Errorf("entry %d written after entry %d", d.entries[i].Op, d.entries[i-1].Op)
		}
	}
	if b.truncateBelow > 0 {
		d.keepFrom(b.truncateBelow)
	}
	if len(d.entries) > 0 && d.entries[0].Op > d.checkpoint.meta.Op+1 {
		return fmt.Errorf("the log begins at entry %d with nothing below but checkpoint %d", d.entries[0].Op, d.checkpoint.meta.Op)
	}
	return nil
}

func (d *image) keepTo(op core.OpNumber) {
	for len(d.entries) > 0 && d.entries[len(d.entries)-1].Op > op {
		d.entries = d.entries[:len(d.entries)-1]
	}
}

func (d *image) keepFrom(op core.OpNumber) {
	drop := 0
	for drop < len(d.entries) && d.entries[drop].Op < op {
		drop++
	}
	d.entries = d.entries[:copy(d.entries, d.entries[drop:])] // nobody else reads them: a restart gets a copy
}

// last is the op-number of the last entry.
func (d *image) last() (op core.OpNumber, any bool) {
	if len(d.entries) == 0 {
		return 0, false
	}
	return d.entries[len(d.entries)-1].Op, true
}

// entry returns the entry of an op-number, or nil.
func (d *image) entry(op core.OpNumber) *core.Entry {
	if len(d.entries) == 0 || op < d.entries[0].Op {
		return nil
	}
	at := int(op - d.entries[0].Op)
	if at >= len(d.entries) {
		return nil
	}
	return &d.entries[at]
}

// holds reports whether the operation whose entry has this hash is here, in the log or below the
// checkpoint.
func (d *image) holds(op core.OpNumber, hash core.Hash) bool {
	if op <= d.checkpoint.meta.Op {
		return true
	}
	entry := d.entry(op)
	return entry != nil && entry.Hash == hash
}

// durableTo is the last op-number up to which nothing is missing.
func (d *image) durableTo() core.OpNumber {
	if last, any := d.last(); any {
		return max(last, d.checkpoint.meta.Op)
	}
	return d.checkpoint.meta.Op
}

// restored is what a replica starts from.
func (d *disk) restored() core.Restored {
	entries, damaged := d.sound()
	return core.Restored{
		HardState:  d.hardState,
		Checkpoint: d.checkpoint.meta,
		Entries:    append([]core.Entry(nil), entries...),
		Damaged:    damaged,
		Recover:    d.durability != core.DurabilitySync && d.used && !d.clean,
	}
}
