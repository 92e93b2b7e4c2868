package main

import (
	"context"
	"errors"

	"github.com/viewline/viewline/clerk"
)

// What an interrupt leaves behind.
const (
	cleanedUp   = "everything is cleaned up"
	runAgain    = "run it again to go on: what is stored stays"
	nothingElse = ""
)

// errInterrupted: the user ended the command.
type errInterrupted struct {
	err  error
	hint string
}

// Error says so.
func (e errInterrupted) Error() string { return "interrupted" }

// Unwrap gives what the interrupt caused.
func (e errInterrupted) Unwrap() error { return e.err }

// interrupted marks an error that came of an interrupt.
func interrupted(ctx context.Context, err error, hint string) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted{err, hint}
	}
	return err
}

// interruptedUse is interrupted for one transaction: should its outcome be unknown, that is what has to be said.
func interruptedUse(ctx context.Context, err error) error {
	if errors.Is(err, clerk.ErrOutcomeUnknown) {
		return err
	}
	return interrupted(ctx, err, nothingElse)
}

// await runs what cannot be interrupted, such as reading from a terminal, and gives up on it when ctx ends. The
// process ends soon after.
func await[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := do()
		answers <- answer{value, err}
	}()
	select {
	case got := <-answers:
		return got.value, got.err
	case <-ctx.Done():
		var none T
		return none, interrupted(ctx, context.Cause(ctx), nothingElse)
	}
}
