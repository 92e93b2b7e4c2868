package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/cluster/process"
)

// A change of members is hit in its middle: so long after it was asked for at most.
const blowAfterMax = 800 * time.Millisecond

// blow is what happens to a replica while the members of its group change, and how it is mended.
type blow struct {
	story string
	mend  func() error
}

// changing is a change of members on its way.
type changing struct {
	cancel context.CancelFunc
	done   chan error // gets one value
	blow   blow
	// times is how often the command was given, and took how long it took; read after done.
	times int
	took  time.Duration
}

// begin has a change made while a drawn replica is hit: killed, if it may be, stopped, or cut off from its group.
func (r *run) begin(ctx context.Context, victims []process.Node, kill bool, change func(context.Context) (int, error)) (*changing, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	c := &changing{cancel: cancel, done: make(chan error, 1)}
	go func() {
		began := time.Now()
		times, err := change(ctx)
		c.times, c.took = times, time.Since(began)
		c.done <- err
	}()
	r.pending = c
	after := time.NewTimer(time.Duration(r.random.Int64N(int64(blowAfterMax))))
	defer after.Stop()
	select {
	case <-after.C:
	case <-ctx.Done():
		return c, context.Cause(ctx)
	}
	var err error
	c.blow, err = r.strike(ctx, r.draw(victims), kill)
	return c, err
}

// strike hits one replica.
func (r *run) strike(ctx context.Context, victim process.Node, kill bool) (blow, error) {
	stop := blow{fmt.Sprintf("%v stopped", victim), func() error { return r.cluster.Continue(victim) }}
	ways := []func() (blow, error){func() (blow, error) { return stop, r.cluster.Stop(ctx, victim) }}
	if kill {
		dead := blow{fmt.Sprintf("%v killed", victim), func() error { return r.cluster.Restart(victim) }}
		ways = append(ways, func() (blow, error) { return dead, r.cluster.Kill(victim) })
	}
	if r.network.spaces != nil {
		cut := blow{fmt.Sprintf("%v cut off", victim), r.network.heal}
		ways = append(ways, func() (blow, error) {
			return cut, r.network.drop(between([]process.Node{victim}, r.network.peersOf(victim), true)...)
		})
	}
	return ways[r.random.IntN(len(ways))]()
}

// finish mends what was hit, after a while, and waits until the change is made.
func (r *run) finish(ctx context.Context, c *changing, done *Fault) error {
	if err := errors.Join(r.last(ctx), c.blow.mend()); err != nil {
		return err
	}
	err := r.settled(ctx)
	done.Repeated, done.Changed = done.Repeated+max(c.times-1, 0), max(done.Changed, c.took)
	done.Nodes = append(done.Nodes, c.blow.story)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %s: %w", ErrMembers, done.Name, err)
	}
	return err
}

// settled waits for the change that is on its way, if one is.
func (r *run) settled(ctx context.Context) error {
	c := r.pending
	if c == nil {
		return nil
	}
	r.pending = nil
	defer c.cancel()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		c.cancel()
		return errors.Join(context.Cause(ctx), <-c.done)
	}
}
