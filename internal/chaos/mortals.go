package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/internal/bank"
)

const (
	// mortalLife is how long a mortal clerk lives, and mortalCallers how many transfers it leaves behind at most.
	mortalLife    = 100 * time.Millisecond
	mortalCallers = 8
	mortalPause   = 200 * time.Millisecond
)

// mortals has one clerk after another die in the middle of its transfers, until ctx ends: the shards have to finish
// what it leaves prepared.
func (r *run) mortals(ctx context.Context) {
	for ; ctx.Err() == nil; r.mortal++ {
		if err := r.oneMortal(ctx, r.mortal); err != nil && ctx.Err() == nil {
			r.watch.fail(err)
			return
		}
		pause := time.NewTimer(mortalPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

func (r *run) oneMortal(ctx context.Context, n int) error {
	options := r.clerkOptions()
	options.DrainTimeout, options.Hooks = time.Nanosecond, r.hooks()
	c, err := clerk.Dial(ctx, options)
	if err != nil {
		return fmt.Errorf("chaos: a mortal clerk: %w", err)
	}
	life, end := context.WithTimeout(ctx, mortalLife)
	defer end()
	left := make(chan struct{})
	go func() {
		defer close(left)
		r.ledger.Run(life, []*clerk.Clerk{c}, bank.RunOptions{
			Callers: mortalCallers, Seed: r.options.Seed + uint64(n), Prefix: fmt.Sprintf("mortal-%d", n),
		})
	}()
	<-life.Done()
	err = c.Close() // the transfers that have begun are still under way
	<-left
	return errors.Join(err, context.Cause(ctx))
}
