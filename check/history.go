package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/viewline/viewline/txn"
)

// Transaction is one committed transaction of a history.
type Transaction struct {
	// Name appears in what is found; when empty, the timestamp does.
	Name string
	// TS is its place in the claimed order. No two transactions that write may have the same.
	TS txn.Timestamp
	// Snapshot says that it only reads, as of TS, that is after a transaction of the same timestamp. Several
	// snapshots may have the same timestamp.
	Snapshot bool
	// Start and End are when it began and when its caller had the answer, on one clock that never goes back. End
	// is 0 if nobody ever had it.
	Start, End uint64
	// Reads are what it read, its own writes apart; at most one read of an object.
	Reads []Read
	// Writes are what it wrote; at most one write of an object.
	Writes []Write
}

// Read is one read.
type Read struct {
	OID string
	// Version is the timestamp of the write that was read; when absent, of the delete, or 0.
	Version txn.Timestamp
	Present bool
	// Value is a hash of the value, compared with that of the write; 0 is compared with nothing.
	Value uint64
}

// Write is one write.
type Write struct {
	OID    string
	Delete bool
	Value  uint64 // a hash of the value, or 0
}

// String names the transaction.
func (t *Transaction) String() string {
	kind := "transaction"
	if t.Snapshot {
		kind = "snapshot"
	}
	if t.Name == "" {
		return fmt.Sprintf("%s @%d", kind, t.TS)
	}
	return fmt.Sprintf("%s %s @%d", kind, t.Name, t.TS)
}

// String tells what was read.
func (r Read) String() string {
	if !r.Present {
		return fmt.Sprintf("%q absent @%d", r.OID, r.Version)
	}
	return fmt.Sprintf("%q @%d", r.OID, r.Version)
}

// inOrder returns the transactions' indexes in the claimed order.
func inOrder(history []Transaction) []int32 {
	order := make([]int32, len(history))
	sorted := true
	for i := range history {
		order[i] = int32(i)
		sorted = sorted && (i == 0 || claimed(&history[i-1], &history[i]) <= 0)
	}
	if !sorted {
		slices.SortFunc(order, func(a, b int32) int { return claimed(&history[a], &history[b]) })
	}
	return order
}

// claimed compares two transactions in the claimed order: by timestamp, a snapshot after the transaction of
// the same timestamp. Snapshots of one timestamp have no order; the one that began first goes first, so that
// real time is not contradicted where nothing is claimed.
func claimed(a, b *Transaction) int {
	if order := cmp.Compare(a.TS, b.TS); order != 0 {
		return order
	}
	if a.Snapshot != b.Snapshot {
		if b.Snapshot {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Start, b.Start)
}

// names gives every object a small number.
type names struct {
	numbers map[string]int32
	oids    []string
}

func (n *names) number(oid string) int32 {
	if number, ok := n.numbers[oid]; ok {
		return number
	}
	number := int32(len(n.oids))
	n.numbers[oid] = number
	n.oids = append(n.oids, oid)
	return number
}
