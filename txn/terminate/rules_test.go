package terminate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// TestEveryRuleIsMissed plays, for each rule, a script that only a machine with the rule follows.
func TestEveryRuleIsMissed(t *testing.T) {
	covered := omit.Set(0)
	for _, test := range []struct {
		name   string
		rule   omit.Rule
		make   maker
		script script
	}{
		{"every prepared", RuleEveryPrepared, terminator, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
		}},
		{"no timeout", RuleNoTimeout, terminator, script{
			{"start", "Fence 1, Fence 2"},
			{"lost 2", "WantTimer 20"},
			{"timer", "Fence 2"},
			{"lost 2", "WantTimer 40"},
		}},
		{"forgotten not aborted", RuleForgottenNotAborted, outcome, script{
			{"start", "Fence 1 and later"},
			{"forgotten 1", "Answer forgotten, Done"},
		}},
		{"own asked after forgotten", RuleOwnAskedAfterForgotten, terminator, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"forgotten 2", "Fence 1"},
			{"committed 1", "Answer committed, CommitTxn 2"},
		}},
		{"committed everywhere", RuleCommittedEverywhere, terminator, script{
			{"start", "Fence 1, Fence 2"},
			{"committed 2", "Answer committed, CommitTxn 1"},
		}},
		{"end when applied", RuleEndWhenApplied, terminator, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 2", ""},
			{"prepared 1", "Answer committed, CommitTxn 1, CommitTxn 2"},
		}},
		{"every later fenced", RuleEveryLaterFenced, outcome, script{
			{"start", "Fence 1 and later"},
		}},
		{"outcome asks all", RuleOutcomeAsksAll, outcome, script{
			{"start", "Fence 1 and later"},
			{"home 1", "Fence 2"},
			{"aborted 2", "Answer aborted, AbortTxn 1"},
		}},
	} {
		covered |= omit.Of(test.rule)
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, play(test.make(t, Options{}), test.script))
			require.Error(t, play(test.make(t, Options{Omit: omit.Of(test.rule)}), test.script))
		})
	}
	for rule := range ruleCount {
		require.True(t, covered.Has(rule), "rule %d has no test", rule)
	}
}
