package state

import (
	"math"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// How far the mark runs ahead of the clock, in milliseconds: it is raised to aheadMillis ahead when less than
// needMillis is left, so that nobody waits for a replication round while the primary is well.
const (
	aheadMillis = 3000
	needMillis  = 1500
)

// millisMax is the last millisecond that a Timestamp can hold.
const millisMax = math.MaxUint64 >> txn.CounterBits

// Oracle hands out timestamps while its replica leads. What it knows of the mark is what was applied.
type Oracle struct {
	omit    omit.Set
	leading bool
	// mark is the replicated one. Invariant: last <= mark.
	mark txn.Timestamp
	// last is the largest timestamp that may have been handed out by anyone.
	last txn.Timestamp
}

// NewOracle returns an oracle that does not lead.
func NewOracle(options Options) *Oracle { return &Oracle{omit: options.Omit} }

// Lead begins to lead. mark is the one that the replica holds when everything it inherited is applied: earlier
// primaries may have handed out everything up to it, and nothing above it.
func (o *Oracle) Lead(mark txn.Timestamp) {
	o.leading, o.mark = true, mark
	if o.omit.Has(RuleAboveInherited) {
		o.last = 0
		return
	}
	o.last = max(o.last, mark)
}

// Unlead ends it.
func (o *Oracle) Unlead() { o.leading = false }

// Raised takes that a mark was applied.
func (o *Oracle) Raised(mark txn.Timestamp) { o.mark = max(o.mark, mark) }

// Allocate hands out count timestamps, first and those that follow it. They lie at the clock's time or, where
// that was reached or passed already, right above the last ones: a clock that stands still, jumps back or lags
// behind an earlier primary's only makes them run ahead of it, as does a millisecond in which all its counter
// values were used.
func (o *Oracle) Allocate(nowMillis uint64, count uint32) (first txn.Timestamp, err error) {
	if !o.leading && !o.omit.Has(RuleOwnLead) {
		return 0, ErrNotLeading
	}
	if (count == 0 || count > txn.TimestampsMax) && !o.omit.Has(RuleCount) {
		return 0, ErrCount
	}
	first = at(nowMillis)
	if first <= o.last && !o.omit.Has(RuleIncreasing) {
		first = o.last + 1
	}
	last := first + txn.Timestamp(count) - 1
	if (first == 0 || last < first) && !o.omit.Has(RuleRange) {
		return 0, ErrExhausted
	}
	if last > o.mark && !o.omit.Has(RuleBelowMark) {
		return 0, ErrMark
	}
	o.last = last
	return first, nil
}

// Ready reports whether the largest request can be served at the clock's time.
func (o *Oracle) Ready(nowMillis uint64) bool {
	largest := max(at(nowMillis), o.last) + txn.TimestampsMax
	return o.leading && (o.mark == math.MaxUint64 || largest >= o.last && largest <= o.mark)
}

// NeedMark returns the mark to propose next, if one is needed now. It only ever asks for a mark above the one it
// knows.
func (o *Oracle) NeedMark(nowMillis uint64) (mark txn.Timestamp, need bool) {
	if !o.leading {
		return 0, false
	}
	base := max(at(nowMillis), o.last)
	if left := base + at(needMillis); left >= base && left <= o.mark {
		return 0, false
	}
	mark = base + at(aheadMillis)
	if mark < base {
		mark = math.MaxUint64
	}
	return mark, mark > o.mark
}

// at is the first timestamp of a millisecond; a clock beyond what a Timestamp holds stays at the end of it.
func at(millis uint64) txn.Timestamp { return txn.TimestampAt(min(millis, millisMax)) }
