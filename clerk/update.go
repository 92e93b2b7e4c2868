package clerk

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Update runs a function and commits what it read and wrote as one transaction. When another transaction was
// in the way it runs the function again, after a pause that grows, until it commits or ctx ends: so the
// function may run several times and must not have effects of its own. What it reads may be inconsistent, or old,
// in a run that is not going to commit.
//
// A nil error means committed. An error of the function aborts and is returned as it is, once it is sure that what
// the function had read was true: an error about a state that never was makes it run again. Otherwise the error is
// ErrAborted (certainly did not happen; it wraps the context's error when that ended it), ErrOutcomeUnknown
// with the id for Outcome, or one of the errors before a commit, such as ErrUnavailable.
func (c *Clerk) Update(ctx context.Context, update func(*Txn) error) error {
	pause := c.options.BackoffMin
	for {
		t := c.Begin()
		conflict, err := t.end(ctx, update(t))
		if conflict == nil {
			return err
		}
		if err := sleep(ctx, rand.N(pause)+1); err != nil {
			conflict.Cause = err
			return conflict
		}
		pause = min(2*pause, c.options.BackoffMax)
	}
}

// end commits, or makes sure of what a function had read that returned an error. It returns the conflict because of
// which the function has to run again, or else what Update returns.
func (t *Txn) end(ctx context.Context, failure error) (conflict *AbortedError, err error) {
	if failure != nil {
		if !t.doubtful(ctx, failure) {
			t.Abort()
			return nil, failure
		}
		clear(t.writes)
	}
	_, err = t.Commit(ctx)
	var aborted *AbortedError
	var unknown *UnknownError
	switch {
	case err == nil:
		return nil, failure
	case errors.As(err, &aborted) && aborted.Cause == nil:
		return aborted, nil
	case failure != nil && errors.As(err, &unknown):
		// It wrote nothing, so nothing can have happened.
		return nil, &AbortedError{Attempt: unknown.Attempt, Cause: unknown.Cause, Last: unknown.Last}
	default:
		return nil, err
	}
}

// doubtful reports whether an error of the function may come from reads that were never true together.
func (t *Txn) doubtful(ctx context.Context, failure error) bool {
	if t.done || len(t.reads) == 0 || ctx.Err() != nil {
		return false
	}
	for _, final := range []error{ErrUnavailable, ErrClosed, ErrRefused} {
		if errors.Is(failure, final) {
			return false
		}
	}
	return true
}

// Put writes one object, whatever it held before.
func (c *Clerk) Put(ctx context.Context, oid string, value []byte) error {
	return c.Update(ctx, func(t *Txn) error { return t.Put(oid, value) })
}

// Delete removes one object; deleting what is absent is no error.
func (c *Clerk) Delete(ctx context.Context, oid string) error {
	return c.Update(ctx, func(t *Txn) error { return t.Delete(oid) })
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
