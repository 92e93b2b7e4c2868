package backends

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Outage is what a Failover run has measured.
type Outage struct {
	// Took is the time from the kill of the primary to the next commit, as heard by who killed it.
	Took time.Duration `json:"took_ns"`
}

// afterwards is how many operations more have to be acknowledged after a failover, so that it was one.
const afterwards = 50

// measureFailover kills the primary of a group under load. Every process has proposers, which propose when it leads.
func measureFailover(ctx context.Context, o Options, name string, cell Cell) (out *Outage, err error) {
	g, err := startGroup(ctx, o, name, cell.Durability, cell.Replicas, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out, err = nil, errors.Join(err, g.abandon())
		}
	}()
	if err := g.load(ctx, loadRequest{Proposers: cell.Proposers, ValueBytes: cell.ValueBytes}); err != nil {
		return nil, err
	}
	// At any moment between two heartbeats.
	if err := g.work(ctx, o.Warmup+rand.N(2*o.Terms.Heartbeat)); err != nil {
		return nil, err
	}
	meters, err := ask[Meter](ctx, g, verbMeter, nil)
	if err != nil {
		return nil, err
	}
	primary, before := primaryOf(g.alive(), meters)
	if primary == nil || before == 0 {
		return nil, fmt.Errorf("%w: nothing was committed before the kill", ErrVoid)
	}
	took, err := g.killAndAwait(ctx, primary)
	if err != nil {
		return nil, err
	}
	return &Outage{Took: took}, g.recovered(ctx, before)
}

// primaryOf is who leads, and how many operations were acknowledged there.
func primaryOf(running []*child, meters []Meter) (primary *child, acknowledged uint64) {
	for i, m := range meters {
		if m.Leading {
			primary, acknowledged = running[i], m.Outcomes.Acknowledged
		}
	}
	return primary, acknowledged
}

// killAndAwait kills a replica, and waits until another says that an operation was acknowledged.
func (g *group) killAndAwait(ctx context.Context, primary *child) (time.Duration, error) {
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	began := time.Now()
	primary.kill()
	for {
		select {
		case c := <-g.commits:
			if c.by != primary && c.at.After(began) {
				return c.at.Sub(began), nil
			}
		case <-limited.Done():
			return 0, fmt.Errorf("backends: no commit after the kill of replica %d: %w", primary.id, context.Cause(limited))
		}
	}
}

// recovered lets those who are left go on for a little, and checks that they have everything that was acknowledged.
func (g *group) recovered(ctx context.Context, before uint64) error {
	_, err := g.poll(ctx, "commits after a failover", func(meters []Meter) bool {
		return outcomesOf(meters).Acknowledged >= afterwards
	})
	if err != nil {
		return err
	}
	outcomes, err := g.rest(ctx)
	if err != nil {
		return err
	}
	// How many more the killed process had acknowledged when it died, and how many it had proposed, nobody knows.
	if err := g.settle(ctx, before+outcomes.Acknowledged, math.MaxUint64); err != nil {
		return err
	}
	return g.close(ctx)
}
