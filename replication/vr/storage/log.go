package storage

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr/core"
)

// Log is how a directory keeps the entries of its log. It is chosen when the directory is made, for good.
type Log uint8

const (
	// LogBolt keeps the entries in replica.db. A batch costs two fsyncs.
	LogBolt Log = iota + 1
	// LogWAL keeps the entries in files of their own that are only ever appended to. A batch costs one fsync.
	LogWAL

	logs

	// LogDefault is what Create makes.
	LogDefault = LogBolt
)

// ParseLog reads the name that Log.String writes; an empty one is 0, which leaves it to the directory.
func ParseLog(name string) (Log, error) {
	if name == "" {
		return 0, nil
	}
	for log := LogBolt; log < logs; log++ {
		if log.String() == name {
			return log, nil
		}
	}
	return 0, fmt.Errorf("storage: there is no log %q, there are %v and %v", name, LogBolt, LogWAL)
}

// String is the name that configurations use.
func (l Log) String() string {
	switch l {
	case LogBolt:
		return "bbolt"
	case LogWAL:
		return "wal"
	default:
		return fmt.Sprintf("log %d", uint8(l))
	}
}

// entryLog is the part of a Disk that keeps the entries. Hard state and mark are the Disk's.
type entryLog interface {
	kind() Log
	// version is that of the format which write leaves.
	version() uint32
	// read takes the log's small record, when the files are opened.
	read(state *bbolt.Bucket) error
	// load verifies all entries and returns those below the first damage, and that damage. The commit-number is the
	// newest that was written without a transaction; 0 when there is none. With damage, the log stays as it is until a
	// change replaces it.
	load() ([]core.Entry, []*DamageError, core.OpNumber, error)
	// extent is where the log begins and ends; what read has found until load has returned.
	extent() extent
	// write makes a change durable, whole or not at all. Whenever it writes a transaction, put is a part of it, and a
	// change that is a promise does. After ErrGap nothing was written, after another error nobody knows.
	write(c *change, put func(state *bbolt.Bucket) error) error
	// close releases what it has open beside replica.db. whole: nothing has failed.
	close(whole bool) error
}

// newLog makes the log of a directory, which is read afterwards.
func (d *Disk) newLog(log Log, options segmentOptions) entryLog {
	if log == LogBolt {
		return &boltLog{base: d.database}
	}
	return newSegmentLog(d, options)
}

// shape is what replica.db consists of in one version of the format.
type shape struct {
	log     Log
	buckets []string
	records []string // of bucketState; keyMembership need not be there
}

// shapeOf returns the shape of a version, with the buckets and records in bbolt's order.
func shapeOf(version uint32) (shape, bool) {
	switch version {
	case boltLogVersionOldest:
		return shape{LogBolt, []string{bucketLog, bucketState}, []string{keyExtent, keyFormat, keyHardState}}, true
	case boltLogVersionMarked:
		return shape{LogBolt, []string{bucketLog, bucketState}, []string{keyExtent, keyFormat, keyHardState, keyMark}}, true
	case boltLogVersion:
		return shape{LogBolt, []string{bucketLog, bucketState}, []string{keyExtent, keyFormat, keyHardState, keyMark, keyMembership}}, true
	case segmentLogVersion:
		return shape{LogWAL, []string{bucketState}, []string{keyFormat, keyHardState, keyMark, keyMembership, keySegments}}, true
	default:
		return shape{}, false
	}
}

// check refuses a file whose buckets and records are not exactly those that are always there.
func (s shape) check(tx *bbolt.Tx, path string) error {
	var buckets, records []string
	err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		buckets = append(buckets, string(name))
		return nil
	})
	if err != nil || !slices.Equal(s.buckets, buckets) {
		return damaged(path, 0, "its buckets are %q", buckets)
	}
	state := tx.Bucket([]byte(bucketState))
	err = state.ForEach(func(name, _ []byte) error {
		records = append(records, string(name))
		return nil
	})
	want := slices.DeleteFunc(slices.Clone(s.records), func(name string) bool {
		return name == keyMembership && state.Get([]byte(name)) == nil
	})
	if err != nil || !slices.Equal(want, records) {
		return damaged(path, 0, "the records of its state are %q", records)
	}
	return nil
}

// hashChain verifies that entries follow each other: their numbers, and their hashes.
type hashChain struct {
	file     string
	previous core.Hash
	next     core.OpNumber
}

func (c *hashChain) add(entry *core.Entry) *DamageError {
	if entry.Op != c.next {
		return damaged(c.file, c.next, "operation %d follows operation %d", entry.Op, c.next-1)
	}
	if !entry.Follows(c.previous) {
		return damaged(c.file, entry.Op, "its hash does not continue the chain")
	}
	c.previous, c.next = entry.Hash, c.next+1
	return nil
}
