package history

import "github.com/viewline/viewline/txn"

// Front is what only the primary has, in memory: the in-flight list, the snapshot stamps, and those who wait.
// It belongs to its State's goroutine. A State has at most one Front; after a Restore a new one is made.
type Front struct{ state *State }

// NewFront returns the front of a state, not leading.
func NewFront(state *State, options FrontOptions) (*Front, error) {
	return &Front{state: state}, options.Validate()
}

// Lead starts the service under the Lead with this number, which has just been applied as the primary's own;
// it reports false, and changes nothing, if that is not the state's current Lead. In-flight list and snapshot
// stamps start empty: what was in flight under an earlier Lead has no effect any more, and the floor of this
// Lead covers earlier snapshots.
func (f *Front) Lead(number uint64) bool { return false }

// Unlead ends the service. Everybody who waits is released.
func (f *Front) Unlead() {}

// Leading reports whether the front serves and its Lead is still the state's.
func (f *Front) Leading() bool { return false }

// LeadNumber returns the Lead under which the front serves, 0 when it does not.
func (f *Front) LeadNumber() uint64 { return 0 }

// Admit pre-validates an attempt. If it passes it enters the in-flight list in the same step, admitted is
// true, and the caller proposes it under LeadNumber and calls Leave exactly once. Otherwise the verdict is
// the answer: Refused with Op zero when nothing is logged about the attempt (another copy may still
// prepare), or what the log has already decided about it.
//
// Copies of one attempt may be in flight together; the log answers each.
func (f *Front) Admit(t *txn.Transaction, onePhase bool) (verdict txn.Verdict, admitted bool) {
	return txn.Verdict{}, false
}

// Leave takes one copy of an attempt that was admitted under this Lead off the in-flight list: its operation
// is applied, or certainly never will be. While that is not known the copy stays. A copy that was admitted
// under another Lead is none of the list's any more.
func (f *Front) Leave(lead uint64, attempt txn.Attempt) {}

// RaiseSnapStamps notes, before anything is read, that the objects are read as of r. Only while Leading.
func (f *Front) RaiseSnapStamps(oids []string, r txn.Timestamp) {}

// BlockersAt returns the prepared and in-flight transactions with timestamps up to r that write one of the
// objects, by ascending timestamp: those a snapshot at r has to wait for.
func (f *Front) BlockersAt(oids []string, r txn.Timestamp) []txn.Attempt { return nil }

// Blockers is BlockersAt without a bound.
func (f *Front) Blockers(oids []string) []txn.Attempt { return nil }

// Wait notes that id waits until none of the blockers is prepared or in flight any more; then TakeReleased
// returns it, at once if that is so already. It reports false, and notes nothing, when too many wait or the
// id waits already.
func (f *Front) Wait(id uint64, blockers []txn.Attempt) bool { return false }

// TakeReleased returns the ids whose blockers are all gone since the last call, in the order they began to
// wait. To be called after every Apply, Leave, Wait and Unlead.
func (f *Front) TakeReleased() []uint64 { return nil }

// DropWait forgets an id that does not wait any longer for reasons of its own.
func (f *Front) DropWait(id uint64) {}

// InFlight returns how many operations are in flight, Waiting how many wait.
func (f *Front) InFlight() int { return 0 }

// Waiting returns how many ids wait.
func (f *Front) Waiting() int { return 0 }
