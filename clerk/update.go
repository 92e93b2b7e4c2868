package clerk

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Update runs a function and commits what it read and wrote as one transaction. When another transaction was
// in the way it runs the function again, after a pause that grows, until it commits or ctx ends: so the
// function may run several times and must not have effects of its own. What it reads may be inconsistent in a
// run that is not going to commit.
//
// A nil error means committed. An error of the function aborts and is returned as it is. Otherwise the error is
// ErrAborted (certainly did not happen; it wraps the context's error when that ended it), ErrOutcomeUnknown
// with the id for Outcome, or one of the errors before a commit, such as ErrUnavailable.
func (c *Clerk) Update(ctx context.Context, update func(*Txn) error) error {
	pause := c.options.BackoffMin
	for {
		t := c.Begin()
		if err := update(t); err != nil {
			t.Abort()
			return err
		}
		_, err := t.Commit(ctx)
		if err == nil {
			return nil
		}
		var aborted *AbortedError
		if !errors.As(err, &aborted) || aborted.Cause != nil {
			return err
		}
		if err := sleep(ctx, rand.N(pause)+1); err != nil {
			aborted.Cause = err
			return aborted
		}
		pause = min(2*pause, c.options.BackoffMax)
	}
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
