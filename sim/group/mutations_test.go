package group

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

var mutantSeedsFlag = flag.Uint64("mutant-seeds", 0,
	"play so many seeds with each rule out, to the last one, instead of stopping at the first find")

var mutantFlag = flag.String("mutant", "", "the beginning of the names of the rules to take out; all when empty")

// mutant is a core without one of its rules.
type mutant struct {
	name string
	rule omit.Rule
	// lossy: it is looked for in async and memory; the others in sync.
	lossy bool
	// leases: it is looked for in groups with leases; the others in those without.
	leases bool
	// stale: it is looked for in groups with stale reads, with leases or without; the others in those without.
	stale bool
	// witness: it is looked for in groups of which some have a witness; the others in those without.
	witness bool
	// behind: it is looked for in groups whose primaries have their entries written behind them; the others in those without.
	behind bool
	// directed names the test in the core that shows what the rule is for, where seeds do not reach it within
	// the budget.
	directed string
}

// mutants are all rules of the core, in its own order.
func mutants() []mutant {
	return []mutant{
		{name: "RulePrepareOKDurable", rule: core.RulePrepareOKDurable},
		{name: "RuleViewDurable", rule: core.RuleViewDurable},
		{name: "RuleNeverResume", rule: core.RuleNeverResume},
		{name: "RuleLink", rule: core.RuleLink},
		{name: "RuleLogChoice", rule: core.RuleLogChoice},
		{name: "RuleStartViewOnce", rule: core.RuleStartViewOnce},
		{name: "RuleOneDoViewChange", rule: core.RuleOneDoViewChange},
		{name: "RuleNoGap", rule: core.RuleNoGap},
		{name: "RuleKeepBeforeTransfer", rule: core.RuleKeepBeforeTransfer},
		{name: "RuleNewStateAsked", rule: core.RuleNewStateAsked},
		{name: "RulePrepareOKView", rule: core.RulePrepareOKView, directed: "TestPrepareOKCountsInItsOwnView"},
		{name: "RulePrepareView", rule: core.RulePrepareView, directed: "TestPrepareOfALaterViewIsNotAppended"},
		{name: "RuleWholeInherited", rule: core.RuleWholeInherited},
		{name: "RuleReadRound", rule: core.RuleReadRound},
		{name: "RuleLeadInherited", rule: core.RuleLeadInherited},
		{name: "RuleCheckQuorum", rule: core.RuleCheckQuorum},
		{name: "RuleProbe", rule: core.RuleProbe},
		{name: "RuleRecover", rule: core.RuleRecover, lossy: true},
		{name: "RuleRecoveringTakesNoPart", rule: core.RuleRecoveringTakesNoPart, lossy: true},
		{name: "RuleRecoveryQuorum", rule: core.RuleRecoveryQuorum, lossy: true, directed: "TestRecoveryNeedsAQuorumOfAnswers"},
		{name: "RuleRecoveryPrimary", rule: core.RuleRecoveryPrimary, lossy: true},
		{name: "RuleRecoveryLeastView", rule: core.RuleRecoveryLeastView, lossy: true, directed: "TestRecoveryNamesTheLeastView"},
		{name: "RuleRecoveryNonce", rule: core.RuleRecoveryNonce, lossy: true, directed: "TestRecoveryTakesAnswersToThisAttempt"},
		{name: "RuleRecoveryHash", rule: core.RuleRecoveryHash, lossy: true, directed: "TestRecoveredLogIsThePrimarys"},
		{name: "RuleHandoverFinished", rule: core.RuleHandoverFinished},
		{name: "RuleRepair", rule: core.RuleRepair},
		{name: "RuleLeaseGrant", rule: core.RuleLeaseGrant, leases: true},
		{name: "RuleLeaseAfterStart", rule: core.RuleLeaseAfterStart, leases: true},
		{name: "RuleLeaseQuorum", rule: core.RuleLeaseQuorum, leases: true, directed: "TestLeaseNeedsAQuorum"},
		{name: "RuleLeaseFromSending", rule: core.RuleLeaseFromSending, leases: true},
		{name: "RuleLeaseMargin", rule: core.RuleLeaseMargin, leases: true},
		{name: "RuleLeaseLeads", rule: core.RuleLeaseLeads, leases: true, directed: "TestLeaseOnlyWhenLeading"},
		{name: "RuleLeaseDropped", rule: core.RuleLeaseDropped, leases: true},
		{name: "RuleLeaseClock", rule: core.RuleLeaseClock, leases: true},
		{name: "RuleReconfigurationIsLast", rule: core.RuleReconfigurationIsLast},
		{name: "RuleOneReconfiguration", rule: core.RuleOneReconfiguration},
		{name: "RuleEpochIsCommitted", rule: core.RuleEpochIsCommitted},
		{name: "RuleNewcomersReady", rule: core.RuleNewcomersReady, directed: "TestNewcomersAreReadyFirst"},
		{name: "RuleNextQuorum", rule: core.RuleNextQuorum, directed: "TestTheNextEpochHasAQuorum"},
		{name: "RuleEpochOfMessage", rule: core.RuleEpochOfMessage},
		{name: "RuleEpochDurable", rule: core.RuleEpochDurable},
		{name: "RuleOldMembersStay", rule: core.RuleOldMembersStay},
		{name: "RuleLearnCommitted", rule: core.RuleLearnCommitted},
		{name: "RuleIDsAreNew", rule: core.RuleIDsAreNew, directed: "TestNoIDIsUsedTwice"},
		{name: "RuleIncarnation", rule: core.RuleIncarnation, directed: "TestAnEarlierLifeCountsForNothing"},
		{name: "RuleWipedStays", rule: core.RuleWipedStays},
		{name: "RuleStaleConfirmed", rule: core.RuleStaleConfirmed, stale: true},
		{name: "RuleStaleRound", rule: core.RuleStaleRound, stale: true, directed: "TestARoundConfirmsOnlyEarlierStamps"},
		{name: "RuleStaleLeads", rule: core.RuleStaleLeads, stale: true, directed: "TestOnlyALeadingPrimaryConfirmsStamps"},
		{name: "RuleStaleClock", rule: core.RuleStaleClock, stale: true, directed: "TestStampsOfAnotherClockCountForNothing"},
		{name: "RuleStaleFromStamp", rule: core.RuleStaleFromStamp, stale: true},
		{name: "RuleStaleApplied", rule: core.RuleStaleApplied, stale: true},
		{name: "RuleStaleMargin", rule: core.RuleStaleMargin, stale: true},
		{name: "RuleWitnessNeverLeads", rule: core.RuleWitnessNeverLeads, witness: true},
		{name: "RuleWitnessKeeps", rule: core.RuleWitnessKeeps, witness: true, directed: "TestAWitnessKeepsWhatIsAboveTheFloor"},
		{name: "RuleWitnessBase", rule: core.RuleWitnessBase, witness: true, lossy: true, directed: "TestAWitnessThatLostSomethingNeedsIt"},
		{name: "RuleActivesKeep", rule: core.RuleActivesKeep, witness: true, lossy: true, directed: "TestActiveMembersKeepTheirLogsForAWitness"},
		{name: "RuleActivesBegin", rule: core.RuleActivesBegin, witness: true, directed: "TestWhoLeavesWaitsForActiveMembers"},
		{name: "RuleActivesReady", rule: core.RuleActivesReady, witness: true, directed: "TestAWitnessJoins"},
		{name: "RuleFloorStands", rule: core.RuleFloorStands, witness: true, directed: "TestTheFloorStandsWhileMembersChange"},
		{name: "RuleOwnLogDurable", rule: core.RuleOwnLogDurable, behind: true},
		{name: "RuleWitnessOwn", rule: core.RuleWitnessOwn, witness: true, directed: "TestAWitnessKeepsWhatItHasBelowAnothersLog"},
	}
}

