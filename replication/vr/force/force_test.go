package force

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// left is what remains of a replica that was normal in a view, with a log up to an operation that was proposed in another.
func left(replica core.ReplicaID, normal core.ViewNumber, op core.OpNumber, last core.ViewNumber) Remains {
	return Remains{Replica: replica, HardState: core.HardState{View: normal, LastNormalView: normal, Commit: op}, Op: op, LastView: last, Known: op}
}

func whole(r Remains) Remains {
	r.Whole = true
	return r
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name   string
		found  []Remains
		rule   []omit.Rule
		order  []core.ReplicaID
		chosen int
		op     core.OpNumber
	}{
		{"the longest of one view", []Remains{left(1, 3, 5, 3), left(2, 3, 9, 3), left(3, 3, 7, 3)}, nil, []core.ReplicaID{2, 3, 1}, 2, 9},
		{"the latest before the longest", []Remains{left(1, 3, 9, 3), left(2, 4, 5, 4), left(3, 3, 7, 3)}, nil, []core.ReplicaID{2, 1, 3}, 2, 5},
		{"a log that was cut short does not win by its view", []Remains{left(1, 9, 4, 2), left(2, 3, 9, 3), left(3, 3, 7, 3)}, nil, []core.ReplicaID{2, 3, 1}, 2, 9},
		{"without that rule it does", []Remains{left(1, 9, 4, 2), left(2, 3, 9, 3), left(3, 3, 7, 3)}, []omit.Rule{RuleLogView}, []core.ReplicaID{1, 2, 3}, 2, 4},
		{"who is whole comes first, and goes by its view", []Remains{left(1, 3, 9, 3), whole(left(2, 4, 6, 2)), left(3, 3, 7, 3)}, nil, []core.ReplicaID{2, 1, 3}, 2, 6},
		{"who is whole and old", []Remains{left(1, 3, 9, 3), whole(left(2, 2, 6, 2)), left(3, 3, 7, 3)}, nil, []core.ReplicaID{2, 1, 3}, 2, 9},
		{"what cannot be read is last", []Remains{Nothing(1), left(2, 2, 6, 2), left(3, 3, 7, 3)}, nil, []core.ReplicaID{3, 2, 1}, 2, 7},
		{"enough are whole", []Remains{whole(left(1, 3, 9, 3)), whole(left(2, 3, 9, 3)), left(3, 3, 7, 3)}, nil, []core.ReplicaID{1, 2, 3}, 0, 9},
		{"all of them", []Remains{left(1, 3, 5, 3), left(2, 3, 9, 3), left(3, 3, 7, 3)}, []omit.Rule{RuleExactlyAQuorum}, []core.ReplicaID{2, 3, 1}, 3, 9},
	} {
		plan := NewPlan(3, test.found, omit.Of(test.rule...))
		var order []core.ReplicaID
		largest := core.ViewNumber(0)
		for _, at := range plan.Order {
			order = append(order, test.found[at].Replica)
			largest = max(largest, test.found[at].HardState.View)
		}
		require.Equal(t, test.order, order, test.name)
		require.Equal(t, test.chosen, plan.Chosen, test.name)
		require.Equal(t, test.chosen > 0, plan.Needed, test.name)
		require.Equal(t, test.op, plan.Op, test.name)
		require.Equal(t, largest+1, plan.View, test.name)
	}
}

func TestWhatIsMarked(t *testing.T) {
	r := left(1, 9, 4, 2)
	r.HardState.Commit, r.HardState.Membership = 6, "of epoch 3"
	require.Equal(t, core.HardState{View: 12, LastNormalView: 2, Commit: 4, Membership: "of epoch 3"}, r.Start(12, 0))
	require.Equal(t, core.HardState{View: 9, LastNormalView: 9, Commit: 5, Membership: "of epoch 3"}, r.Forget(5))
	require.Equal(t, r.HardState, r.Forget(8))
	r.Whole = true
	require.Equal(t, core.ViewNumber(9), r.Start(12, 0).LastNormalView)
}
