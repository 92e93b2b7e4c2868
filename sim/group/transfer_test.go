package group

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/force"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// TestTransferMutations takes each rule of the transfer of checkpoints out, and of an operator's force, as TestMutations does
// with the core's.
func TestTransferMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("plays thousands of seeds")
	}
	count, toTheLast := uint64(mutantSeedsMax), *mutantSeedsFlag > 0
	if toTheLast {
		count = *mutantSeedsFlag
	}
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(rows, "without\tevery check\t\toutcomes alone\t\n")
	for _, m := range []struct {
		name    string
		options Options
		// inside: a user would see nothing of it but more transfers, or a loss that may be.
		inside bool
	}{
		{name: "RuleChunkChecksum", options: Options{OmitTransfer: omit.Of(transfer.RuleChunkChecksum)}},
		{name: "RuleSameCheckpoint", options: Options{OmitTransfer: omit.Of(transfer.RuleSameCheckpoint)}},
		{name: "RuleHeldLog", options: Options{OmitTransfer: omit.Of(transfer.RuleHeldLog)}, inside: true},
		{name: "RuleLogView", options: Options{OmitForce: omit.Of(force.RuleLogView), Durability: ChoiceLossy, BeyondF: true}, inside: true},
		{name: "RuleExactlyAQuorum", options: Options{OmitForce: omit.Of(force.RuleExactlyAQuorum), Durability: ChoiceLossy, BeyondF: true}},
		{name: "RuleWitnessJoins", options: Options{OmitForce: omit.Of(force.RuleWitnessJoins), Durability: ChoiceLossy, BeyondF: true}},
	} {
		if !strings.HasPrefix(m.name, *mutantFlag) {
			continue
		}
		options := m.options
		whole := hunt(options, count, toTheLast)
		require.NotZero(t, whole.found, "not noticed in %d seeds that %s is missing", count, m.name)
		outcome := sighting{}
		if !m.inside || toTheLast {
			options.OutcomesOnly = true
			outcome = hunt(options, count, toTheLast)
		}
		require.True(t, m.inside || outcome.found > 0, "outcomes alone do not show that %s is missing", m.name)
		fmt.Fprintf(rows, "%s\t%s\t%s\t%s\t%s\n", m.name, whole, whole.claim, outcome, outcome.claim)
	}
	require.NoError(t, rows.Flush())
	t.Log("\n" + table.String())
}
