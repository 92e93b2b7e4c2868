package commit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// ruleTest is a script that only a machine with the rule follows.
type ruleTest struct {
	name   string
	rule   omit.Rule
	copies int
	shards []txn.ShardID
	script script
}

func TestEveryRuleIsMissed(t *testing.T) {
	covered := omit.Of(RuleWholeList) // below
	for _, test := range ruleTests() {
		covered |= omit.Of(test.rule)
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, play(t, Options{CopiesMax: test.copies}, test.shards, test.script))
			require.Error(t, play(t, Options{CopiesMax: test.copies, Omit: omit.Of(test.rule)}, test.shards, test.script))
		})
	}
	t.Run("whole list", func(t *testing.T) {
		p := newPlayer(t, Options{Omit: omit.Of(RuleWholeList)}, 1, 2)
		p.machine.Start()
		for _, action := range p.machine.Step(Timestamp{TS: 10}) {
			require.Len(t, action.(Send).Txn.Participants, 1) // TestPrepareTxnCarriesThePartAndTheWholeList wants two
		}
	})
	for rule := range ruleCount {
		require.True(t, covered.Has(rule), "rule %d has no test", rule)
	}
}

func ruleTests() []ruleTest {
	return []ruleTest{
		{"every prepared", RuleEveryPrepared, 1, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
		}},
		{"lost copy fenced", RuleLostCopyFenced, 1, both(), script{
			{"timestamp 10", prepareBoth},
			{"lost 2", "Fence 2"},
		}},
		// Two copies reach shard 2; the second is refused, the first one passes.
		{"every copy refused", RuleEveryCopyRefused, 2, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"lost 2", "PrepareTxn 2"},
			{"refused:read by later 2", "Fence 2"},
			{"prepared 2", commitBoth},
		}},
		{"dead before next", RuleDeadBeforeNext, 2, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "CommitOnePhase 1"},
			{"refused:read by later 1", "Fence 1"},
			{"committed 1", "Answer committed, Done"},
		}},
		// The first copy is still on its way when the shard says that it does not serve the object.
		{"wrong shard fenced", RuleWrongShardFenced, 2, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "CommitOnePhase 1"},
			{"wrongshard 1", "Fence 1"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"forgotten unknown", RuleForgottenUnknown, 1, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "Fence 1"},
			{"forgotten 1", "Answer unknown forgotten, Done"},
		}},
		{"cancelled unknown", RuleCancelledUnknown, 1, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"cancelled", "Answer unknown"},
		}},
		{"committed everywhere", RuleCommittedEverywhere, 1, both(), script{
			{"timestamp 10", prepareBoth},
			{"lost 2", "Fence 2"},
			{"committed 2", commitBoth},
		}},
		{"end when applied", RuleEndWhenApplied, 1, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"prepared 2", commitBoth},
		}},
		{"attempt span", RuleAttemptSpan, 1, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"refused:read by later 1", "WantTimestamp"},
			{"timestamp 2000000000", "Answer aborted (read by later) rerun, Done"},
		}},
	}
}
