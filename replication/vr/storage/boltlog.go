package storage

import (
	"bytes"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

const (
	// runBytes is when a run of entries is full. Entries go into bbolt in runs, since a key of its own would
	// cost a small entry more than its bytes do; runs are short all the same, since the last page is written
	// again with each batch.
	runBytes = 4 << 10
	// fillPercent packs pages: runs are only ever added at the end.
	fillPercent = 0.95
)

var _ entryLog = (*boltLog)(nil)

// boltLog keeps entries in replica.db itself: every change is one transaction, with two fsyncs.
type boltLog struct {
	base   *database
	is     extent // as it is in the file
	buffer []byte
}

func (l *boltLog) kind() Log { return LogBolt }

func (l *boltLog) version() uint32 { return boltLogVersion }

func (l *boltLog) extent() extent { return l.is }

func (l *boltLog) read(state *bbolt.Bucket) (err error) {
	if l.is, err = decodeExtent(state.Get([]byte(keyExtent))); err != nil {
		return damagedRecord(l.base.path, keyExtent, err)
	}
	return nil
}

// load verifies each entry's checksum, the numbering without a gap, the chain of hashes and both ends.
func (l *boltLog) load() (entries []core.Entry, damage []*DamageError, commit core.OpNumber, err error) {
	err = l.base.View(func(tx *bbolt.Tx) error {
		entries, damage = readLog(l.base.path, l.is, runsOf(tx.Bucket([]byte(bucketLog))))
		return nil
	})
	return entries, damage, 0, err
}

// write is one transaction.
func (l *boltLog) write(c *change, put func(state *bbolt.Bucket) error) error {
	next := l.is
	err := l.base.update(func(tx *bbolt.Tx) error {
		edit := logEdit{tx: tx, log: tx.Bucket([]byte(bucketLog)), extent: l.is, checkpoint: c.checkpoint, buffer: l.buffer[:0]}
		if c.anew != nil {
			if err := edit.clear(); err != nil {
				return err
			}
			edit.extent = *c.anew
		}
		if err := edit.apply(&c.batch); err != nil {
			return err
		}
		state := tx.Bucket([]byte(bucketState))
		if edit.extent != l.is {
			if err := state.Put([]byte(keyExtent), encodeExtent(edit.extent)); err != nil {
				return err
			}
		}
		next, l.buffer = edit.extent, edit.buffer
		if cap(l.buffer) > bufferBytesMax {
			l.buffer = nil
		}
		return put(state)
	})
	if err == nil {
		l.is = next
	}
	return err
}

func (l *boltLog) close(bool) error { return nil }

// runsOf ranges over the runs of a log.
func runsOf(log *bbolt.Bucket) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		cursor := log.Cursor()
		for key, value := cursor.First(); key != nil && yield(key, value); {
			key, value = cursor.Next()
		}
	}
}

// logEdit changes the log within one transaction.
type logEdit struct {
	tx         *bbolt.Tx
	log        *bbolt.Bucket
	extent     extent
	checkpoint core.CheckpointMeta
	buffer     []byte // the runs' bytes, which bbolt refers to until the transaction ends
}

func (e *logEdit) apply(batch *vr.Batch) error {
	if batch.Truncate {
		if err := e.truncateAbove(batch.TruncateAbove); err != nil {
			return err
		}
	}
	// A log that is removed whole need not join what follows it: that is how a replica goes on from a
	// checkpoint of another one.
	if batch.TruncateBelow > e.extent.last+1 && (len(batch.Entries) == 0 || batch.Entries[0].Op != e.extent.last+1) {
		if err := e.restart(batch.TruncateBelow - 1); err != nil {
			return err
		}
	}
	if err := e.append(batch.Entries); err != nil {
		return err
	}
	if batch.TruncateBelow > 0 {
		if err := e.truncateBelow(batch.TruncateBelow); err != nil {
			return err
		}
	}
	e.extent.join(e.checkpoint)
	return nil
}

// restart empties the log and lets it begin above base, which must be the newest checkpoint's operation.
func (e *logEdit) restart(base core.OpNumber) error {
	if e.checkpoint.Op != base {
		return fmt.Errorf("%w: the log would begin after operation %d, the newest checkpoint is of %d", ErrGap, base, e.checkpoint.Op)
	}
	if err := e.clear(); err != nil {
		return err
	}
	e.extent = beginning(e.checkpoint)
	return nil
}

func (e *logEdit) clear() (err error) {
	if err = e.tx.DeleteBucket([]byte(bucketLog)); err != nil {
		return err
	}
	e.log, err = e.tx.CreateBucket([]byte(bucketLog))
	return err
}

