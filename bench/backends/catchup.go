package backends

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/replication"
)

// Return is what a Catchup run has measured.
type Return struct {
	// Took is the time from the start of the replica's process to when it had applied what the primary had committed; Bytes
	// are what it received until then, checkpoints included, and Fetched those of checkpoints.
	Took    time.Duration `json:"took_ns"`
	Bytes   uint64        `json:"bytes"`
	Fetched uint64        `json:"fetched"`
	// Operations a second that were acknowledged when all were up, when one was down, and while it caught up.
	Whole float64 `json:"whole_per_second"`
	Down  float64 `json:"down_per_second"`
	While float64 `json:"while_per_second"`
}

// Share is what was acknowledged while a replica caught up, as a share of what was when all were up.
func (r *Return) Share() float64 { return r.While / r.Whole }

// measureCatchup is one run.
func measureCatchup(ctx context.Context, o Options, name string, cell Cell) (r *Return, err error) {
	g, err := startGroup(ctx, o, name, cell.Durability, cell.Replicas, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r, err = nil, errors.Join(err, g.abandon())
		}
	}()
	if err := g.load(ctx, loadRequest{Proposers: cell.Proposers, ValueBytes: cell.ValueBytes}); err != nil {
		return nil, err
	}
	if err := g.work(ctx, o.Warmup); err != nil {
		return nil, err
	}
	if _, err := ask[Lap](ctx, g, verbLap, nil); err != nil {
		return nil, err
	}
	if err := g.work(ctx, o.Duration); err != nil {
		return nil, err
	}
	r = &Return{}
	if r.Whole, err = g.rate(ctx); err != nil {
		return nil, err
	}
	away, err := g.killBackup(ctx)
	if err != nil {
		return nil, err
	}
	if r.Down, err = g.write(ctx, o.BehindBytes, cell.ValueBytes); err != nil {
		return nil, err
	}
	if err := g.catchUp(ctx, away, r); err != nil {
		return nil, err
	}
	return r, g.finishReturned(ctx)
}

// rate ends a lap: what was acknowledged in a second of it, by whoever led.
func (g *group) rate(ctx context.Context) (float64, error) {
	laps, err := ask[Lap](ctx, g, verbLap, nil)
	if err != nil {
		return 0, err
	}
	if rateOf(laps) == 0 {
		return 0, fmt.Errorf("%w: nothing was committed", ErrVoid)
	}
	return rateOf(laps), nil
}

// rateOf is 0 where nothing was committed, as while a replica catches up it may be.
func rateOf(laps []Lap) float64 {
	sum, seconds := uint64(0), 0.0
	for _, lap := range laps {
		sum, seconds = sum+lap.Acknowledged, max(seconds, lap.Seconds)
	}
	if seconds == 0 {
		return 0
	}
	return float64(sum) / seconds
}

// killBackup kills the replica after the primary.
func (g *group) killBackup(ctx context.Context) (*child, error) {
	meters, err := ask[Meter](ctx, g, verbMeter, nil)
	if err != nil {
		return nil, err
	}
	for i, m := range meters {
		if m.Leading {
			away := g.children[(i+1)%len(g.children)]
			away.kill()
			return away, nil
		}
	}
	return nil, fmt.Errorf("%w: nobody leads", ErrVoid)
}

// write waits until so many bytes of values more were acknowledged, and returns at which rate they were.
func (g *group) write(ctx context.Context, bytes int64, valueBytes int) (float64, error) {
	first, want := uint64(0), uint64(bytes)/uint64(max(1, valueBytes))
	limited, cancel := context.WithTimeoutCause(ctx, writePatience, fmt.Errorf("not within %v", writePatience))
	defer cancel()
	for began := true; ; began = false {
		meters, err := ask[Meter](limited, g, verbMeter, nil)
		if err != nil {
			return 0, err
		}
		sum := outcomesOf(meters)
		if began {
			first = sum.Acknowledged
		}
		if sum.Acknowledged-first >= want {
			return g.rate(ctx)
		}
		if err := sleep(limited, pollPause); err != nil {
			return 0, fmt.Errorf("backends: %d of %d operations while a replica is down: %w", sum.Acknowledged-first, want, err)
		}
	}
}

// writePatience bounds the writing while a replica is down.
const writePatience = 30 * time.Minute

// catchUp starts a replica again, and waits until it has applied what the others have committed.
func (g *group) catchUp(ctx context.Context, away *child, r *Return) error {
	limited, cancel := context.WithTimeoutCause(ctx, writePatience, fmt.Errorf("not within %v", writePatience))
	defer cancel()
	others := g.alive()
	began := time.Now()
	if err := g.start(limited, away.id); err != nil {
		return err
	}
	back := g.children[away.id-1]
	if err := g.open(limited, back, false); err != nil {
		return err
	}
	for {
		committed, err := g.committed(limited, others)
		if err != nil {
			return err
		}
		var m Meter
		if err := g.call(limited, back, verbMeter, nil, &m); err != nil {
			return err
		}
		if m.Applied >= committed {
			r.Took, r.Bytes, r.Fetched = time.Since(began), m.BytesReceived+m.BytesFetched, m.BytesFetched
			break
		}
		if err := sleep(limited, pollPause); err != nil {
			return fmt.Errorf("backends: replica %d has %d of %d operations: %w", back.id, m.Applied, committed, err)
		}
	}
	laps, err := ask[Lap](ctx, g, verbLap, nil)
	r.While = rateOf(laps)
	return err
}

// committed is how far these replicas have committed.
func (g *group) committed(ctx context.Context, these []*child) (most replication.OpNumber, err error) {
	for _, c := range these {
		var m Meter
		if err := g.call(ctx, c, verbMeter, nil, &m); err != nil {
			return 0, err
		}
		most = max(most, m.Commit)
	}
	return most, nil
}

// finishReturned ends the run: all replicas have everything that was acknowledged.
func (g *group) finishReturned(ctx context.Context) error {
	outcomes, err := g.rest(ctx)
	if err != nil {
		return err
	}
	if err := g.settle(ctx, outcomes.Acknowledged, outcomes.Acknowledged+outcomes.Unknown); err != nil {
		return err
	}
	return g.close(ctx)
}
