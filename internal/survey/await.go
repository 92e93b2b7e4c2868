package survey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
)

// pollInterval is how often those who wait ask.
const pollInterval = 20 * time.Millisecond

// answerTimeout is how long AwaitPrimary waits for those that do not answer at once, such as stopped processes.
const answerTimeout = 500 * time.Millisecond

// AwaitWhole waits until every group serves with all its replicas, all caught up. When ctx ends first the error
// says what was still missing.
func AwaitWhole(ctx context.Context, groups []Group) error {
	return Poll(ctx, func() error {
		if assessment := Assess(Ask(ctx, groups)); assessment.Health != Whole {
			return errors.New(assessment.Sentence)
		}
		return nil
	})
}

// AwaitPrimary waits until a replica of a group serves, and returns it.
func AwaitPrimary(ctx context.Context, group Group, dial ...grpc.DialOption) (replica uint32, err error) {
	err = Poll(ctx, func() error {
		limited, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		health := Assess(Ask(limited, []Group{group}, dial...)).Groups[0]
		if replica = health.Primary; replica == 0 {
			return fmt.Errorf("survey: %s has no serving primary", health.name())
		}
		return nil
	})
	return replica, err
}

// Final marks an error that makes Poll give up.
type Final struct{ Err error }

// Error is the error's own.
func (f Final) Error() string { return f.Err.Error() }

// Unwrap gives the error.
func (f Final) Unwrap() error { return f.Err }

// Poll tries every 20 ms until it succeeds, fails with a Final, or ctx ends; the error then is the context's and
// the last one that was not cut short by it.
func Poll(ctx context.Context, try func() error) error {
	ticks := time.NewTicker(pollInterval)
	defer ticks.Stop()
	var last error
	for {
		err := try()
		var final Final
		if err == nil || errors.As(err, &final) {
			return err
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
	}
}
