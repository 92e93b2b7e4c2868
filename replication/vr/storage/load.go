package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// readState reads the small records, format first.
func (d *Disk) readState() error {
	return d.database.View(func(tx *bbolt.Tx) error {
		if err := checkBuckets(tx, d.databasePath()); err != nil {
			return err
		}
		state := tx.Bucket([]byte(bucketState))
		var err error
		if d.version, err = decodeFormat(state.Get([]byte(keyFormat))); err != nil {
			return damagedRecord(d.databasePath(), keyFormat, err)
		}
		if d.version < logVersionOldest || d.version > logVersion {
			return &FormatError{File: d.databasePath(), Found: d.version, Want: logVersion}
		}
		if err := checkRecords(state, d.version, d.databasePath()); err != nil {
			return err
		}
		if d.hardState, err = decodeHardState(state.Get([]byte(keyHardState))); err != nil {
			return damagedRecord(d.databasePath(), keyHardState, err)
		}
		if membership := state.Get([]byte(keyMembership)); membership != nil {
			if d.hardState.Membership, err = decodeMembership(membership); err != nil {
				return damagedRecord(d.databasePath(), keyMembership, err)
			}
		}
		if d.extent, err = decodeExtent(state.Get([]byte(keyExtent))); err != nil {
			return damagedRecord(d.databasePath(), keyExtent, err)
		}
		return d.readMark(state)
	})
}

func (d *Disk) readMark(state *bbolt.Bucket) (err error) {
	untouched := d.hardState == (core.HardState{}) && d.extent == (extent{})
	if d.version == logVersionOldest {
		d.mark = unmarked(untouched)
		return nil
	}
	if d.mark, err = decodeMark(state.Get([]byte(keyMark))); err == nil && d.mark.life == lifeFresh && !untouched {
		err = errors.New("something was written to a log that is marked as fresh")
	}
	if err != nil {
		return damagedRecord(d.databasePath(), keyMark, err)
	}
	return nil
}

// checkBuckets refuses a file whose buckets are not exactly those that are always there.
func checkBuckets(tx *bbolt.Tx, path string) error {
	var names []string
	err := tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		if bucket != nil {
			names = append(names, string(name))
		}
		return nil
	})
	if err != nil || len(names) != 2 || names[0] != bucketLog || names[1] != bucketState {
		return damaged(path, 0, "its buckets are %q", names)
	}
	return nil
}

// checkRecords refuses a state bucket whose keys are not exactly those of its version.
func checkRecords(state *bbolt.Bucket, version uint32, path string) error {
	want, names := []string{keyExtent, keyFormat, keyHardState, keyMark}, []string(nil)
	if version == logVersionOldest {
		want = want[:3]
	}
	if version >= logVersionMembership && state.Get([]byte(keyMembership)) != nil {
		want = append(want, keyMembership)
	}
	err := state.ForEach(func(name, _ []byte) error {
		names = append(names, string(name))
		return nil
	})
	if err != nil || !slices.Equal(want, names) {
		return damaged(path, 0, "the records of its state are %q", names)
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
		err = d.settle()
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
	loaded := vr.Loaded{HardState: d.hardState, Checkpoint: d.newest(), Clean: d.mark.whole()}
	loaded.Fresh = d.mark.life == lifeFresh && loaded.Checkpoint.Op == 0 && len(findings) == 0
	if err = d.checkBase(loaded.Checkpoint); err != nil {
		return vr.Loaded{}, err
	}
	if loaded.Forced, err = readForced(d.directory); err != nil {
		return vr.Loaded{}, err
	}
	err = d.database.View(func(tx *bbolt.Tx) error {
		entries, damage := readLog(d.databasePath(), d.extent, runsOf(tx.Bucket([]byte(bucketLog))))
		loaded.Entries, findings = entries, append(findings, damage...)
		return nil
	})
	loaded.Damage = describe(salvage(d.directory, d.extent, &loaded, findings))
	return loaded, err
}

// settle brings to the disk what was just read, which may be in the kernel's memory only: the process before this
// one may have been killed between a write and its fsync, and this replica will acknowledge what it finds. The
// hard state is written anew rather than synced: after an fsync that failed, what it should have written counts
// as clean. The directory has the names of the log and of the newest checkpoint. The same transaction writes down
// which durability the log has from now on, and that it is in use: the next crash finds no mark of a clean end.
func (d *Disk) settle() error {
	state := d.hardState
	next := mark{durability: d.durability, life: lifeRunning}
	if d.mark.life == lifeFresh {
		next.life = lifeFresh
	}
	if err := d.write(&change{batch: vr.Batch{HardState: &state}, checkpoint: d.newest(), mark: next}); err != nil {
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
	if checkpoint.Op > 0 && checkpoint.Op == d.extent.base && checkpoint.Hash != d.extent.baseHash {
		return damaged(d.databasePath(), d.extent.base, "the log does not join the checkpoint")
	}
	return nil
}

// readLog verifies a log that is e, run by run. It returns what is sound below the first damage, and that damage.
func readLog(file string, e extent, runs iter.Seq2[[]byte, []byte]) ([]core.Entry, []*DamageError) {
	entries := make([]core.Entry, 0, e.last-e.base)
	previous, next := e.baseHash, e.base+1
	for key, value := range runs {
		before := len(entries)
		// The copy outlives the file's mapping; the payloads share it.
		read, err := decodeRun(key, append([]byte(nil), value...), entries)
		entries = read[:before]
		for i := range read[before:] {
			entry := &read[before+i]
			if entry.Op != next {
				return entries, damagedLog(e, damaged(file, next, "operation %d follows operation %d", entry.Op, next-1))
			}
			if !entry.Follows(previous) {
				return entries, damagedLog(e, damaged(file, next, "its hash does not continue the chain"))
			}
			entries, previous, next = read[:before+i+1], entry.Hash, next+1
		}
		if err != nil {
			return entries, damagedLog(e, damagedEntry(file, next, key, err))
		}
	}
	if next-1 == e.last && previous == e.lastHash {
		return entries, nil
	}
	damage := damaged(file, next, "the log ends at operation %d, operation %d was the last one written", next-1, e.last)
	if next > e.last {
		// The entries are sound, and not those that were written last: none of them is to be believed.
		damage.Op, entries = e.base+1, nil
	}
	return entries, damagedLog(e, damage)
}

// runsOf ranges over the runs of a log.
func runsOf(log *bbolt.Bucket) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		cursor := log.Cursor()
		for key, value := cursor.First(); key != nil && yield(key, value); {
			key, value = cursor.Next()
		}
	}
}

func damagedEntry(file string, op core.OpNumber, key []byte, err error) *DamageError {
	damage := damaged(file, op, "log entry")
	if len(key) == 8 {
		damage.What = fmt.Sprintf("log entry (of the run from operation %d)", binary.BigEndian.Uint64(key))
	}
	damage.Err = err
	return damage
}
