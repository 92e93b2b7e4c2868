package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// Damage of log entries and of the checkpoint is repaired by the group (VRR 4.3): which operations are concerned is
// known by the extent, whose record is sound, and what this replica promised by the hard state, whose record is. So Load
// returns what is left, and nothing on the disk is touched: a crash before the repair is durable finds it all again.

// beginning is a log that is empty and begins above a base.
func beginning(base core.CheckpointMeta) extent {
	return extent{base: base.Op, baseHash: base.Hash, last: base.Op, lastHash: base.Hash}
}

// damagedLog makes of damage in one place what it comes to: nothing above it joins the rest.
func damagedLog(e extent, damage *DamageError) []*DamageError {
	damage.Last, damage.Remedy = max(e.last, damage.Op), remedyRepair
	return []*DamageError{damage}
}

// damagedCheckpoint makes of damage in a checkpoint's file what it comes to: all that made its state.
func damagedCheckpoint(damage *DamageError) *DamageError {
	damage.Op, damage.Last, damage.Remedy = 1, max(damage.Op, damage.Last), remedyRepair
	return damage
}

// verifyCheckpoint reads the newest checkpoint to its end. Damage makes it none; any other error is the disk's.
func (d *Disk) verifyCheckpoint() ([]*DamageError, error) {
	if d.newest().Op > 0 {
		_, body, err := d.OpenCheckpoint()
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			err = errors.Join(err, body.Close())
		}
		if err != nil && !errors.As(err, &d.spoiled) {
			return nil, err
		}
	}
	if d.spoiled == nil {
		return nil, nil
	}
	d.mu.Lock()
	d.checkpoint = core.CheckpointMeta{}
	d.mu.Unlock()
	return []*DamageError{damagedCheckpoint(d.spoiled)}, nil
}

// salvage leaves of what was loaded only what stands on something: entries above a checkpoint that is not there have
// no state to be applied to.
func salvage(directory string, e extent, loaded *vr.Loaded, findings []*DamageError) []*DamageError {
	if loaded.Checkpoint.Op >= e.base {
		return findings
	}
	loaded.Entries = nil
	if len(findings) == 0 {
		damage := damaged(directory, loaded.Checkpoint.Op+1, "no checkpoint covers the operations up to %d, which the log no longer has", e.base)
		damage.Last, damage.Remedy = e.base, remedyRepair
		findings = append(findings, damage)
	}
	return findings
}

// describe is damage in the words of package vr.
func describe(findings []*DamageError) []vr.Damage {
	var described []vr.Damage
	for _, damage := range findings {
		described = append(described, vr.Damage{File: damage.File, First: damage.Op, Last: damage.Last, Err: damage})
	}
	return described
}

// replace makes durable a log that takes the place of the one that is stored, and then removes what of the checkpoints
// it does not need: the damaged one among them, if it was not replaced.
func (d *Disk) replace(c *change) error {
	base := *c.batch.Replace
	if base.Op > c.checkpoint.Op {
		return fmt.Errorf("%w: the log would begin after operation %d, the newest checkpoint is of %d", ErrGap, base.Op, c.checkpoint.Op)
	}
	anew := beginning(base)
	d.waiting.truncateBelow, c.anew = 0, &anew
	if err := d.write(c); err != nil {
		return err
	}
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := removeOthers(d.directory, d.newest().Op); err != nil {
		return d.fail(err)
	}
	d.spoiled = nil
	return nil
}

// removeOthers removes every checkpoint but one, durably: a damaged one must not come back.
func removeOthers(directory string, op core.OpNumber) error {
	names, err := checkpointNames(directory)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	for _, name := range names {
		if op > 0 && name == checkpointName(op) {
			continue
		}
		if err := os.Remove(filepath.Join(directory, name)); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
	}
	return syncDirectory(directory)
}