// TestEveryRuleIsAMutant: a rule that is added to the core is added here.
func TestEveryRuleIsAMutant(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "../../replication/vr/core/rules.go", nil, 0)
	require.NoError(t, err)
	var rules, listed []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Rule") {
			rules = append(rules, spec.Names[0].Name)
		}
		return true
	})
	for i, m := range mutants() {
		listed = append(listed, m.name)
		require.EqualValues(t, i, m.rule, "the table is in the core's order")
	}
	require.NotEmpty(t, rules)
	require.Equal(t, rules, listed)
	tests := testsOfTheCore(t)
	for _, m := range mutants() {
		require.True(t, m.directed == "" || strings.Contains(tests, "func "+m.directed+"("), "%s: no %s", m.name, m.directed)
	}
}

func testsOfTheCore(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../replication/vr/core/*_test.go")
	require.NoError(t, err)
	var text strings.Builder
	for _, file := range files {
		read, err := os.ReadFile(file)
		require.NoError(t, err)
		text.Write(read)
	}
	return text.String()
}

// sighting is what came of looking for a mutant.
type sighting struct {
	seeds, found uint64
	// first is the lowest finding seed that was met, with the claim that it broke.
	first uint64
	claim string
}

// hunt plays seeds with a rule out, to the last or to the first find.
func hunt(options Options, count uint64, toTheLast bool) sighting {
	var (
		seen    sighting
		mu      sync.Mutex // guards seen
		next    atomic.Uint64
		stop    atomic.Bool
		workers sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			options := options
			var player Player
			for seed := next.Add(1); seed <= count && !stop.Load(); seed = next.Add(1) {
				options.Seed = seed
				report := player.Run(options)
				mu.Lock()
				seen.seeds++
				if report.Violation != nil {
					seen.found++
					stop.Store(!toTheLast)
					if seen.first == 0 || seed < seen.first {
						seen.first, seen.claim = seed, report.Violation.Claim
					}
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return seen
}

// mutantSeedsMax is how many seeds a rule's absence may stay unnoticed in the ordinary run.
const mutantSeedsMax = 3000

// TestMutations takes each rule of the core out: seeds have to notice, both with every check and with those
// alone that a user could make, or the table names the directed test that does.
func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("plays thousands of seeds")
	}
	count, toTheLast := uint64(mutantSeedsMax), *mutantSeedsFlag > 0
	if toTheLast {
		count = *mutantSeedsFlag
	}
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(rows, "without\tevery check\t\toutcomes alone\t\tdirected test\n")
	for _, m := range mutants() {
		if !strings.HasPrefix(m.name, *mutantFlag) {
			continue
		}
		if m.directed != "" && !toTheLast {
			fmt.Fprintf(rows, "%s\t\t\t\t\t%s\n", m.name, m.directed)
			continue
		}
		options := Options{Omit: omit.Of(m.rule), Durability: ChoiceSync, Leases: LeasesOff, Calm: without(t, "stale,witnesses,behind")}
		if m.leases {
			options.Leases = LeasesOn
		}
		if m.stale {
			options.Leases, options.Calm = LeasesDrawn, without(t, "witnesses,behind")
		}
		if m.witness {
			options.Calm = without(t, "stale,behind")
		}
		if m.behind {
			options.Calm = without(t, "stale,witnesses")
		}
		if m.lossy {
			options.Durability = ChoiceLossy
		}
		whole := hunt(options, count, toTheLast)
		options.OutcomesOnly = true
		outcome := hunt(options, count, toTheLast)
		fmt.Fprintf(rows, "%s\t%s\t%s\t%s\t%s\t%s\n", m.name, whole, whole.claim, outcome, outcome.claim, m.directed)
		if m.directed == "" && (whole.found == 0 || outcome.found == 0) {
			t.Errorf("not noticed in %d seeds that %s is missing: every check %s, outcomes alone %s", count, m.name, whole, outcome)
		}
	}
	require.NoError(t, rows.Flush())
	t.Log("\n" + table.String())
}

// without calms what other rules are about, so that the seeds of a rule stay what they were.
func without(t *testing.T, names string) Calm {
	t.Helper()
	calm, err := ParseCalm(names)
	require.NoError(t, err)
	return calm
}

// String tells how often, and where first.
func (s sighting) String() string {
	if s.found == 0 {
		return fmt.Sprintf("0 of %d", s.seeds)
	}
	return fmt.Sprintf("%d of %d (seed %d)", s.found, s.seeds, s.first)
}
