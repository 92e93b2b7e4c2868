package group

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
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
	leasesFlag     = flag.Uint("leases", 0, "0: as each seed draws it; 1 without, 2 with")
	apartFlag      = flag.Bool("clocks-apart", false, "let clocks differ by more than leases allow for")
	omitFlag       = flag.Uint64("omit", 0, "the rules, as bits, that TestSeed takes out")
	calmFlag       = flag.String("calm", "", "troubles that TestSeed does without; reduce finds them")
	ticksFlag      = flag.Int("trouble-ticks", 0, "how long, at most, TestSeed lets the troubles go on")
	reduceFlag     = flag.Int("reduce", 0, "TestSeed looks for a shorter way to the same failure, in so many runs")
)

// TestSeed replays one seed: go test ./sim/group -run 'TestSeed$' -seed=N -v.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -seed is given")
	}
	calm, err := ParseCalm(*calmFlag)
	require.NoError(t, err)
	options := Options{
		Seed: *seedFlag, Omit: omit.Set(*omitFlag), Durability: Choice(*durabilityFlag), BeyondF: *beyondFlag, Calm: calm, TroubleTicks: *ticksFlag,
		Leases: LeaseChoice(*leasesFlag), ClocksApart: *apartFlag,
	}
	if *reduceFlag > 0 {
		options, _ = Reduce(options, *reduceFlag)
		t.Logf("replay: go test ./sim/group -run 'TestSeed$' -seed=%d -v%s -calm=%v -trouble-ticks=%d",
			options.Seed, flagsOf(options), options.Calm, options.TroubleTicks)
	}
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

// progressEvery is after how many seeds a long run says how far it is, under -v.
const progressEvery = 25_000

// playSeeds plays seeds and returns what they come to, with a line for each failure.
func playSeeds(t *testing.T, start, count uint64, options Options) (*Totals, []string) {
	totals := Play{
		Options: options, Start: start, Count: count, ProgressEvery: progressEvery,
		Progress: func(totals *Totals) { t.Logf("%d of %d seeds, %d failures", totals.Seeds, count, len(totals.Failures)) },
	}.Run(t.Context())
	var failures []string
	for _, report := range totals.Failures {
		failures = append(failures, fmt.Sprintf("seed %d: %v\nreplay: go test ./sim/group -run 'TestSeed$' -seed=%d -v%s",
			report.Seed, report.Violation, report.Seed, flagsOf(options)))
	}
	for _, seed := range totals.TwoWays {
		failures = append(failures, fmt.Sprintf("seed %d goes two ways", seed))
	}
	return totals, failures
}

func TestSeeds(t *testing.T) {
	count := *seedsFlag
	if testing.Short() {
		count = min(count, 1000)
	}
	began := time.Now()
	totals, failures := playSeeds(t, *startFlag, count, Options{
		Durability: Choice(*durabilityFlag), BeyondF: *beyondFlag, Leases: LeaseChoice(*leasesFlag), ClocksApart: *apartFlag,
	})
	took := time.Since(began)
	seeds := float64(max(totals.Seeds, 1))
	t.Logf("%d seeds in %.1f s (%.0f a second): %.1f committed, %.1f view changes, %.0f events a seed; healed in at most %d ticks",
		totals.Seeds, took.Seconds(), seeds/took.Seconds(), float64(totals.Committed)/seeds, float64(totals.ViewChanges)/seeds,
		float64(totals.Events)/seeds, totals.HealTicksMax)
	var table strings.Builder
	require.NoError(t, totals.Coverage.WriteTable(&table, totals.Seeds))
	t.Log("\n" + table.String())
	require.Empty(t, failures, strings.Join(failures, "\n"))
	if count < 10_000 {
		return // too few for the rare events, and for averages
	}
	missing := slices.DeleteFunc(totals.Coverage.Missing(), func(e Event) bool { return e >= EventStayedStopped && e <= EventForceLostNothing })
	require.True(t, len(missing) == 0 || *durabilityFlag != 0 || *beyondFlag || *leasesFlag != 0, "these never happened: %v", missing)
	require.GreaterOrEqual(t, totals.Committed, 20*totals.Seeds, "too little is committed for the checks to mean much")
	require.GreaterOrEqual(t, totals.ViewChanges, 2*totals.Seeds)
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
	if options.Leases != LeasesDrawn {
		text += fmt.Sprintf(" -leases=%d", options.Leases)
	}
	if options.ClocksApart {
		text += " -clocks-apart"
	}
	if options.Omit != 0 {
		text += fmt.Sprintf(" -omit=%d", options.Omit)
	}
	return text
}

// TestBeyondWhatADurabilitySurvives: where more than f lose what they acknowledged at once, the group may stop for good.
// It does nothing wrong, and it does not go on as if nothing were missing. Forced by an operator it does, and loses nothing
// that is on a disk which starts from what it has.
func TestBeyondWhatADurabilitySurvives(t *testing.T) {
	count := uint64(1000)
	if testing.Short() {
		count = 200
	}
	totals, failures := playSeeds(t, 1, count, Options{Durability: ChoiceLossy, BeyondF: true})
	require.Empty(t, failures, strings.Join(failures, "\n"))
	stopped := totals.Coverage[EventStayedStopped]
	forced, lost := totals.Coverage[EventForced], totals.Coverage[EventForceLost]
	t.Logf("%d of %d groups stayed stopped; %d were forced, %d of them lost something", stopped, totals.Seeds, forced, lost)
	require.Greater(t, forced, stopped/3)
	require.NotZero(t, lost)
	require.NotZero(t, totals.Coverage[EventForceLostNothing])
	t.Logf("%d of them with a witness, of which %d had to start with nothing", totals.Coverage[EventForcedWithWitness], totals.Coverage[EventForceDiscarded])
	require.NotZero(t, totals.Coverage[EventForcedWithWitness])
	require.Greater(t, stopped, count/20)
	require.Less(t, stopped, count)
}

func BenchmarkSeed(b *testing.B) {
	b.ReportAllocs()
	var player Player
	for i := range b.N {
		if report := player.Run(Options{Seed: uint64(i + 1)}); report.Violation != nil {
			b.Fatal(report.Violation)
		}
	}
}
