package replication

import (
	"context"
	"errors"
	"fmt"
)

// Errors of Submit and ReadBarrier. All but ErrOutcomeUnknown say that the operation certainly did not
// happen and never will.
var (
	// ErrOutcomeUnknown: the operation may have happened or may happen later.
	ErrOutcomeUnknown = errors.New("replication: outcome unknown")
	// ErrOverloaded: a bound of the queue is reached; try again later.
	ErrOverloaded = errors.New("replication: overloaded")
	// ErrClosed: the replica is closed or has stopped.
	ErrClosed = errors.New("replication: replica is closed")
	// ErrTooLarge: the operation is larger than the group takes.
	ErrTooLarge = errors.New("replication: operation too large")
	// ErrNotPrimary is what every NotPrimaryError is.
	ErrNotPrimary = errors.New("replication: not the primary of that view")
)

// NotPrimaryError says who is primary, as far as this replica knows.
type NotPrimaryError struct {
	View    ViewNumber
	Primary ReplicaID // 0 when not known
}

// Error names the view and its primary.
func (e *NotPrimaryError) Error() string {
	if e.Primary == 0 {
		return fmt.Sprintf("%v (view %d, primary not known)", ErrNotPrimary, e.View)
	}
	return fmt.Sprintf("%v (view %d, primary %d)", ErrNotPrimary, e.View, e.Primary)
}

// Is makes every NotPrimaryError an ErrNotPrimary.
func (e *NotPrimaryError) Is(target error) bool { return target == ErrNotPrimary }

// DidNotHappen reports whether an error of Submit or Propose is certain: the operation had no effect and
// never will have one.
func DidNotHappen(err error) bool {
	return err != nil && !errors.Is(err, ErrOutcomeUnknown)
}

// Propose submits an operation and waits. When ctx ends first the outcome is unknown, and the error is both
// ErrOutcomeUnknown and the context's own.
func Propose(ctx context.Context, r Replicator, view ViewNumber, operation []byte) Result {
	results := make(chan Result, 1)
	r.Submit(view, operation, func(result Result) { results <- result })
	select {
	case result := <-results:
		return result
	case <-ctx.Done():
		return Result{Err: fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))}
	}
}

// AwaitReadBarrier is ReadBarrier for a caller that waits.
func AwaitReadBarrier(ctx context.Context, r Replicator, view ViewNumber) error {
	errs := make(chan error, 1)
	r.ReadBarrier(view, func(err error) { errs <- err })
	select {
	case err := <-errs:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
