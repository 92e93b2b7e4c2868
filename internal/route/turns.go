package route

import (
	"errors"

	"github.com/viewline/viewline/txn"
)

// turns decides who shares a request with whom. Whoever asks joins the request that will be sent next, never
// one that is under way: the answer must come from after the asking. It is pure.
type turns struct {
	underWay bool
	waiting  int
}

// join enters one more into the next request. ok is false when it is full; begin is true when the request is to
// be sent now.
func (t *turns) join() (begin, ok bool) {
	if t.waiting >= txn.TimestampsMax {
		return false, false
	}
	t.waiting++
	return !t.underWay, true
}

// leave takes one out of the next request again.
func (t *turns) leave() { t.waiting-- }

// begin sends the next request: it returns for how many.
func (t *turns) begin() int {
	count := t.waiting
	t.underWay, t.waiting = true, 0
	return count
}

// end takes that the request under way is over, and returns whether to send the next one.
func (t *turns) end() bool {
	t.underWay = false
	return t.waiting > 0
}

// worthAnother reports whether a shared request that failed so may succeed if it is sent again. Those which
// failed by a passed time, or because nobody served, did so after trying for a while.
func worthAnother(err error) bool {
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, ErrInternal):
		return false
	case errors.Is(err, ErrDeadline), errors.Is(err, ErrOutcomeUnknown), errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotPrimary),
		errors.Is(err, ErrNotConnected):
		return true
	default:
		return false
	}
}
