package storage

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// bufferBytesMax is how much of a buffer is kept for the next batch.
const bufferBytesMax = 1 << 20

// Write makes a batch durable in one step. A batch without Sync that holds nothing but hints (the commit-number, the
// removal of old entries) waits in memory for the next one: losing it costs work only.
func (d *Disk) Write(batch vr.Batch) error {
	if err := d.usable(); err != nil {
		return err
	}
	return d.writeAt(batch, d.newest())
}

// writeAt is Write of a batch that was made when the newest checkpoint was this one.
func (d *Disk) writeAt(batch vr.Batch, checkpoint core.CheckpointMeta) error {
	if d.hintsOnly(&batch) {
		d.wait(&batch)
		return nil
	}
	c := change{batch: batch, checkpoint: checkpoint, mark: mark{durability: d.durability, life: lifeRunning}}
	if batch.Replace == nil {
		return d.write(&c)
	}
	return d.replace(&c)
}

// MarkClean writes the hints that wait, and the mark.
func (d *Disk) MarkClean() error {
	if err := d.usable(); err != nil {
		return err
	}
	next := mark{durability: d.durability, life: lifeClean}
	if d.mark.life == lifeFresh {
		next.life = lifeFresh
	}
	return d.write(&change{checkpoint: d.newest(), mark: next})
}

// change is one step from a state of the disk to the next.
type change struct {
	batch vr.Batch
	// checkpoint is the newest one that the batch may refer to.
	checkpoint core.CheckpointMeta
	mark       mark
	// anew: the log is replaced by the batch's entries, which follow anew's base.
	anew *extent
	// settle: it is Load's, which makes durable what it has read.
	settle bool

	// hardState is what it is after the change; promise: more differs than a hint, or the mark does, or the format.
	hardState core.HardState
	promise   bool
}

// write makes a change durable, with the hints that wait.
func (d *Disk) write(c *change) error {
	d.addWaiting(&c.batch)
	if c.hardState = d.hardState; c.batch.HardState != nil {
		c.hardState = *c.batch.HardState
	}
	if c.hardState.Membership == "" {
		c.hardState.Membership = d.hardState.Membership // once there is one, there always is
	}
	c.promise = c.settle || c.mark != d.mark || d.version != d.log.version() || !samePromises(&c.hardState, &d.hardState)
	err := d.log.write(c, func(state *bbolt.Bucket) error { return d.putRecords(state, c) })
	if err != nil {
		if !errors.Is(err, ErrGap) && !errors.Is(err, errNotLoaded) && !errors.Is(err, errUnsettled) {
			err = d.fail(fmt.Errorf("storage: write %s: %w", d.directory, err))
		}
		return err
	}
	d.version, d.mark, d.hardState = d.log.version(), c.mark, c.hardState
	d.waiting = waiting{}
	return nil
}

func (d *Disk) hintsOnly(batch *vr.Batch) bool {
	// A log that goes on from a checkpoint is no hint.
	restart := batch.TruncateBelow > d.log.extent().last+1
	return !batch.Sync && !batch.Truncate && batch.Replace == nil && !restart && len(batch.Entries) == 0 &&
		(batch.HardState == nil || samePromises(batch.HardState, &d.hardState))
}

// samePromises reports whether two hard states differ in no more than a hint.
func samePromises(a, b *core.HardState) bool {
	return a.View == b.View && a.LastNormalView == b.LastNormalView && a.Membership == b.Membership
}

func (d *Disk) wait(batch *vr.Batch) {
	if batch.HardState != nil {
		state := *batch.HardState
		d.waiting.hardState = &state
	}
	d.waiting.truncateBelow = max(d.waiting.truncateBelow, batch.TruncateBelow)
}

func (d *Disk) addWaiting(batch *vr.Batch) {
	if batch.HardState == nil {
		batch.HardState = d.waiting.hardState
	}
	batch.TruncateBelow = max(batch.TruncateBelow, d.waiting.truncateBelow)
}

// flush writes what waits.
func (d *Disk) flush() error {
	if d.waiting == (waiting{}) {
		return nil
	}
	return d.Write(vr.Batch{Sync: true})
}

// putRecords writes those small records that differ, and the hard state always.
func (d *Disk) putRecords(state *bbolt.Bucket, c *change) error {
	err := state.Put([]byte(keyHardState), encodeHardState(c.hardState))
	if membership := c.hardState.Membership; membership != d.hardState.Membership {
		err = errors.Join(err, state.Put([]byte(keyMembership), encodeMembership(membership)))
	}
	if d.version != d.log.version() {
		err = errors.Join(err, state.Put([]byte(keyFormat), encodeFormat(d.log.version())))
	}
	if d.version != d.log.version() || c.mark != d.mark {
		err = errors.Join(err, state.Put([]byte(keyMark), encodeMark(c.mark)))
	}
	return err
}
