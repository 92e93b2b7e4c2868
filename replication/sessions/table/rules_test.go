package table

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

const (
	playSeeds   = 400
	playBatches = 60
)

// TestTableIsTheModel plays clients with every kind of mistake against tables and model, and says what it saw.
func TestTableIsTheModel(t *testing.T) {
	seeds := uint64(playSeeds)
	if testing.Short() {
		seeds /= 8
	}
	all := seen{}
	for seed := range seeds {
		p := newPlayer(seed, 0)
		require.NoError(t, p.play(playBatches), "seed %d", seed)
		for kind, times := range p.seen {
			all[kind] += times
		}
	}
	t.Logf("%d seeds: %v", seeds, all)
	for _, kind := range kinds() {
		require.Greater(t, all[kind], int(seeds), "%s: too few to prove anything", kind)
	}
	require.Less(t, all["runs"], all["executed"]*9/10, "requests that follow each other go to the machine together")
}

// TestEachRuleIsNeeded takes out one rule after the other: the plays notice within so many seeds.
func TestEachRuleIsNeeded(t *testing.T) {
	for rule := range rules {
		var err error
		for seed := uint64(0); seed < 50 && err == nil; seed++ {
			if err = newPlayer(seed, omit.Of(rule)).play(playBatches); err != nil {
				t.Logf("rule %d: seed %d: %v", rule, seed, err)
			}
		}
		require.Error(t, err, "rule %d can be left out unnoticed", rule)
	}
}
