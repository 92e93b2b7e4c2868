package history

import (
	"slices"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// Front is what only the primary has, in memory: the in-flight list, the snapshot stamps, and those who wait.
// It belongs to its State's goroutine. A State has one Front at most, the one made last.
type Front struct {
	state   *State
	options FrontOptions

	lead     uint64 // the Lead under which the front serves; 0 when it does not
	inFlight line   // passed pre-validation, not yet applied
	copies   map[txn.Attempt][]*member
	admitted uint64 // how many entered the list so far; numbers its members

	snapStamps stampTable // snapstamp: the largest snapshot reader

	waits waitingRoom
}

// NewFront returns the front of a state, not leading. The error is an ErrOptions.
func NewFront(state *State, options FrontOptions) (*Front, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	f := &Front{state: state, options: options.withDefaults()}
	f.waits = newWaitingRoom(f.isUndecided)
	f.clear()
	state.front = f
	return f, nil
}

func (f *Front) omits(rule omit.Rule) bool { return f.options.Omit.Has(rule) }

func (f *Front) clear() {
	f.inFlight = newLine()
	f.copies = map[txn.Attempt][]*member{}
	f.snapStamps = newStampTable(f.options.SnapStampsMax)
}

// Lead starts the service under the Lead with this number, which has just been applied as the primary's own;
// it reports false, and changes nothing, if that is not the state's current Lead. In-flight list and snapshot
// stamps start empty: what was in flight under an earlier Lead has no effect any more, and the floor of this
// Lead covers earlier snapshots. It does so because the caller serves under no Lead but one that it logged in
// its present view, with a floor that it fetched in that view before it served anything. Whoever still waits
// under an earlier Lead is released.
func (f *Front) Lead(number uint64) bool {
	if number == 0 || number != f.state.leadNumber {
		return false
	}
	f.Unlead()
	f.lead = number
	return true
}

// Unlead ends the service. Everybody who waits is released.
func (f *Front) Unlead() {
	f.lead = 0
	f.clear()
	f.waits.releaseAll()
}

// Leading reports whether the front serves and its Lead is still the state's.
func (f *Front) Leading() bool { return f.lead != 0 && f.lead == f.state.leadNumber }

// LeadNumber returns the Lead under which the front serves, 0 when it does not.
func (f *Front) LeadNumber() uint64 { return f.lead }

// Admit pre-validates an attempt. If it passes it enters the in-flight list in the same step, admitted is
// true, and the caller proposes it under LeadNumber and calls Leave exactly once. Otherwise the verdict is
// the answer: Refused with Op zero when nothing is logged about the attempt (another copy may still
// prepare), Forgotten, or what the log has already decided about it.
//
// Copies of one attempt may be in flight together; the log answers each.
func (f *Front) Admit(t *txn.Transaction, onePhase bool) (verdict txn.Verdict, admitted bool) {
	s := f.state
	switch {
	case !s.wellFormedTxn(t) || onePhase && !t.OnePhase():
		return s.refuse(txn.Invariant, attemptOf(t)), false
	case !f.Leading():
		return s.refuse(txn.OtherLead, t.Attempt), false
	}
	known := s.decisions.get(t.ID)
	if verdict, answered := s.known(known, t); answered {
		return verdict, false
	}
	if f.isFull(known, onePhase) {
		return s.refuse(txn.Limit, t.Attempt), false
	}
	found := s.unserved(t)
	if found.reason == txn.ReasonNone {
		found = s.validate(t, f)
	}
	if found.reason != txn.ReasonNone {
		verdict = s.refuse(found.reason, t.Attempt)
		verdict.OIDs, verdict.Other = found.oids, found.other
		return verdict, false
	}
	f.enter(t)
	return txn.Verdict{}, true
}

// isFull looks ahead at the bounds that Apply would meet. It counts what is in flight as if all of it would
// be remembered; at worst that asks the caller to come again.
func (f *Front) isFull(known *memory, onePhase bool) bool {
	s, flying := f.state, f.inFlight.len()
	if flying >= f.options.InFlightMax {
		return true
	}
	if !onePhase && s.line.len()+flying >= s.options.PreparedMax && (known == nil || known.prepared == nil) {
		return true
	}
	oldest, ok := s.decisions.byTS.Min()
	canForget := ok && oldest.ts <= s.recordsBelow()
	return known == nil && s.decisions.byID.Len()+flying >= s.options.DecisionsMax && !canForget
}

func (f *Front) enter(t *txn.Transaction) {
	f.admitted++
	m := &member{txn: t, order: f.admitted}
	f.inFlight.add(m)
	f.copies[t.Attempt] = append(f.copies[t.Attempt], m)
}

// Leave takes one copy of an attempt that was admitted under this Lead off the in-flight list: its operation
// is applied, or certainly never will be. While that is not known the copy stays. A copy that was admitted
// under another Lead is none of the list's any more.
func (f *Front) Leave(lead uint64, attempt txn.Attempt) {
	copies := f.copies[attempt]
	if lead != f.lead || len(copies) == 0 {
		return
	}
	f.inFlight.remove(copies[0])
	if len(copies) > 1 {
		f.copies[attempt] = copies[1:]
		return
	}
	delete(f.copies, attempt)
	f.leftTheLine(attempt)
}

// RaiseSnapStamps notes that the objects are read as of r: first this, then the wait for writers, then the
// read; any other order lets a writer in between.
func (f *Front) RaiseSnapStamps(oids []string, r txn.Timestamp) {
	for _, oid := range oids {
		f.snapStamps.raise(oid, r)
	}
}

// BlockersAt returns the prepared and in-flight transactions with timestamps up to r that write one of the
// objects, by ascending timestamp: those a snapshot at r has to wait for.
func (f *Front) BlockersAt(oids []string, r txn.Timestamp) []txn.Attempt {
	var blockers []txn.Attempt
	note := func(m *member) bool {
		blockers = append(blockers, m.txn.Attempt)
		return true
	}
	for _, oid := range oids {
		eachIn(f.state.line.writers, oid, 0, r, note)
		if !f.omits(RuleInFlight) {
			eachIn(f.inFlight.writers, oid, 0, r, note)
		}
	}
	slices.SortFunc(blockers, compareAttempts)
	return slices.Compact(blockers)
}

// Blockers is BlockersAt without a bound.
func (f *Front) Blockers(oids []string) []txn.Attempt {
	return f.BlockersAt(oids, txn.Timestamp(^uint64(0)))
}

// InFlight returns how many operations are in flight.
func (f *Front) InFlight() int { return f.inFlight.len() }

// isUndecided reports whether an attempt is prepared or in flight.
func (f *Front) isUndecided(attempt txn.Attempt) bool {
	return len(f.copies[attempt]) > 0 || f.state.IsPrepared(attempt)
}

// leftTheLine hears that an attempt left one of the two lines; it may still be on the other.
func (f *Front) leftTheLine(attempt txn.Attempt) {
	if !f.isUndecided(attempt) {
		f.waits.gone(attempt)
	}
}
