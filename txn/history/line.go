package history

import (
	"cmp"
	"strings"

	"github.com/tidwall/btree"

	"github.com/viewline/viewline/txn"
)

// member is a transaction on a line: prepared, or in flight at the primary. It is never changed.
type member struct {
	txn *txn.Transaction
	op  txn.OpNumber // where it was prepared; 0 in flight
	// order tells copies of one attempt in flight apart; 0 for a prepared one.
	order uint64
}

// entry places a member under one of its objects, or under its timestamp alone (no oid).
type entry struct {
	oid    string
	ts     txn.Timestamp
	member *member // nil only in a pivot, which comes before all of its timestamp
}

// line is a set of undecided transactions by timestamp, by what they write and by what they read.
type line struct {
	byTS    *btree.BTreeG[entry]
	writers *btree.BTreeG[entry]
	readers *btree.BTreeG[entry]
}

func newLine() line {
	return line{byTS: newTree(entryLess), writers: newTree(entryLess), readers: newTree(entryLess)}
}

func entryLess(a, b entry) bool {
	if c := strings.Compare(a.oid, b.oid); c != 0 {
		return c < 0
	}
	if a.ts != b.ts {
		return a.ts < b.ts
	}
	return a.member != b.member && memberCompare(a.member, b.member) < 0
}

// memberCompare orders members of one timestamp, which only copies and broken clocks produce.
func memberCompare(a, b *member) int {
	if a == nil || b == nil {
		return cmp.Compare(boolToInt(a != nil), boolToInt(b != nil))
	}
	if c := a.txn.ID.Compare(b.txn.ID); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.txn.Number, b.txn.Number), cmp.Compare(a.order, b.order))
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (l *line) len() int { return l.byTS.Len() }

func (l *line) add(m *member) {
	l.byTS.Set(entry{ts: m.txn.TS, member: m})
	for i := range m.txn.Writes {
		l.writers.Set(entry{oid: m.txn.Writes[i].OID, ts: m.txn.TS, member: m})
	}
	for i := range m.txn.Reads {
		l.readers.Set(entry{oid: m.txn.Reads[i].OID, ts: m.txn.TS, member: m})
	}
}

func (l *line) remove(m *member) {
	l.byTS.Delete(entry{ts: m.txn.TS, member: m})
	for i := range m.txn.Writes {
		l.writers.Delete(entry{oid: m.txn.Writes[i].OID, ts: m.txn.TS, member: m})
	}
	for i := range m.txn.Reads {
		l.readers.Delete(entry{oid: m.txn.Reads[i].OID, ts: m.txn.TS, member: m})
	}
}

// smallest returns the smallest timestamp on the line.
func (l *line) smallest() (txn.Timestamp, bool) {
	first, ok := l.byTS.Min()
	return first.ts, ok
}

// eachIn calls fn for the members under oid in a tree with timestamps from..to, ascending, until it returns
// false.
func eachIn(tree *btree.BTreeG[entry], oid string, from, to txn.Timestamp, fn func(*member) bool) {
	if tree.Len() == 0 {
		return
	}
	tree.Ascend(entry{oid: oid, ts: from}, func(e entry) bool {
		return e.oid == oid && e.ts <= to && fn(e.member)
	})
}

// firstOther returns the first member under oid with a timestamp in from..to that is not of the transaction
// self.
func firstOther(tree *btree.BTreeG[entry], oid string, from, to txn.Timestamp, self *txn.TxnID) *member {
	var found *member
	eachIn(tree, oid, from, to, func(m *member) bool {
		if self == nil || m.txn.ID != *self {
			found = m
		}
		return found == nil
	})
	return found
}
