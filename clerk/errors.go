package clerk

import (
	"errors"
	"fmt"
	"slices"

	"github.com/viewline/viewline/txn"
)

// Errors before a transaction's commit.
var (
	// ErrNotFound: the object has no value at the snapshot or version that was read.
	ErrNotFound = errors.New("clerk: object not found")
	// ErrUnavailable: no primary of a shard, or of the coordinator, answered before the context ended. Nothing
	// happened.
	ErrUnavailable = errors.New("clerk: unavailable")
	// ErrOverloaded: there was no room for a request, at a server or in this clerk, until the context ended or the
	// caller was to decide. Nothing happened. It comes inside an ErrUnavailable or an ErrAborted.
	ErrOverloaded = errors.New("clerk: overloaded")
	// ErrSnapshotTooOld: the snapshot lies below what a shard still remembers; begin again.
	ErrSnapshotTooOld = errors.New("clerk: snapshot too old")
	// ErrTxnDone: the transaction was committed or aborted already.
	ErrTxnDone = errors.New("clerk: transaction is done")
	// ErrClosed: the clerk is closed.
	ErrClosed = errors.New("clerk: closed")
	// ErrOptions: Options.Validate refused them.
	ErrOptions = errors.New("clerk: bad options")
	// ErrRefused: a server refused a request as malformed; it is a bug of the clerk or a wrong argument.
	ErrRefused = errors.New("clerk: refused by the server")
)

// Errors of a transaction's commit. Exactly one of these three outcomes is reported: committed (no error),
// aborted (ErrAborted: certainly did not happen), unknown (ErrOutcomeUnknown, or ErrOutcomeForgotten).
var (
	// ErrAborted is what every AbortedError is.
	ErrAborted = errors.New("clerk: transaction aborted")
	// ErrOutcomeUnknown is what every UnknownError is.
	ErrOutcomeUnknown = errors.New("clerk: outcome unknown")
	// ErrOutcomeForgotten: the transaction is older than what its shards remember. It can never happen any
	// more, and it may have happened.
	ErrOutcomeForgotten = errors.New("clerk: outcome forgotten")
)

// AbortedError says why a transaction certainly did not happen.
type AbortedError struct {
	// Attempt is the last one tried; zero when none was sent.
	Attempt txn.Attempt
	// Verdict is the refusal that decided; its Reason, OIDs and Other name the conflict. Zero when the caller
	// gave up before any shard refused.
	Verdict txn.Verdict
	// Cause is why it did not begin again: the context's error when the caller gave up, ErrClosed, ErrUnavailable
	// when there was no timestamp to be had, or a refusal that no other attempt could escape. nil when a conflict is
	// all there is to say.
	Cause error
	// Last is what the last request failed with that got no verdict, such as ErrOverloaded. nil when there was none.
	Last error
}

// Error names the rule, the objects and the other transaction.
func (e *AbortedError) Error() string {
	text := ErrAborted.Error()
	if e.Verdict.Reason != txn.ReasonNone {
		text += fmt.Sprintf(": %v", e.Verdict.Reason)
	}
	if len(e.Verdict.OIDs) > 0 {
		text += fmt.Sprintf(" on %.100q", e.Verdict.OIDs)
	}
	if e.Verdict.Other != (txn.Attempt{}) {
		text += fmt.Sprintf(", because of %v", e.Verdict.Other)
	}
	if e.Verdict.Shard != 0 {
		text += fmt.Sprintf(" (shard %d, view %d)", e.Verdict.Shard, e.Verdict.View)
	}
	if e.Cause != nil {
		text += fmt.Sprintf(": %v", e.Cause)
	}
	if e.Last != nil {
		text += fmt.Sprintf(" (last: %v)", e.Last)
	}
	return text
}

// Is makes every AbortedError an ErrAborted.
func (e *AbortedError) Is(target error) bool { return target == ErrAborted }

// Unwrap gives the cause and the last failure, if there are any.
func (e *AbortedError) Unwrap() []error {
	return slices.DeleteFunc([]error{e.Cause, e.Last}, func(err error) bool { return err == nil })
}

// UnknownError carries the id to ask Clerk.Outcome for.
type UnknownError struct {
	Attempt txn.Attempt
	// Cause is why the clerk stopped asking: the context's error, ErrClosed, or ErrOutcomeForgotten.
	Cause error
	// Last is what the last request failed with that got no verdict; it names the shard. nil when there was none.
	Last error
}

// Error gives the id.
func (e *UnknownError) Error() string {
	last := ""
	if e.Last != nil {
		last = fmt.Sprintf(" (last: %v)", e.Last)
	}
	return fmt.Sprintf("%v: transaction %v: %v%s; ask Outcome for it", ErrOutcomeUnknown, e.Attempt, e.Cause, last)
}

// Is makes every UnknownError an ErrOutcomeUnknown.
func (e *UnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

// Unwrap gives the cause. Last is not in the chain: what it says of its request does not hold of the transaction.
func (e *UnknownError) Unwrap() error { return e.Cause }
