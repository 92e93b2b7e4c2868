package group

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Play says which seeds to play.
type Play struct {
	// Options are those of every seed, but for Seed and Trace.
	Options Options
	// Start is the first seed, Count how many.
	Start, Count uint64
	// FailuresMax ends the run when so many seeds have failed; 0: 5.
	FailuresMax int
	// Progress is called after every ProgressEvery seeds, from one goroutine at a time; nil: never.
	Progress      func(totals *Totals)
	ProgressEvery uint64
}

// Totals is what many seeds come to.
type Totals struct {
	Seeds, Committed, ViewChanges, Events uint64
	HealTicksMax                          int
	Coverage                              Coverage
	// Failures are the reports of seeds with a violation, TwoWays the seeds that went another way when they were
	// played again.
	Failures []Report
	TwoWays  []uint64
}

// OK reports whether nothing was found.
func (t *Totals) OK() bool { return len(t.Failures) == 0 && len(t.TwoWays) == 0 }

func (t *Totals) add(report *Report) {
	t.Seeds++
	t.Committed += uint64(report.Committed)
	t.ViewChanges += uint64(report.ViewChanges)
	t.Events += report.Events
	t.HealTicksMax = max(t.HealTicksMax, report.HealTicks)
	t.Coverage.Add(&report.Coverage)
	if report.Violation != nil {
		t.Failures = append(t.Failures, *report)
	}
}

// repeatEvery: one seed in so many is played twice, and has to go the same way.
const repeatEvery = 100

// Run plays the seeds on all cores until they are over, enough have failed or the context ends.
func (p Play) Run(ctx context.Context) *Totals {
	var (
		totals  Totals
		mu      sync.Mutex // guards totals
		next    atomic.Uint64
		stop    atomic.Bool
		workers sync.WaitGroup
	)
	if p.FailuresMax == 0 {
		p.FailuresMax = 5
	}
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			options := p.Options
			var player Player
			options.Trace = nil
			for i := next.Add(1) - 1; i < p.Count && !stop.Load() && ctx.Err() == nil; i = next.Add(1) - 1 {
				options.Seed = p.Start + i
				report := player.Run(options)
				again := report.EventHash
				if options.Seed%repeatEvery == 0 {
					again = player.Run(options).EventHash
				}
				mu.Lock()
				totals.add(&report)
				if again != report.EventHash {
					totals.TwoWays = append(totals.TwoWays, options.Seed)
				}
				if len(totals.Failures)+len(totals.TwoWays) >= p.FailuresMax {
					stop.Store(true)
				}
				if p.Progress != nil && totals.Seeds%p.ProgressEvery == 0 {
					p.Progress(&totals)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return &totals
}
