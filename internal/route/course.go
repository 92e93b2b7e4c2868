package route

import (
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// hopsMax is how often a request may be sent on at once before it has to pause: replicas that point at each
// other must not make it run in circles.
const hopsMax = 3

// happening is what can become of one copy of a request.
type happening uint8

const (
	// answered: the server did what was asked, or said what it had to say about it.
	answered happening = iota
	// refused: the server answered with an error.
	refused
	// unreached: the node is not connected, or the stream broke before the request was written.
	unreached
	// broken: the stream broke after the request was written and before it was answered.
	broken
	// expired: the request's time is over.
	expired
	// ended: the Router is closed.
	ended
)

// event tells a course what happened.
type event struct {
	kind happening
	// address is the node that was asked.
	address string
	// code is that of refused.
	code pb.Code
	// redirect is the primary named by a refusal, if that is to be believed; else empty.
	redirect string
	// written is true, with expired and ended, when a copy is under way.
	written bool
	// silent is true, with expired, when the node has said nothing for too long.
	silent bool
}

// step is what a course wants done.
type step struct {
	kind  stepKind
	pause time.Duration // of stepPause
}

type stepKind uint8

const (
	// stepFinish: tell the caller.
	stepFinish stepKind = iota
	// stepAgain: send it again now, to whom the group says.
	stepAgain
	// stepPause: the same after a pause.
	stepPause
)

// course is the way of one request: what was tried, and what to do next. It is pure.
type course struct {
	resend bool
	// unknown: some copy may have had an effect, or may have one later. It is never taken back: what a later
	// copy meets says nothing about an earlier one.
	unknown bool
	pauses  int
	// hops counts copies since the last pause, and failed is the node that was not reached since then.
	hops   int
	failed string
}

// next decides what to do after an event.
func (c *course) next(e event, pause backoff, random uint64) step {
	switch e.kind {
	case refused:
		return c.refused(e, pause, random)
	case unreached:
		c.failed = e.address
		return c.hop(pause, random)
	case broken:
		c.unknown, c.failed = true, e.address
		if c.resend {
			return c.hop(pause, random)
		}
	case expired, ended:
		c.unknown = c.unknown || e.written
	case answered:
	}
	return step{kind: stepFinish}
}

// refused decides after an error of the server. All but an unknown outcome are certain, so that another copy is
// harmless; which of them can end differently another time is the question.
func (c *course) refused(e event, pause backoff, random uint64) step {
	switch e.code {
	case pb.Code_CODE_NOT_PRIMARY:
		if e.redirect != "" && e.redirect != e.address && e.redirect != c.failed {
			return c.hop(pause, random)
		}
		return c.rest(pause, random)
	case pb.Code_CODE_UNAVAILABLE, pb.Code_CODE_OVERLOADED, pb.Code_CODE_UNKNOWN_GROUP:
		return c.rest(pause, random)
	case pb.Code_CODE_OUTCOME_UNKNOWN:
		c.unknown = true
		if c.resend {
			return c.rest(pause, random)
		}
	default:
	}
	return step{kind: stepFinish}
}

// hop sends on at once, unless that was done too often.
func (c *course) hop(pause backoff, random uint64) step {
	if c.hops++; c.hops > hopsMax {
		return c.rest(pause, random)
	}
	return step{kind: stepAgain}
}

func (c *course) rest(pause backoff, random uint64) step {
	c.hops, c.failed = 0, ""
	c.pauses++
	return step{kind: stepPause, pause: pause.pause(c.pauses-1, random)}
}
