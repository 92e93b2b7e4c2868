package backends

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"
)

// Speed is what a Throughput run has measured.
type Speed struct {
	// Operations were acknowledged in Seconds.
	Operations uint64        `json:"operations"`
	Seconds    float64       `json:"seconds"`
	PerSecond  float64       `json:"per_second"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	P999       time.Duration `json:"p999_ns"`
	Max        time.Duration `json:"max_ns"`
	// What follows is of all replicas together, for one operation. CPUSeconds are of the whole run.
	CPUSeconds float64 `json:"cpu_seconds"`
	CPUMicros  float64 `json:"cpu_micros"`
	Fsyncs     float64 `json:"fsyncs"`
	Messages   float64 `json:"messages"`
	Flushes    float64 `json:"flushes"`
	Bytes      float64 `json:"bytes"`
	// Log is how the log is kept, by the backend's own word.
	Log string `json:"log"`
}

// leastOperations is how many have to be acknowledged for a part of a run to say anything.
const leastOperations = 20

// measureThroughput is one run.
func measureThroughput(ctx context.Context, o Options, name string, cell Cell, profile string) (s *Speed, err error) {
	g, err := startGroup(ctx, o, name, cell.Durability, cell.Replicas, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s, err = nil, errors.Join(err, g.abandon())
		}
	}()
	if err := g.load(ctx, loadRequest{Proposers: cell.Proposers, ValueBytes: cell.ValueBytes}); err != nil {
		return nil, err
	}
	if err := g.work(ctx, o.Warmup); err != nil {
		return nil, err
	}
	if err := g.profile(ctx, profile); err != nil {
		return nil, err
	}
	before, _, err := g.lap(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.work(ctx, o.Duration); err != nil {
		return nil, err
	}
	after, laps, err := g.lap(ctx)
	if err != nil {
		return nil, err
	}
	if profile != "" {
		if err := g.each(func(c *child) error { return g.call(ctx, c, verbUnprofile, nil, nil) }); err != nil {
			return nil, err
		}
	}
	if s, err = speedOf(before, after, laps); err != nil {
		return nil, err
	}
	return s, g.finish(ctx)
}

// work lets the load go on for a time, and for longer where a busy machine has hardly got anything done in it.
func (g *group) work(ctx context.Context, d time.Duration) error {
	meters, err := ask[Meter](ctx, g, verbMeter, nil)
	if err != nil {
		return err
	}
	first := outcomesOf(meters).Acknowledged
	if err := sleep(ctx, d); err != nil {
		return err
	}
	_, err = g.poll(ctx, "some operations", func(meters []Meter) bool { return outcomesOf(meters).Acknowledged >= first+leastOperations })
	return err
}

// profile begins a CPU profile of every process, in files whose names begin like that.
func (g *group) profile(ctx context.Context, prefix string) error {
	if prefix == "" {
		return nil
	}
	return g.each(func(c *child) error {
		file, err := filepath.Abs(fmt.Sprintf("%s-replica%d.pprof", prefix, c.id))
		if err != nil {
			return err
		}
		return g.call(ctx, c, verbProfile, profileRequest{File: file}, nil)
	})
}

// lap reads all meters and ends a lap.
func (g *group) lap(ctx context.Context) ([]Meter, []Lap, error) {
	meters, err := ask[Meter](ctx, g, verbMeter, nil)
	if err != nil {
		return nil, nil, err
	}
	laps, err := ask[Lap](ctx, g, verbLap, nil)
	return meters, laps, err
}

// finish ends a run in which nothing failed: every operation was acknowledged, and every replica has exactly those.
func (g *group) finish(ctx context.Context) error {
	outcomes, err := g.rest(ctx)
	if err != nil {
		return err
	}
	if outcomes.Unknown+outcomes.Refused > 0 {
		return fmt.Errorf("%w: %d operations with unknown outcome and %d refused, the first: %s", ErrVoid, outcomes.Unknown, outcomes.Refused, outcomes.Failure)
	}
	if err := g.settle(ctx, outcomes.Acknowledged, outcomes.Acknowledged); err != nil {
		return err
	}
	return g.close(ctx)
}

// speedOf is the difference of two laps. Exactly one process has proposed in between.
func speedOf(before, after []Meter, laps []Lap) (*Speed, error) {
	at := -1
	for i, lap := range laps {
		switch {
		case lap.Acknowledged > 0 && at >= 0:
			return nil, fmt.Errorf("%w: the primary changed", ErrVoid)
		case lap.Acknowledged > 0:
			at = i
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("%w: nothing was committed", ErrVoid)
	}
	lap := laps[at]
	s := &Speed{
		Operations: lap.Acknowledged, Seconds: lap.Seconds, PerSecond: float64(lap.Acknowledged) / lap.Seconds,
		P50: lap.P50, P99: lap.P99, P999: lap.P999, Max: lap.Max, Log: after[at].Log,
	}
	each := float64(lap.Acknowledged)
	for i := range after {
		s.CPUSeconds += after[i].CPUSeconds - before[i].CPUSeconds
		for _, counter := range []struct {
			sum           *float64
			after, before uint64
		}{
			{&s.Fsyncs, after[i].Fsyncs, before[i].Fsyncs},
			{&s.Messages, after[i].Frames, before[i].Frames},
			{&s.Flushes, after[i].Flushes, before[i].Flushes},
			{&s.Bytes, after[i].Bytes, before[i].Bytes},
		} {
			*counter.sum += float64(counter.after-counter.before) / each
		}
	}
	s.CPUMicros = s.CPUSeconds / each * 1e6
	if s.CPUSeconds <= 0 || s.Messages <= 0 || math.IsInf(s.PerSecond, 0) {
		return nil, fmt.Errorf("%w: the meter stands still: %+v", ErrVoid, *s)
	}
	return s, nil
}

// sleep waits, and not longer than ctx.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
