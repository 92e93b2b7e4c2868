package storage

import (
	"errors"
	"fmt"
	"io"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

var (
	_ vr.Storage = (*volatile)(nil)

	errNotLoaded = errors.New("storage: Load comes first")
	errUnsettled = errors.New("storage: what is damaged must be replaced first")
)

// volatile keeps log and checkpoint in memory, and view-number and last-normal view on a disk. The disk's log and
// checkpoint are those of the last clean end: a committed beginning, of use to a replica that recovers, and its
// commit-number is theirs.
type volatile struct {
	disk   *Disk
	memory *Memory
	loaded bool
}

func newVolatile(disk *Disk) *volatile { return &volatile{disk: disk, memory: NewMemory()} }

// Load reads everything into memory.
func (v *volatile) Load() (vr.Loaded, error) {
	if v.loaded {
		return v.memory.Load()
	}
	loaded, err := v.disk.Load()
	if err != nil {
		return vr.Loaded{}, err
	}
	held := contents{hardState: loaded.HardState, extent: v.disk.log.extent(), entries: loaded.Entries, checkpoint: loaded.Checkpoint, life: v.disk.mark.life}
	held.extent.end(held.entries) // with damage it ends earlier
	if held.checkpoint.Op > 0 {
		if held.state, err = v.readState(); err != nil {
			return vr.Loaded{}, err
		}
	}
	v.memory.hold(held)
	v.loaded = true
	return loaded, nil
}

func (v *volatile) readState() ([]byte, error) {
	_, body, err := v.disk.OpenCheckpoint()
	if err != nil {
		return nil, err
	}
	state, err := io.ReadAll(body)
	return state, errors.Join(err, body.Close())
}

// Write keeps a batch in memory. What it promises goes to the disk before it returns, and so does, once, that the
// log is in use.
func (v *volatile) Write(batch vr.Batch) error {
	if err := v.disk.usable(); err != nil {
		return err
	}
	if !v.loaded {
		return errNotLoaded
	}
	if err := v.memory.Write(batch); err != nil {
		return err
	}
	state := v.disk.hardState
	if batch.HardState != nil {
		state = core.HardState{
			View: batch.HardState.View, LastNormalView: batch.HardState.LastNormalView, Membership: batch.HardState.Membership, Commit: state.Commit,
		}
	}
	if batch.Replace != nil {
		// What the disk has is only an old beginning. Where that is damaged, the checkpoint that is sound will do.
		newest := v.disk.newest()
		return v.disk.Write(vr.Batch{HardState: &state, Replace: &newest, Sync: true})
	}
	if state == v.disk.hardState && v.disk.mark.life == lifeRunning {
		return nil
	}
	return v.disk.Write(vr.Batch{HardState: &state, Sync: true})
}

// CreateCheckpoint starts a checkpoint in memory.
func (v *volatile) CreateCheckpoint(meta core.CheckpointMeta) (vr.CheckpointWriter, error) {
	if err := v.disk.usable(); err != nil {
		return nil, err
	}
	return v.memory.CreateCheckpoint(meta)
}

// OpenCheckpoint opens the newest one, which is in memory.
func (v *volatile) OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error) {
	return v.memory.OpenCheckpoint()
}

// HoldCheckpoint opens the newest one.
func (v *volatile) HoldCheckpoint() (vr.HeldCheckpoint, error) { return v.memory.HoldCheckpoint() }

// Unfinished is what is in memory of another replica's checkpoint.
func (v *volatile) Unfinished() (vr.CheckpointIdentity, bool) { return v.memory.Unfinished() }

// ReceiveCheckpoint takes a checkpoint into memory.
func (v *volatile) ReceiveCheckpoint(identity vr.CheckpointIdentity) (vr.CheckpointReceiver, error) {
	if err := v.disk.usable(); err != nil {
		return nil, err
	}
	return v.memory.ReceiveCheckpoint(identity)
}

// Claim makes the disk's directory a replica's.
func (v *volatile) Claim(owner vr.Owner) error { return v.disk.Claim(owner) }

// Durability is that of memory.
func (v *volatile) Durability() Durability { return DurabilityMemory }

// Log is the disk's: that which MarkClean writes.
func (v *volatile) Log() string { return v.disk.Log() }

// Syncs is the disk's.
func (v *volatile) Syncs() uint64 { return v.disk.Syncs() }

// MarkClean writes the checkpoint, then the log with the mark in one transaction.
func (v *volatile) MarkClean() error {
	if err := v.disk.usable(); err != nil || !v.loaded {
		return err // unless something was loaded, the disk is as it was found
	}
	held := v.memory.held()
	if held.life == lifeFresh && held.checkpoint.Op == 0 {
		return nil
	}
	if held.checkpoint != v.disk.newest() {
		if err := v.writeState(&held); err != nil {
			return err
		}
	}
	base := extent{base: held.extent.base, baseHash: held.extent.baseHash, last: held.extent.base, lastHash: held.extent.baseHash}
	return v.disk.write(&change{
		batch: vr.Batch{HardState: &held.hardState, Entries: held.entries}, checkpoint: held.checkpoint, anew: &base,
		mark: mark{durability: DurabilityMemory, life: lifeClean},
	})
}

func (v *volatile) writeState(held *contents) error {
	writer, err := v.disk.CreateCheckpoint(held.checkpoint)
	if err != nil {
		return err
	}
	if _, err = writer.Write(held.state); err == nil {
		err = writer.Commit()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("storage: write the state out: %w", err), writer.Abort())
	}
	return nil
}

// Close releases the files. What is in memory is gone.
func (v *volatile) Close() error { return v.disk.Close() }
