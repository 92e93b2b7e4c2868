package sessions

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// Reply is what is known of a request that happened.
type Reply struct {
	// Op is where it was executed.
	Op replication.OpNumber
	// Value is what the machine returned for it.
	Value []byte
	// Dropped: the request was executed, once, but this is the answer to a copy and the reply was not kept so
	// long. Value is nil.
	Dropped bool
}

// course is what is known of one request after some attempts, pure.
type course struct {
	// unknown: an attempt ended so that its copy may be in the log, or may come into it. From then on no refusal
	// of a later copy proves that the request did not happen.
	unknown bool
}

// verdict is what an attempt means for its request.
type verdict uint8

const (
	verdictHappened verdict = iota
	// verdictAgain: the next attempt may tell.
	verdictAgain
	// verdictDidNot: the request did not happen and will not.
	verdictDidNot
	// verdictUnknown: another attempt now is of no use.
	verdictUnknown
)

// judge takes the result of one attempt; hoped is the status that a first copy has when it happens. The error is
// why the request did not happen or is not known to have.
func (c *course) judge(hoped table.Status, result replication.Result) (verdict, table.Result, error) {
	if result.Err != nil {
		return c.failed(result.Err), table.Result{}, result.Err
	}
	answer, ok := table.ReadResult(result.Value)
	happened := answer.Status == hoped || hoped == table.StatusExecuted && answer.Status == table.StatusReplyDropped
	if ok && happened {
		return verdictHappened, answer, nil
	}
	reason := refusal(answer)
	if !ok || reason == nil {
		c.unknown = true // whoever answered may have executed it as something else
		return verdictUnknown, answer, ErrNoTable
	}
	return c.ended(), answer, reason
}

// failed judges an attempt that the replicator did not execute, or does not know to have.
func (c *course) failed(err error) verdict {
	switch {
	case !replication.DidNotHappen(err):
		c.unknown = true
		return verdictAgain
	case errors.Is(err, replication.ErrNotPrimary), c.unknown && errors.Is(err, replication.ErrOverloaded):
		return verdictAgain
	case c.unknown:
		return verdictUnknown
	}
	return verdictDidNot
}

// ended is what it means that this attempt was the last one and had no effect.
func (c *course) ended() verdict {
	if c.unknown {
		return verdictUnknown
	}
	return verdictDidNot
}

// refusal is why the table refused a request; nil: it did not.
func refusal(answer table.Result) error {
	switch answer.Status {
	case table.StatusSessionDropped:
		return ErrSessionDropped
	case table.StatusBelowWindow:
		return fmt.Errorf("%w, which begins at %d", ErrBelowWindow, answer.Lowest)
	case table.StatusAboveWindow:
		return fmt.Errorf("%w, which begins at %d", ErrAboveWindow, answer.Lowest)
	case table.StatusMalformed:
		return ErrMalformed
	default:
		return nil
	}
}
