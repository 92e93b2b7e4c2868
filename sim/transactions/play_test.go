package transactions

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The flags play other histories than those of an ordinary test run.
var (
	histories = flag.Uint64("histories", 200_000, "how many histories TestOrdinaryHistories plays")
	first     = flag.Uint64("first", 1, "the seed that TestOrdinaryHistories begins with")
	seed      = flag.Uint64("seed", 0, "the seed that TestReplay plays, with its trace under -v")
	mixture   = flag.String("mixture", "", "the row of TestEveryRuleIsMissed whose mixture TestReplay plays, with its rule left out")
)

// sum is what many histories came to.
type sum struct {
	histories, steps uint64
	coverage         Coverage
	bad              []failure
}

type failure struct {
	seed     uint64
	problems []string
}

// playAll plays the seeds from first on, on all processors, until so many are played or enough are bad. What
// it returns covers whole blocks of seeds, the same in every run on as many processors.
func playAll(first, count uint64, enough int, params func(seed uint64) Params) sum {
	const block = 256
	total := sum{}
	workers := uint64(runtime.GOMAXPROCS(0))
	for start := uint64(0); start < count && len(total.bad) < enough; start += block * workers {
		parts := make([]sum, workers)
		var done sync.WaitGroup
		for worker := range workers {
			from := start + worker*block
			done.Go(func() { parts[worker] = playBlock(first+from, min(block, count-min(count, from)), params) })
		}
		done.Wait()
		for i := range parts {
			total.histories += parts[i].histories
			total.steps += parts[i].steps
			total.coverage.Add(&parts[i].coverage)
			total.bad = append(total.bad, parts[i].bad...)
		}
	}
	return total
}

func playBlock(first, count uint64, params func(seed uint64) Params) sum {
	part := sum{histories: count}
	for seed := first; seed < first+count; seed++ {
		report := Run(params(seed), seed, nil)
		part.steps += report.Steps
		part.coverage.Add(&report.Coverage)
		if len(report.Problems) > 0 {
			part.bad = append(part.bad, failure{seed: seed, problems: report.Problems})
		}
	}
	return part
}

// replayCommand is what to run to see a seed's history event by event.
func replayCommand(seed uint64, mixture string) string {
	command := fmt.Sprintf("go test ./sim/transactions -run TestReplay -v -seed %d", seed)
	if mixture != "" {
		command += fmt.Sprintf(" -mixture %q", mixture)
	}
	return command
}

// TestOrdinaryHistories plays as many histories as -histories says; with all rules none may be bad.
func TestOrdinaryHistories(t *testing.T) {
	count := *histories
	if testing.Short() {
		count = min(count, 20_000)
	}
	total := playAll(*first, count, 10, Ordinary)
	for _, bad := range total.bad {
		t.Errorf("seed %d: %v\nreplay: %s", bad.seed, bad.problems, replayCommand(bad.seed, ""))
	}
	if t.Failed() {
		return
	}
	t.Logf("%d histories, %d events each, 0 bad", total.histories, total.steps/total.histories)
	for mark, times := range total.coverage {
		t.Logf("%-46s %d", Mark(mark), times)
		require.NotZero(t, times, "%v never happened", Mark(mark))
	}
	require.Greater(t, total.coverage[MarkAbort], total.histories/5, "histories with an abort")
	require.Greater(t, total.coverage[MarkTwoShardConflict], total.histories/10, "histories with a conflict over two shards")
}

// TestReplay plays the history of -seed and tells every event. It plays nothing without the flag.
func TestReplay(t *testing.T) {
	if *seed == 0 {
		t.Skip("no -seed")
	}
	params := Ordinary(*seed)
	if *mixture != "" {
		row, found := findRow(*mixture)
		require.True(t, found, "no mixture %q", *mixture)
		params = row.params(*seed, true)
	}
	report := Run(params, *seed, func(format string, arguments ...any) { t.Logf(format, arguments...) })
	require.Empty(t, report.Problems)
}

// TestSameSeedSameHistory plays seeds twice: nothing but the seed may decide what happens.
func TestSameSeedSameHistory(t *testing.T) {
	for seed := uint64(1); seed <= 1000; seed++ {
		one, two := Run(Ordinary(seed), seed, nil), Run(Ordinary(seed), seed, func(string, ...any) {})
		require.Equal(t, one.Digest, two.Digest, "seed %d", seed)
		require.Equal(t, one.Steps, two.Steps, "seed %d", seed)
	}
}

// TestClerkDiesAtEveryStep kills the first clerk before each of its actions in turn, sends that leave only in
// part included, while nothing else goes wrong; in half of the histories terminators and Outcomes run at the
// same time.
func TestClerkDiesAtEveryStep(t *testing.T) {
	seeds := uint64(1000)
	if testing.Short() {
		seeds = 256
	}
	for shards := 1; shards <= 3; shards++ {
		deaths := []uint64{}
		for step := 1; step <= 4+6*shards; step++ {
			total := playAll(1, seeds, 1, func(seed uint64) Params { return dying(seed, shards, step) })
			for _, bad := range total.bad {
				t.Fatalf("%d shards, action %d, seed %d: %v", shards, step, bad.seed, bad.problems)
			}
			deaths = append(deaths, total.coverage[MarkClerkDied])
		}
		t.Logf("%d shards: deaths before action 1, 2, ...: %v of %d", shards, deaths, seeds)
		// WantTimestamp, a PrepareTxn each, Answer, a CommitTxn each, an EndTxn each; or CommitOnePhase, Answer, Done.
		certain := 3
		if shards > 1 {
			certain = 2 + shards
		}
		for step := range certain {
			require.Greater(t, deaths[step], seeds/20, "%d shards, action %d", shards, step+1)
		}
		if shards > 1 {
			require.NotZero(t, deaths[1+3*shards], "%d shards: between the ENDs", shards)
		}
	}
}

func dying(seed uint64, shards, step int) Params {
	p := Params{
		Shards: shards, Replicas: 1, Objects: 2 * shards, Jobs: 3, Steps: 100, ReadsMax: 2 * shards, WritesMax: 2 * shards,
		Copies: 1, Attempts: 2, Reruns: 1, Apply: 300, DieAfter: step,
	}
	if seed%2 == 0 {
		p.Terminate, p.Outcome = 100, 50
	}
	return p
}
