package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// TestSeedsThatFoundBugs plays seeds that find the bugs of docs/BUGS.md, by their numbers there: each fails when
// its bug is put back into the core (bugs 3, 5, 7, 8 and 9 are met too rarely or never; the core has tests). What a seed
// does changes with the simulator and with the core: when it does, put the bugs back, look for the seeds that find
// them now, and write those down here.
func TestSeedsThatFoundBugs(t *testing.T) {
	for _, test := range []struct {
		bug   string
		seeds []uint64
		lossy bool // in async and memory; the others in sync
	}{
		{"1: a commit-number of a later view applied to the log of an earlier one", []uint64{2802, 24760, 26790, 31667}, false},
		{"2: a primary forgot which proposals were its own", []uint64{93, 361, 722, 786}, false},
		{"4: a lost acknowledgement of a new view was never repeated", []uint64{174, 290, 339}, false},
		{"5: a transfer waited for entries that only a dead primary had named; no seed finds it any more", []uint64{16269}, false},
		{"6: a checkpoint of a later view contradicted the views between", []uint64{1025, 1430, 1611, 3811, 6048}, false},
		{"11: a log went on from a fetched checkpoint that storage's log did not know of", []uint64{34, 255, 2411, 5419, 9700}, false},
		{"none, but a claim that was too strict", []uint64{22883}, false},
		{"none, but handovers under a primary that is left deaf", []uint64{500125}, true},
		{"none, but the simulator's own in async and memory", []uint64{2109, 10819, 11656, 30261}, true},
	} {
		t.Run(test.bug, func(t *testing.T) {
			for _, seed := range test.seeds {
				// They were found before disks were damaged, members changed, checkpoints had chunks, links were slow, primaries had
				// leases, backups stale reads and groups a witness, and primaries wrote behind.
				calm, err := ParseCalm("damage,reconfiguration,chunks,slow,stale,witnesses,behind")
				require.NoError(t, err)
				options := Options{Seed: seed, Durability: ChoiceSync, Leases: LeasesOff, Calm: calm}
				if test.lossy {
					options.Durability = ChoiceLossy
				}
				report := Run(options)
				require.Nil(t, report.Violation, "seed %d", seed)
			}
		})
	}
}

// TestSeedsOverSlowLinks plays seeds that find bugs 10, 15 and 16, with everything that they draw: in each of them somebody
// is for ever behind when an answer over a slow link comes too late.
func TestSeedsOverSlowLinks(t *testing.T) {
	for _, seed := range []uint64{4, 14, 24, 35, 38, 127, 179, 226, 279, 289, 294, 340, 365, 397, 437} {
		report := Run(Options{Seed: seed, Calm: without(t, "behind")})
		require.Nil(t, report.Violation, "seed %d", seed)
		require.NotZero(t, report.Coverage[EventSlowLinks], "seed %d has no slow links any more: look for another", seed)
	}
}

// TestSeedsWithAWitness plays the seed that found bug 23, with everything that it draws but writes behind a
// primary, which it is older than: it fails without the rule.
func TestSeedsWithAWitness(t *testing.T) {
	const seed = 60095312
	calm := without(t, "behind")
	require.Nil(t, Run(Options{Seed: seed, Calm: calm}).Violation)
	broken := Run(Options{Seed: seed, Calm: calm, Omit: omit.Of(core.RuleFloorStands)}).Violation
	require.NotNil(t, broken, "the seed does not find it any more: look for another")
	require.Equal(t, claimProgress, broken.Claim)
	// A witness that has lost something comes into a group of two of which it is one: a first version of the rule said nothing.
	require.Nil(t, Run(Options{Seed: 70011053}).Violation)
	// Bug 25.
	require.Nil(t, Run(Options{Seed: 100879566}).Violation)
}

// TestClaimsThatWereTooStrict plays seeds in which nothing is wrong and a claim said so, with everything that they draw
// (docs/BUGS.md tells what they were).
func TestClaimsThatWereTooStrict(t *testing.T) {
	for _, seed := range []uint64{40030720, 40040449, 40185098, 60129130, 61064407, 61157442, 62020894, 62090119} {
		require.Nil(t, Run(Options{Seed: seed, Calm: without(t, "behind")}).Violation, "seed %d", seed)
	}
	for _, seed := range []uint64{100611156, 100826909} {
		require.Nil(t, Run(Options{Seed: seed}).Violation, "seed %d", seed)
	}
}

// TestClocksThatAreApart: a lease, and the age of a state, allow for clocks whose rates differ by the margin. Where they
// differ by more, reads are older than they may be, and seeds see it.
func TestClocksThatAreApart(t *testing.T) {
	if testing.Short() {
		t.Skip("plays thousands of seeds")
	}
	for claim, options := range map[string]Options{
		claimReads: {Leases: LeasesOn, Durability: ChoiceSync, ClocksApart: true, Calm: without(t, "stale,witnesses,behind")},
		claimStale: {Leases: LeasesOff, Durability: ChoiceSync, ClocksApart: true, Calm: without(t, "behind")},
	} {
		seen := hunt(options, mutantSeedsMax, false)
		require.NotZero(t, seen.found, "%s: %s", claim, seen)
		require.Equal(t, claim, seen.claim)
		t.Logf("%s: %s", seen, seen.claim)
	}
}

// TestSameSeedSameRun: with or without a trace, and beside other runs, a seed goes one way.
func TestSameSeedSameRun(t *testing.T) {
	hashes := map[uint64]bool{}
	for seed := range uint64(30) {
		plain, traced := Run(Options{Seed: seed}), Run(Options{Seed: seed, Trace: discard{}})
		require.Equal(t, plain, traced, "seed %d", seed)
		hashes[plain.EventHash] = true
	}
	require.Len(t, hashes, 30, "two seeds have one event hash")
}

// TestSeedsLeaveNothingToOneAnother: a seed in the memory of others, also of such as failed, goes the way that it goes by
// itself.
func TestSeedsLeaveNothingToOneAnother(t *testing.T) {
	var player Player
	failed := 0
	for seed := range uint64(60) {
		options := Options{Seed: seed, Durability: Choice(seed % 5)}
		if seed%3 == 0 {
			options.Omit = omit.Of(core.RuleRecover, core.RuleLink)
		}
		alone, after := Run(options), player.Run(options)
		if alone.Violation != nil && alone.Violation.Claim == "panic" {
			alone.Violation, after.Violation = nil, nil // the stacks differ
		}
		require.Equal(t, alone, after, "seed %d", seed)
		if alone.Violation != nil {
			failed++
		}
	}
	require.NotZero(t, failed, "no seed failed")
}

// discard is a trace that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
