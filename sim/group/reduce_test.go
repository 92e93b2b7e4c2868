package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// TestReduce: what is left of a failing seed is less, breaks the same claim, and is the same each time.
func TestReduce(t *testing.T) {
	reduced := 0
	for _, rule := range []omit.Rule{core.RuleNoGap, core.RuleLogChoice, core.RuleNeverResume} {
		options := Options{Omit: omit.Of(rule), Durability: ChoiceSync}
		for options.Seed = 1; Run(options).Violation == nil; options.Seed++ {
			require.Less(t, options.Seed, uint64(mutantSeedsMax), "nothing to reduce")
		}
		before := Run(options)
		less, after := Reduce(options, 200)
		again, _ := Reduce(options, 200)
		require.Equal(t, less, again)
		require.Equal(t, before.Violation.Claim, after.Violation.Claim)
		require.Equal(t, after, Run(less))
		require.LessOrEqual(t, after.Events, before.Events)
		t.Logf("seed %d: from %d events to %d, %d ticks of trouble, without %v", options.Seed, before.Events, after.Events, less.TroubleTicks, less.Calm)
		if 2*after.Events <= before.Events || less.Calm != 0 {
			reduced++
		}
	}
	require.Equal(t, 3, reduced)
	unharmed, report := Reduce(Options{Seed: 1}, 10)
	require.Equal(t, Options{Seed: 1}, unharmed)
	require.Nil(t, report.Violation)
}

func TestCalmHasNames(t *testing.T) {
	all := Calm(1)<<len(calmings()) - 1
	for _, calm := range []Calm{0, 1, all, 1 << 3} {
		read, err := ParseCalm(calm.String())
		require.NoError(t, err)
		require.Equal(t, calm, read)
	}
	_, err := ParseCalm("loss,nonsense")
	require.ErrorContains(t, err, "nonsense")
	// Without any trouble a group keeps its primary, until the liveness phase lets a minority die.
	for seed := range uint64(50) {
		report := Run(Options{Seed: seed, Calm: all, Durability: ChoiceSync})
		require.Nil(t, report.Violation)
		require.LessOrEqual(t, report.ViewChanges, 2, "seed %d", seed)
		require.NotZero(t, report.Committed)
	}
}
