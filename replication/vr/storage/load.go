package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// readState reads the small records, format first: it says how the log is kept.
func (d *Disk) readState(options Options) error {
	path := d.database.path
	return d.database.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket([]byte(bucketState))
		if state == nil {
			return damaged(path, 0, "it has no bucket %q", bucketState)
		}
		var err error
		if d.version, err = decodeFormat(state.Get([]byte(keyFormat))); err != nil {
			return damagedRecord(path, keyFormat, err)
		}
		shape, known := shapeOf(d.version)
		if !known {
			return &FormatError{File: path, Found: d.version, Want: newestVersion}
		}
		if err := shape.check(tx, path); err != nil {
			return err
		}
		if options.Log != 0 && options.Log != shape.log {
			return &LogError{File: path, Found: shape.log, Want: options.Log}
		}
		if d.hardState, err = decodeHardState(state.Get([]byte(keyHardState))); err != nil {
			return damagedRecord(path, keyHardState, err)
		}
		if membership := state.Get([]byte(keyMembership)); membership != nil {
			if d.hardState.Membership, err = decodeMembership(membership); err != nil {
				return damagedRecord(path, keyMembership, err)
			}
		}
		d.log = d.newLog(shape.log, options.segments)
		if err := d.log.read(state); err != nil {
			return err
		}
		return d.readMark(state)
	})
}

var errFreshWritten = errors.New("something was written to a log that is marked as fresh")

func (d *Disk) readMark(state *bbolt.Bucket) (err error) {
	untouched := d.hardState == (core.HardState{}) && d.log.extent() == (extent{})
	if d.version == boltLogVersionOldest {
		d.mark = unmarked(untouched)
		return nil
	}
	if d.mark, err = decodeMark(state.Get([]byte(keyMark))); err == nil && d.mark.life == lifeFresh && !untouched {
		err = errFreshWritten
	}
	if err != nil {
		return damagedRecord(d.database.path, keyMark, err)
	}
	return nil
}

func damagedRecord(file, name string, err error) error {
	damage := damaged(file, 0, "record %s", name)
	damage.Err = err
	return damage
}

// Load verifies and returns everything: each entry's checksum, the numbering without a gap, the chain of hashes,
// both ends of the log, every byte of the checkpoint, and that it covers what the log no longer has. Then it makes
// durable what it returns, and takes the mark of a clean end away; unless it found damage: then the disk stays as it is.
func (d *Disk) Load() (vr.Loaded, error) {
	if err := d.usable(); err != nil {
		return vr.Loaded{}, err
	}
	loaded, err := d.readAll()
	if err == nil && len(loaded.Damage) == 0 {
		err = d.settle(loaded.HardState)
	}
	if err != nil {
		return vr.Loaded{}, err
	}
	return loaded, nil
}

// readAll verifies and returns everything, and writes nothing.
func (d *Disk) readAll() (vr.Loaded, error) {
	findings, err := d.verifyCheckpoint()
	if err != nil {
		return vr.Loaded{}, err
	}
	entries, damage, commit, err := d.log.load()
	if err != nil {
		return vr.Loaded{}, err
	}
	if d.mark.life == lifeFresh && len(entries) > 0 {
		return vr.Loaded{}, damagedRecord(d.database.path, keyMark, errFreshWritten)
	}
	loaded := vr.Loaded{HardState: d.hardState, Entries: entries, Checkpoint: d.newest(), Clean: d.mark.whole()}
	loaded.Fresh = d.mark.life == lifeFresh && loaded.Checkpoint.Op == 0 && len(findings) == 0
	if err = d.checkBase(loaded.Checkpoint); err != nil {
		return vr.Loaded{}, err
	}
	if loaded.Forced, err = readForced(d.directory); err != nil {
		return vr.Loaded{}, err
	}
	loaded.Damage = describe(salvage(d.directory, d.log.extent(), &loaded, append(findings, damage...)))
	if len(loaded.Damage) == 0 {
		// With damage the hard state is what replica.db says: an operator may have lowered it.
		loaded.HardState.Commit = max(loaded.HardState.Commit, commit)
	}
	return loaded, nil
}

// settle brings to the disk what was just read, which may be in the kernel's memory only: the process before this
// one may have been killed between a write and its fsync, and this replica will acknowledge what it finds. The
// hard state is written anew rather than synced: after an fsync that failed, what it should have written counts
// as clean. The directory has the names of the log and of the newest checkpoint. The same transaction writes down
// which durability the log has from now on, and that it is in use: the next crash finds no mark of a clean end.
func (d *Disk) settle(state core.HardState) error {
	next := mark{durability: d.durability, life: lifeRunning}
	if d.mark.life == lifeFresh {
		next.life = lifeFresh
	}
	c := change{batch: vr.Batch{HardState: &state}, checkpoint: d.newest(), mark: next, settle: true}
	if err := d.write(&c); err != nil {
		return err
	}
	d.syncs.Add(1)
	if err := syncDirectory(d.directory); err != nil {
		return d.fail(err)
	}
	return nil
}

func (d *Disk) newest() core.CheckpointMeta {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.checkpoint
}

// checkBase refuses a log and a checkpoint that are sound and contradict each other: one of them is not this replica's.
func (d *Disk) checkBase(checkpoint core.CheckpointMeta) error {
	if checkpoint.Op > 0 && checkpoint.Op == d.log.extent().base && checkpoint.Hash != d.log.extent().baseHash {
		return damaged(d.database.path, d.log.extent().base, "the log does not join the checkpoint")
	}
	return nil
}

// readLog verifies a log that is e, run by run. It returns what is sound below the first damage, and that damage.
func readLog(file string, e extent, runs iter.Seq2[[]byte, []byte]) ([]core.Entry, []*DamageError) {
	entries := make([]core.Entry, 0, e.last-e.base)
	follow := hashChain{file: file, previous: e.baseHash, next: e.base + 1}
	for key, value := range runs {
		before := len(entries)
		// The copy outlives the file's mapping; the payloads share it.
		read, err := decodeRun(key, append([]byte(nil), value...), entries)
		entries = read[:before]
		for i := range read[before:] {
			if broken := follow.add(&read[before+i]); broken != nil {
				return entries, damagedLog(e, broken)
			}
			entries = read[:before+i+1]
		}
		if err != nil {
			return entries, damagedLog(e, damagedEntry(file, follow.next, key, err))
		}
	}
	if follow.next-1 == e.last && follow.previous == e.lastHash {
		return entries, nil
	}
	damage := damaged(file, follow.next, "the log ends at operation %d, operation %d was the last one written", follow.next-1, e.last)
	if follow.next > e.last {
		// The entries are sound, and not those that were written last: none of them is to be believed.
		damage.Op, entries = e.base+1, nil
	}
	return entries, damagedLog(e, damage)
}

func damagedEntry(file string, op core.OpNumber, key []byte, err error) *DamageError {
	damage := damaged(file, op, "log entry")
	if len(key) == 8 {
		damage.What = fmt.Sprintf("log entry (of the run from operation %d)", binary.BigEndian.Uint64(key))
	}
	damage.Err = err
	return damage
}
