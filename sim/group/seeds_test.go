package group

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

var (
	seedsFlag      = flag.Uint64("seeds", 20_000, "how many seeds TestSeeds plays")
	startFlag      = flag.Uint64("start", 1, "the first of them")
	seedFlag       = flag.Uint64("seed", 0, "the seed that TestSeed replays, with a trace when -v is given")
	durabilityFlag = flag.Uint("durability", 0, "0: as each seed draws it; 1 sync, 2 async, 3 memory, 4 async or memory")
	beyondFlag     = flag.Bool("beyond", false, "let more than f lose what they acknowledged")
	omitFlag       = flag.Uint64("omit", 0, "the rules, as bits, that TestSeed takes out")
)

// TestSeed replays one seed: go test ./sim/group -run 'TestSeed$' -seed=N -v.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -seed is given")
	}
	options := Options{Seed: *seedFlag, Omit: omit.Set(*omitFlag), Durability: Choice(*durabilityFlag), BeyondF: *beyondFlag}
	if testing.Verbose() {
		options.Trace = os.Stdout
	}
	report := Run(options)
	if report.Violation != nil {
		t.Fatalf("seed %d: %v", report.Seed, report.Violation)
	}
	t.Logf("seed %d: %d committed, %d view changes, healed in %d ticks, event hash %016x",
		report.Seed, report.Committed, report.ViewChanges, report.HealTicks, report.EventHash)
}

// seedTotals is what many seeds come to.
type seedTotals struct {
	seeds, committed, viewChanges, events uint64
	healTicksMax                          int
	coverage                              Coverage
	failures                              []string
	options                               Options
}

func (totals *seedTotals) add(report *Report) {
	totals.seeds++
	totals.committed += uint64(report.Committed)
	totals.viewChanges += uint64(report.ViewChanges)
	totals.events += report.Events
	totals.healTicksMax = max(totals.healTicksMax, report.HealTicks)
	totals.coverage.Add(&report.Coverage)
	if report.Violation != nil {
		totals.failures = append(totals.failures, fmt.Sprintf(
			"seed %d: %v\nreplay: go test ./sim/group -run 'TestSeed$' -seed=%d -v%s", report.Seed, report.Violation, report.Seed, flagsOf(totals.options)))
	}
}

// failuresMax is how many failing seeds are looked for before a run gives up.
const failuresMax = 5

// progressEvery is after how many seeds a long run says how far it is, under -v.
const progressEvery = 25_000

// playSeeds plays seeds on all cores; one in a hundred is played twice and has to go the same way.
func playSeeds(t *testing.T, start, count uint64, options Options) *seedTotals {
	var (
		totals  = seedTotals{options: options}
		mu      sync.Mutex // guards totals
		next    atomic.Uint64
		stop    atomic.Bool
		workers sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			options := options
			for i := next.Add(1) - 1; i < count && !stop.Load(); i = next.Add(1) - 1 {
				options.Seed = start + i
				report := Run(options)
				again := report.EventHash
				if (start+i)%100 == 0 {
					again = Run(options).EventHash
				}
				mu.Lock()
				totals.add(&report)
				if again != report.EventHash {
					totals.failures = append(totals.failures, fmt.Sprintf("seed %d goes two ways", start+i))
				}
				if len(totals.failures) >= failuresMax {
					stop.Store(true)
				}
				if totals.seeds%progressEvery == 0 {
					t.Logf("%d of %d seeds, %d failures", totals.seeds, count, len(totals.failures))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return &totals
}

func TestSeeds(t *testing.T) {
	count := *seedsFlag
	if testing.Short() {
		count = min(count, 1000)
	}
	began := time.Now()
	totals := playSeeds(t, *startFlag, count, Options{Durability: Choice(*durabilityFlag), BeyondF: *beyondFlag})
	took := time.Since(began)
	seeds := float64(max(totals.seeds, 1))
	t.Logf("%d seeds in %.1f s (%.0f a second): %.1f committed, %.1f view changes, %.0f events a seed; healed in at most %d ticks",
		totals.seeds, took.Seconds(), seeds/took.Seconds(), float64(totals.committed)/seeds, float64(totals.viewChanges)/seeds,
		float64(totals.events)/seeds, totals.healTicksMax)
	var table strings.Builder
	require.NoError(t, totals.coverage.WriteTable(&table, totals.seeds))
	t.Log("\n" + table.String())
	require.Empty(t, totals.failures, strings.Join(totals.failures, "\n"))
	if count < 10_000 {
		return // too few for the rare events, and for averages
	}
	missing := slices.DeleteFunc(totals.coverage.Missing(), func(e Event) bool { return e == EventStayedStopped })
	require.True(t, len(missing) == 0 || *durabilityFlag != 0 || *beyondFlag, "these never happened: %v", missing)
	require.GreaterOrEqual(t, totals.committed, 20*totals.seeds, "too little is committed for the checks to mean much")
	require.GreaterOrEqual(t, totals.viewChanges, 2*totals.seeds)
}

// flagsOf are the flags that replay a seed of a run that was not the ordinary one.
func flagsOf(options Options) string {
	text := ""
	if options.Durability != ChoiceDrawn {
		text += fmt.Sprintf(" -durability=%d", options.Durability)
	}
	if options.BeyondF {
		text += " -beyond"
	}
	return text
}

// TestBeyondWhatADurabilitySurvives: where more than f lose what they acknowledged at once, the group may stop for good.
// It does nothing wrong, and it does not go on as if nothing were missing.
func TestBeyondWhatADurabilitySurvives(t *testing.T) {
	count := uint64(1000)
	if testing.Short() {
		count = 200
	}
	totals := playSeeds(t, 1, count, Options{Durability: ChoiceLossy, BeyondF: true})
	require.Empty(t, totals.failures, strings.Join(totals.failures, "\n"))
	stopped := totals.coverage[EventStayedStopped]
	t.Logf("%d of %d groups stayed stopped", stopped, totals.seeds)
	require.Greater(t, stopped, count/20)
	require.Less(t, stopped, count)
}

func BenchmarkSeed(b *testing.B) {
	b.ReportAllocs()
	for i := range b.N {
		if report := Run(Options{Seed: uint64(i + 1)}); report.Violation != nil {
			b.Fatal(report.Violation)
		}
	}
}