// truncateAbove removes the entries above keep, and cuts the run that holds it.
func (e *logEdit) truncateAbove(keep core.OpNumber) error {
	if keep >= e.extent.last {
		return nil
	}
	if keep < e.extent.base {
		return fmt.Errorf("%w: the log begins after operation %d, it cannot end at %d", ErrGap, e.extent.base, keep)
	}
	if keep == e.extent.base {
		e.extent.last, e.extent.lastHash = e.extent.base, e.extent.baseHash
		return e.clear()
	}
	if err := e.remove(e.keysFrom(keep + 1)); err != nil {
		return err
	}
	key, value := e.log.Cursor().Last()
	run, err := decodeRun(key, value, nil)
	if err == nil && (run[0].Op > keep || run[len(run)-1].Op < keep) {
		err = fmt.Errorf("the run holds operations %d to %d", run[0].Op, run[len(run)-1].Op)
	}
	if err != nil {
		return e.damagedRun(keep, err)
	}
	kept := run[:keep-run[0].Op+1]
	e.extent.last, e.extent.lastHash = keep, kept[len(kept)-1].Hash
	if len(kept) == len(run) {
		return nil
	}
	var cut []byte
	for i := range kept {
		cut = appendEntry(cut, &kept[i])
	}
	return e.log.Put(bytes.Clone(key), cut)
}

// append adds entries in runs.
func (e *logEdit) append(entries []core.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	size := 0
	for i := range entries {
		if want := e.extent.last + 1 + core.OpNumber(i); entries[i].Op != want {
			return fmt.Errorf("%w: operation %d where %d belongs", ErrGap, entries[i].Op, want)
		}
		size += entryHeaderBytes + len(entries[i].Payload)
	}
	if cap(e.buffer) < size {
		e.buffer = make([]byte, 0, size)
	}
	e.log.FillPercent = fillPercent
	buffer, first := e.buffer, 0
	for i := range entries {
		buffer = appendEntry(buffer, &entries[i])
		if i+1 < len(entries) && len(buffer)+entryHeaderBytes+len(entries[i+1].Payload) <= runBytes {
			continue
		}
		if err := e.log.Put(runKey(entries[first].Op), buffer[:len(buffer):len(buffer)]); err != nil {
			return err
		}
		buffer, first = buffer[len(buffer):], i+1
	}
	last := &entries[len(entries)-1]
	e.extent.last, e.extent.lastHash = last.Op, last.Hash
	return nil
}

// truncateBelow removes the runs whose every entry is below keep.
func (e *logEdit) truncateBelow(keep core.OpNumber) error {
	if keep > e.extent.last {
		// All of it goes; what the next entry joins is the last one.
		if keep != e.extent.last+1 {
			return fmt.Errorf("%w: the log ends at operation %d, it cannot begin at %d", ErrGap, e.extent.last, keep)
		}
		e.extent.base, e.extent.baseHash = e.extent.last, e.extent.lastHash
		return e.clear()
	}
	doomed := e.keysBelow(keep)
	if len(doomed) == 0 {
		return nil
	}
	key := doomed[len(doomed)-1]
	run, err := decodeRun(key, e.log.Get(key), nil)
	if err != nil {
		return e.damagedRun(keep, err)
	}
	last := &run[len(run)-1]
	e.extent.base, e.extent.baseHash = last.Op, last.Hash
	return e.remove(doomed)
}

// keysFrom returns the keys of the runs that begin at op or above.
func (e *logEdit) keysFrom(op core.OpNumber) [][]byte {
	var keys [][]byte
	cursor := e.log.Cursor()
	for key, _ := cursor.Seek(runKey(op)); key != nil; key, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}

// keysBelow returns the keys of the runs that end below op: those whose successor begins at op or below.
func (e *logEdit) keysBelow(op core.OpNumber) [][]byte {
	var keys [][]byte
	var previous []byte
	limit, cursor := runKey(op), e.log.Cursor()
	for key, _ := cursor.First(); key != nil && bytes.Compare(key, limit) <= 0; key, _ = cursor.Next() {
		if previous != nil {
			keys = append(keys, previous)
		}
		previous = bytes.Clone(key)
	}
	return keys
}

// remove deletes keys that were collected before: bbolt's cursor may skip one after a deletion.
func (e *logEdit) remove(keys [][]byte) error {
	for _, key := range keys {
		if err := e.log.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func (e *logEdit) damagedRun(op core.OpNumber, err error) error {
	damage := damaged(e.tx.DB().Path(), op, "log entry")
	damage.Err = err
	return damage
}
