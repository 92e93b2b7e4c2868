package history

import (
	"github.com/tidwall/btree"

	"github.com/viewline/viewline/txn"
)

// stamp is an object with the timestamp of its largest reader.
type stamp struct {
	oid string
	ts  txn.Timestamp
}

// stampTable keeps the largest reader of each object, for at most max objects. When there are more, the
// smallest go and low rises to them: every object without a stamp of its own counts as read at low. That
// may refuse a write for nothing, and never lets one pass.
//
// Invariant: byOID and byTS hold the same stamps, all above low, at most max of them.
type stampTable struct {
	byOID *btree.BTreeG[stamp]
	byTS  *btree.BTreeG[stamp]
	low   txn.Timestamp
	max   int
}

func newStampTable(max int) stampTable {
	return stampTable{byOID: newTree(stampLessByOID), byTS: newTree(stampLessByTS), max: max}
}

// newTree makes a tree that can be copied cheaply. Its items are never changed once they are in it.
func newTree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func stampLessByOID(a, b stamp) bool { return a.oid < b.oid }

func stampLessByTS(a, b stamp) bool {
	if a.ts != b.ts {
		return a.ts < b.ts
	}
	return a.oid < b.oid
}

// of returns the object's largest reader, or low if that is larger or not known.
func (t *stampTable) of(oid string) txn.Timestamp {
	own, _ := t.byOID.Get(stamp{oid: oid})
	return max(own.ts, t.low)
}

// raise notes a reader at ts.
func (t *stampTable) raise(oid string, ts txn.Timestamp) {
	if ts <= t.low {
		return
	}
	previous, had := t.byOID.Set(stamp{oid: oid, ts: ts})
	if had && previous.ts >= ts {
		t.byOID.Set(previous)
		return
	}
	if had {
		t.byTS.Delete(previous)
	}
	t.byTS.Set(stamp{oid: oid, ts: ts})
	for t.byOID.Len() > t.max {
		t.evict()
	}
}

// evict lets the smallest timestamp's stamps go, all of them: at low they say nothing any more.
func (t *stampTable) evict() {
	smallest, _ := t.byTS.Min()
	t.low = smallest.ts
	for {
		next, ok := t.byTS.Min()
		if !ok || next.ts > t.low {
			return
		}
		t.byTS.PopMin()
		t.byOID.Delete(next)
	}
}
