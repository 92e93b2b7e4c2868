package storage

import (
	"slices"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr/core"
)

// entryLog is the part of a Disk that keeps the entries. Hard state and mark are the Disk's.
type entryLog interface {
	// version is that of the format which write leaves.
	version() uint32
	// read takes the log's small record, when the files are opened.
	read(state *bbolt.Bucket) error
	// load verifies all entries and returns those below the first damage, and that damage, with which the log stays as it
	// is until a change replaces it.
	load() ([]core.Entry, []*DamageError, error)
	// extent is where the log begins and ends; what read has found until load has returned.
	extent() extent
	// write makes a change durable, whole or not at all; put writes what of it is in the small records, as a part of the
	// same transaction. After ErrGap nothing was written, after another error nobody knows.
	write(c *change, put func(state *bbolt.Bucket) error) error
}

// shape is what replica.db consists of in one version of the format.
type shape struct {
	buckets []string
	records []string // of bucketState; keyMembership need not be there
}

// shapeOf returns the shape of a version, with the buckets and records in bbolt's order.
func shapeOf(version uint32) (shape, bool) {
	switch version {
	case boltLogVersionOldest:
		return shape{[]string{bucketLog, bucketState}, []string{keyExtent, keyFormat, keyHardState}}, true
	case boltLogVersionMarked:
		return shape{[]string{bucketLog, bucketState}, []string{keyExtent, keyFormat, keyHardState, keyMark}}, true
	case boltLogVersion:
		return shape{[]string{bucketLog, bucketState}, []string{keyExtent, keyFormat, keyHardState, keyMark, keyMembership}}, true
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
