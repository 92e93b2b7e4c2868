package history

import (
	"cmp"
	"slices"

	"github.com/viewline/viewline/txn"
)

// Wait notes that id waits until none of the blockers is prepared or in flight any more; then TakeReleased
// returns it, at once if that is so already. It reports false, and notes nothing, when too many wait or the
// id waits already. To keep cycles out, an update transaction waits only for smaller timestamps.
func (f *Front) Wait(id uint64, blockers []txn.Attempt) bool {
	if f.Waiting() >= f.options.WaitsMax {
		return false
	}
	return f.waits.add(id, blockers)
}

// TakeReleased returns the ids whose blockers went since the last call, in the order they began to wait. To
// be called after every Apply, Leave, Wait and Unlead.
func (f *Front) TakeReleased() []uint64 { return f.waits.take() }

// DropWait forgets an id that does not wait any longer for reasons of its own.
func (f *Front) DropWait(id uint64) { f.waits.drop(id) }

// Waiting returns how many ids wait, the released ones that nobody took yet included.
func (f *Front) Waiting() int { return len(f.waits.byID) }

// waiting is one who waits.
type waiting struct {
	id       uint64
	order    uint64
	blockers []txn.Attempt // those that may still be undecided; it is listed under the first
	released bool
}

// waitingRoom keeps those who wait, each listed under one of its blockers at a time.
//
// Invariant: whoever is in byID is either listed under its first blocker or released.
type waitingRoom struct {
	undecided func(txn.Attempt) bool
	byID      map[uint64]*waiting
	byBlocker map[txn.Attempt]map[uint64]*waiting
	released  []*waiting
	came      uint64 // how many came so far
}

func newWaitingRoom(undecided func(txn.Attempt) bool) waitingRoom {
	return waitingRoom{
		undecided: undecided, byID: map[uint64]*waiting{}, byBlocker: map[txn.Attempt]map[uint64]*waiting{},
	}
}

func (r *waitingRoom) add(id uint64, blockers []txn.Attempt) bool {
	if r.byID[id] != nil {
		return false
	}
	r.came++
	w := &waiting{id: id, order: r.came, blockers: slices.Clone(blockers)}
	r.byID[id] = w
	r.place(w)
	return true
}

// place lists one under its first blocker that is still undecided, or releases it.
func (r *waitingRoom) place(w *waiting) {
	for len(w.blockers) > 0 && !r.undecided(w.blockers[0]) {
		w.blockers = w.blockers[1:]
	}
	if len(w.blockers) == 0 {
		r.release(w)
		return
	}
	listed := r.byBlocker[w.blockers[0]]
	if listed == nil {
		listed = map[uint64]*waiting{}
		r.byBlocker[w.blockers[0]] = listed
	}
	listed[w.id] = w
}

func (r *waitingRoom) release(w *waiting) {
	w.released = true
	r.released = append(r.released, w)
}

// gone moves on those who are listed under a blocker.
func (r *waitingRoom) gone(blocker txn.Attempt) {
	listed := r.byBlocker[blocker]
	delete(r.byBlocker, blocker)
	for _, w := range listed { // any order: take sorts
		r.place(w)
	}
}

func (r *waitingRoom) drop(id uint64) {
	w := r.byID[id]
	if w == nil {
		return
	}
	delete(r.byID, id)
	if w.released {
		r.released = slices.DeleteFunc(r.released, func(other *waiting) bool { return other == w })
		return
	}
	listed := r.byBlocker[w.blockers[0]]
	delete(listed, id)
	if len(listed) == 0 {
		delete(r.byBlocker, w.blockers[0])
	}
}

func (r *waitingRoom) releaseAll() {
	for _, w := range r.byID { // any order: take sorts
		if !w.released {
			r.release(w)
		}
	}
	r.byBlocker = map[txn.Attempt]map[uint64]*waiting{}
}

func (r *waitingRoom) take() []uint64 {
	if len(r.released) == 0 {
		return nil
	}
	slices.SortFunc(r.released, func(a, b *waiting) int { return cmp.Compare(a.order, b.order) })
	ids := make([]uint64, len(r.released))
	for i, w := range r.released {
		ids[i] = w.id
		delete(r.byID, w.id)
	}
	r.released = nil
	return ids
}

// compareAttempts orders attempts by timestamp; only copies and broken clocks make the rest matter.
func compareAttempts(a, b txn.Attempt) int {
	return cmp.Or(cmp.Compare(a.TS, b.TS), a.ID.Compare(b.ID), cmp.Compare(a.Number, b.Number))
}
