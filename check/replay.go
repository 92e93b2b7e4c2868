package check

import "github.com/viewline/viewline/txn"

// newest is the last write of an object so far.
type newest struct {
	writer  int32 // index in the history, -1: none
	version txn.Timestamp
	present bool
	value   uint64
}

// Serializable replays the history in the order of its timestamps and returns a *Counterexample at the first
// read that saw anything else than what the writes before it left, or at the second of two transactions with
// one timestamp. The history need not be sorted; it must begin with empty objects.
func Serializable(history []Transaction) error {
	objects := names{numbers: make(map[string]int32)}
	var state []newest
	find := func(oid string) *newest {
		number := objects.number(oid)
		if int(number) == len(state) {
			state = append(state, newest{writer: -1})
		}
		return &state[number]
	}
	last := int32(-1)
	for _, i := range inOrder(history) {
		t := &history[i]
		if last >= 0 && !t.Snapshot && history[last].TS == t.TS {
			return &Counterexample{Transaction: *t, Other: &history[last], Why: "two transactions have one timestamp"}
		}
		if !t.Snapshot {
			last = i
		}
		for _, read := range t.Reads {
			if found := find(read.OID); !found.is(read) {
				return found.counterexample(history, t, read)
			}
		}
		if t.Snapshot && len(t.Writes) > 0 {
			return &Counterexample{Transaction: *t, OID: t.Writes[0].OID, Why: "a snapshot wrote"}
		}
		for _, write := range t.Writes {
			*find(write.OID) = newest{writer: i, version: t.TS, present: !write.Delete, value: write.Value}
		}
	}
	return nil
}

// is reports whether a read saw this. Absence is seen with the version of the delete, or, once that is
// collected, with version 0.
func (n *newest) is(read Read) bool {
	if n.present != read.Present {
		return false
	}
	if !n.present {
		return read.Version == 0 || read.Version == n.version
	}
	return read.Version == n.version && (read.Value == 0 || n.value == 0 || read.Value == n.value)
}

func (n *newest) counterexample(history []Transaction, t *Transaction, read Read) *Counterexample {
	found := &Counterexample{
		Transaction: *t, OID: read.OID, Read: read,
		Want: Read{OID: read.OID, Version: n.version, Present: n.present, Value: n.value},
	}
	if n.writer >= 0 {
		found.Other = &history[n.writer]
	}
	switch {
	case read.Version > t.TS || read.Version == t.TS && !t.Snapshot:
		found.Why = "it read from its future"
	case read.Version == n.version:
		found.Why = "it read what nobody wrote"
	case read.Version < n.version:
		found.Why = "it missed a write"
	default:
		found.Why = "it read a write that is not in the history"
	}
	return found
}

// RealTime returns a *Counterexample if a transaction ended before another one began and yet has the later
// place in the order of timestamps.
func RealTime(history []Transaction) error {
	latest := int32(-1) // of those before in the claimed order, the one that began last
	for _, i := range inOrder(history) {
		t := &history[i]
		if latest >= 0 && t.End != 0 && t.End < history[latest].Start {
			return &Counterexample{Transaction: *t, Other: &history[latest], Why: "it had ended before the other began, and is ordered after it"}
		}
		if latest < 0 || t.Start > history[latest].Start {
			latest = i
		}
	}
	return nil
}

// Strict is Serializable and RealTime: the history is strictly serializable in the order of its timestamps.
func Strict(history []Transaction) error {
	if err := Serializable(history); err != nil {
		return err
	}
	return RealTime(history)
}
