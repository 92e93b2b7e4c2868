package storage

import (
	"encoding/binary"
	"fmt"

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
		version, err := decodeFormat(state.Get([]byte(keyFormat)))
		if err != nil {
			return d.damagedRecord(keyFormat, err)
		}
		if version != formatVersion {
			return &FormatError{File: d.databasePath(), Found: version, Want: formatVersion}
		}
		if d.hardState, err = decodeHardState(state.Get([]byte(keyHardState))); err != nil {
			return d.damagedRecord(keyHardState, err)
		}
		if d.extent, err = decodeExtent(state.Get([]byte(keyExtent))); err != nil {
			return d.damagedRecord(keyExtent, err)
		}
		return nil
	})
}

// checkBuckets refuses a file whose buckets, or whose keys of the state bucket, are not exactly those that are
// always there.
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
	names = names[:0]
	err = tx.Bucket([]byte(bucketState)).ForEach(func(name, _ []byte) error {
		names = append(names, string(name))
		return nil
	})
	if err != nil || len(names) != 3 || names[0] != keyExtent || names[1] != keyFormat || names[2] != keyHardState {
		return damaged(path, 0, "the records of its state are %q", names)
	}
	return nil
}

func (d *Disk) damagedRecord(name string, err error) error {
	damage := damaged(d.databasePath(), 0, "record %s", name)
	damage.Err = err
	return damage
}

// Load verifies and returns everything: each entry's checksum, the numbering without a gap, the chain of hashes,
// both ends of the log, and that a checkpoint covers what the log no longer has. Then it makes durable what it
// returns. The checkpoint's own bytes are verified by reading it.
func (d *Disk) Load() (vr.Loaded, error) {
	if err := d.usable(); err != nil {
		return vr.Loaded{}, err
	}
	loaded := vr.Loaded{HardState: d.hardState, Checkpoint: d.newest()}
	if err := d.checkBase(loaded.Checkpoint); err != nil {
		return vr.Loaded{}, err
	}
	err := d.database.View(func(tx *bbolt.Tx) error {
		var err error
		loaded.Entries, err = d.loadEntries(tx.Bucket([]byte(bucketLog)))
		return err
	})
	if err == nil {
		err = d.settle()
	}
	if err != nil {
		return vr.Loaded{}, err
	}
	return loaded, nil
}

// settle brings to the disk what was just read, which may be in the kernel's memory only: the process before this
// one may have been killed between a write and its fsync, and this replica will acknowledge what it finds. The
// hard state is written anew rather than synced: after an fsync that failed, what it should have written counts
// as clean. The directory has the names of the log and of the newest checkpoint.
func (d *Disk) settle() error {
	state := d.hardState
	if err := d.Write(vr.Batch{HardState: &state, Sync: true}); err != nil {
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

func (d *Disk) checkBase(checkpoint core.CheckpointMeta) error {
	switch {
	case checkpoint.Op < d.extent.base:
		return damaged(d.directory, checkpoint.Op+1,
			"no checkpoint covers the operations up to %d, which the log no longer has", d.extent.base)
	case checkpoint.Op == d.extent.base && checkpoint.Hash != d.extent.baseHash:
		return damaged(d.databasePath(), d.extent.base, "the log does not join the checkpoint")
	}
	return nil
}

func (d *Disk) loadEntries(log *bbolt.Bucket) ([]core.Entry, error) {
	entries := make([]core.Entry, 0, d.extent.last-d.extent.base)
	previous, next := d.extent.baseHash, d.extent.base+1
	cursor := log.Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		before := len(entries)
		var err error
		// The copy outlives the file's mapping; the payloads share it.
		entries, err = decodeRun(key, append([]byte(nil), value...), entries)
		if err != nil {
			return nil, d.damagedEntry(next+core.OpNumber(len(entries)-before), key, err)
		}
		for i := before; i < len(entries); i++ {
			entry := &entries[i]
			if entry.Op != next {
				return nil, damaged(d.databasePath(), next, "operation %d follows operation %d", entry.Op, next-1)
			}
			if entry.Hash != core.Chained(previous, entry.Op, entry.View, entry.Payload).Hash {
				return nil, damaged(d.databasePath(), entry.Op, "its hash does not continue the chain")
			}
			previous, next = entry.Hash, next+1
		}
	}
	if next-1 != d.extent.last || previous != d.extent.lastHash {
		return nil, damaged(d.databasePath(), next, "the log ends at operation %d, operation %d was the last one written",
			next-1, d.extent.last)
	}
	return entries, nil
}

func (d *Disk) damagedEntry(op core.OpNumber, key []byte, err error) error {
	damage := damaged(d.databasePath(), op, "log entry")
	if len(key) == 8 {
		damage.What = fmt.Sprintf("log entry (of the run from operation %d)", binary.BigEndian.Uint64(key))
	}
	damage.Err = err
	return damage
}
