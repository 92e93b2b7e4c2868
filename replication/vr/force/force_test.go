package force

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// hashOf is the hash of an operation that was proposed in a view: the same everywhere.
func hashOf(op core.OpNumber, view core.ViewNumber) core.Hash {
	return core.Hash(op)<<8 | core.Hash(view)
}

// left is what remains of a replica that was normal in a view, with a log up to an operation that was proposed in another.
func left(replica core.ReplicaID, normal core.ViewNumber, op core.OpNumber, last core.ViewNumber) Remains {
	r := Remains{Replica: replica, HardState: core.HardState{View: normal, LastNormalView: normal, Commit: op}, Known: op}
	return above(r, 0, op, last)
}

// above is what remains where the log begins with a checkpoint of an operation.
func above(r Remains, base, op core.OpNumber, view core.ViewNumber) Remains {
	var entries []core.Entry
	for n := base + 1; n <= op; n++ {
		entries = append(entries, core.Entry{Op: n, View: view, Hash: hashOf(n, view)})
	}
	checkpoint := core.CheckpointMeta{Op: base}
	if base > 0 {
		checkpoint.View, checkpoint.Hash = view, hashOf(base, view)
	}
	r.SetLog(checkpoint, entries)
	return r
}

func whole(r Remains) Remains {
	r.Whole = true
	return r
}

// epoch is a membership: replica 10 is a witness, and 20, 21, 22 are 2 in incarnation 0, 1, 2.
func epoch(number core.EpochNumber, op core.OpNumber, ids ...core.ReplicaID) core.Membership {
	m := core.Membership{Epoch: number, Op: op, View: core.ViewNumber(number), LargestID: 10}
	for _, id := range ids {
		member := core.Member{ID: id, Witness: id == 10}
		if id >= 20 {
			member = core.Member{ID: 2, Incarnation: uint64(id - 20)}
		}
		m.Members = append(m.Members, member)
	}
	return m
}

// in has the promises of a disk be of an epoch.
func in(m core.Membership, r Remains) Remains {
	r.HardState.Membership = m.Encode()
	return r
}

func ordered(plan *Plan, found []Remains) (order []core.ReplicaID) {
	for _, at := range plan.Order {
		order = append(order, found[at].Replica)
	}
	return order
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
		{"what cannot be read is last", []Remains{Nothing(1, 0), left(2, 2, 6, 2), left(3, 3, 7, 3)}, nil, []core.ReplicaID{3, 2, 1}, 2, 7},
		{"enough are whole", []Remains{whole(left(1, 3, 9, 3)), whole(left(2, 3, 9, 3)), left(3, 3, 7, 3)}, nil, []core.ReplicaID{1, 2, 3}, 0, 9},
		{"all of them", []Remains{left(1, 3, 5, 3), left(2, 3, 9, 3), left(3, 3, 7, 3)}, []omit.Rule{RuleExactlyAQuorum}, []core.ReplicaID{2, 3, 1}, 3, 9},
	} {
		plan := NewPlan(epoch(0, 0, 1, 2, 3), test.found, omit.Of(test.rule...))
		largest := core.ViewNumber(0)
		for _, at := range plan.Order {
			largest = max(largest, test.found[at].HardState.View)
		}
		require.Equal(t, test.order, ordered(&plan, test.found), test.name)
		require.Equal(t, test.chosen, plan.Chosen, test.name)
		require.Equal(t, test.chosen > 0, plan.Needed, test.name)
		require.Equal(t, test.op, plan.Op, test.name)
		require.Equal(t, largest+1, plan.View, test.name)
	}
}

// later is a plan of a group whose members have changed.
type later struct {
	name      string
	found     []Remains
	rule      []omit.Rule
	order     []int
	chosen    int
	op        core.OpNumber
	standings []Standing
}

func (test *later) try(t *testing.T) {
	t.Helper()
	plan := NewPlan(epoch(0, 0, 1, 2, 3), test.found, omit.Of(test.rule...))
	require.Equal(t, test.standings, plan.Standings)
	require.Equal(t, test.order, plan.Order)
	require.Equal(t, test.chosen, plan.Chosen)
	require.Equal(t, test.op, plan.Op)
	require.Equal(t, test.chosen > 0, plan.Needed)
	for i, standing := range plan.Standings {
		mark, marked := plan.Mark(i)
		require.False(t, standing > Behind && marked && test.rule == nil, "%v: %+v", standing, mark)
	}
}

// Who counts is what the newest epoch on any disk says, whatever the group began with.
func TestPlanOfALaterEpoch(t *testing.T) {
	first, second, third := epoch(0, 0, 1, 2, 3), epoch(1, 4, 1, 2, 3, 4, 5), epoch(2, 8, 3, 4, 5)
	lives := epoch(2, 8, 1, 21, 3) // 2 in its second life
	second2 := left(2, 5, 9, 3)
	second2.Incarnation = 1
	for _, test := range []later{
		{
			"of five members now, three",
			[]Remains{in(second, left(1, 3, 9, 3)), in(second, left(4, 3, 7, 3)), in(second, left(5, 3, 8, 3))},
			nil,
			[]int{0, 2, 1},
			3, 9,
			[]Standing{Member, Member, Member},
		},
		{
			"counted as the configuration has it, two, and strangers",
			[]Remains{in(second, left(1, 3, 9, 3)), in(second, left(4, 3, 7, 3)), in(second, left(5, 3, 8, 3))},
			[]omit.Rule{RuleNewestEpoch},
			[]int{0, 2, 1},
			1, 9,
			[]Standing{Member, Stranger, Stranger},
		},
		{
			"who is a member no more is not chosen, however good",
			[]Remains{whole(in(first, left(1, 9, 20, 3))), in(third, left(4, 3, 9, 3)), in(third, left(5, 3, 8, 3))},
			nil,
			[]int{1, 2, 0},
			2, 9,
			[]Standing{Stranger, Member, Member},
		},
		{
			"without that rule it is",
			[]Remains{whole(in(first, left(1, 9, 20, 3))), in(third, left(4, 3, 9, 3)), in(third, left(5, 3, 8, 3))},
			[]omit.Rule{RuleMembersOnly},
			[]int{0, 1, 2},
			2, 20,
			[]Standing{Stranger, Member, Member},
		},
		{
			"an earlier life is not chosen, a later one is no member yet",
			[]Remains{in(first, left(2, 4, 20, 3)), in(lives, left(1, 3, 9, 3)), in(lives, left(3, 3, 8, 3)), in(lives, second2)},
			nil,
			[]int{1, 3, 2, 0},
			2, 9,
			[]Standing{Over, Member, Member, Member},
		},
	} {
		t.Run(test.name, test.try)
	}
}

// A member that has not begun in the newest epoch acknowledged nothing there.
func TestPlanWithSomeBehind(t *testing.T) {
	second, third := epoch(1, 4, 1, 2, 3, 4, 5), epoch(2, 8, 3, 4, 5)
	behind := whole(in(second, left(3, 9, 8, 2)))
	for _, test := range []later{
		{
			"who has not begun in the epoch counts by its operations",
			[]Remains{behind, in(third, left(4, 5, 10, 5)), Nothing(5, 0)},
			nil,
			[]int{1, 0, 2},
			2, 10,
			[]Standing{Behind, Member, Member},
		},
		{
			"by its views it would win",
			[]Remains{behind, in(third, left(4, 5, 10, 5)), Nothing(5, 0)},
			[]omit.Rule{RuleBehind},
			[]int{0, 1, 2},
			2, 8,
			[]Standing{Behind, Member, Member},
		},
		{
			"who has only learnt is not chosen",
			[]Remains{in(second, left(3, 3, 9, 3)), left(4, 0, 9, 3), in(third, left(5, 3, 8, 3))},
			nil,
			[]int{0, 2, 1},
			2, 9,
			[]Standing{Behind, Learning, Member},
		},
		{
			"a checkpoint tells of an epoch too",
			[]Remains{ofCheckpoint(third, in(second, left(3, 3, 9, 3))), in(second, left(4, 3, 10, 3))},
			nil,
			[]int{1, 0},
			2, 10,
			[]Standing{Behind, Behind},
		},
		{
			"one that is whole tells those that are behind",
			[]Remains{whole(in(third, left(4, 3, 9, 3))), behind},
			nil,
			[]int{0, 1},
			0, 9,
			[]Standing{Member, Behind},
		},
		{
			"the epoch before goes on by itself", []Remains{
				in(third, left(5, 3, 9, 3)), whole(in(second, left(1, 3, 8, 3))), whole(in(second, left(2, 3, 8, 3))),
				whole(in(second, left(3, 3, 8, 3))), in(second, left(4, 3, 8, 3)),
			}, nil, []int{0, 3, 4, 1, 2}, 0, 9, []Standing{Member, Stranger, Stranger, Behind, Behind},
		},
	} {
		t.Run(test.name, test.try)
	}
}

// ofCheckpoint has the newest checkpoint of a disk be of an epoch.
func ofCheckpoint(m core.Membership, r Remains) Remains {
	r.Checkpoint.Membership = m.Encode()
	return r
}

// What is written on each disk: those that start are in one view of one epoch, with the view that their logs are of; the
// others know of no later operation; and who does not count is left alone.
func TestWhatIsMarked(t *testing.T) {
	first, second := epoch(0, 0, 1, 2, 3), epoch(1, 4, 1, 2, 3)
	cut := left(1, 9, 6, 2)
	cut.HardState.Commit = 8
	plan := NewPlan(first, []Remains{in(second, cut), in(first, whole(left(2, 7, 3, 1))), in(second, left(3, 3, 5, 2)), in(second, left(4, 3, 9, 3))}, 0)
	require.Equal(t, []Standing{Member, Behind, Member, Stranger}, plan.Standings)
	mark := func(i int) Mark {
		t.Helper()
		mark, marked := plan.Mark(i)
		require.True(t, marked)
		return mark
	}
	require.Equal(t, Mark{Starts: true, HardState: core.HardState{View: 10, LastNormalView: 2, Commit: 6, Membership: second.Encode()}}, mark(0))
	require.Equal(t, Mark{Starts: true, HardState: core.HardState{View: 10, LastNormalView: 2, Commit: 5, Membership: second.Encode()}}, mark(2))
	_, marked := plan.Mark(1)
	require.False(t, marked, "it knows of nothing later, and hears of the epoch")
	_, marked = plan.Mark(3)
	require.False(t, marked)

	plan = NewPlan(first, []Remains{left(1, 9, 6, 2), Nothing(2, 0), left(3, 3, 8, 1), cut}, 0)
	require.Equal(t, core.HardState{View: 10, LastNormalView: 2, Commit: 6}, mark(0).HardState)
	_, marked = plan.Mark(1)
	require.False(t, marked)

	known := left(3, 4, 2, 1)
	known.HardState.Commit, known.Known = 7, 8
	plan = NewPlan(first, []Remains{left(1, 9, 6, 2), left(2, 3, 6, 2), known}, 0)
	require.Equal(t, Mark{HardState: core.HardState{View: 4, LastNormalView: 4, Commit: 6}}, mark(2))
	require.Equal(t, core.OpNumber(8), plan.Known)
	plan = NewPlan(first, []Remains{whole(left(1, 9, 6, 2)), whole(left(2, 9, 6, 2)), known}, 0)
	_, marked = plan.Mark(2)
	require.False(t, marked, "nothing is needed")
}

// An epoch that began above all that is left begins anew where the group goes on from: in memory, the members had changed
// since the last clean end.
func TestAnEpochBeginsAnewBelow(t *testing.T) {
	first, second := epoch(0, 0, 1, 2, 3), epoch(3, 500, 1, 2, 3)
	found := []Remains{in(second, left(1, 9, 40, 2)), in(second, above(left(2, 9, 0, 0), 30, 42, 2)), in(second, left(3, 9, 20, 2))}
	plan := NewPlan(first, found, 0)
	require.Equal(t, []core.OpNumber{42, 42}, []core.OpNumber{plan.Op, plan.Members.Op})
	require.Equal(t, hashOf(42, 2), plan.Members.Hash)
	for i := range found {
		mark, marked := plan.Mark(i)
		require.True(t, marked)
		require.Equal(t, plan.Members.Encode(), mark.HardState.Membership, "those that recover go by it too")
		found[i].HardState = mark.HardState
	}
	found = append(found, in(second, left(2, 9, 0, 0)))
	require.Equal(t, plan.Members, newest(first, found, 0), "it takes the place of the beginning that was")

	plan = NewPlan(first, []Remains{in(second, left(1, 9, 0, 0)), in(second, left(2, 9, 0, 0))}, 0)
	require.True(t, plan.Hopeless())
	plan = NewPlan(first, []Remains{in(first, left(1, 9, 0, 0)), in(first, left(2, 9, 0, 0))}, 0)
	require.False(t, plan.Hopeless(), "the first epoch begins with nothing")
}

// A witness's log counts where one of the states reaches up to where it begins; otherwise it starts with nothing, since it
// would take part with a log that nobody can go on from.
func TestPlanWithAWitness(t *testing.T) {
	m := epoch(0, 0, 1, 2, 10)
	witness := func(base, op core.OpNumber, view core.ViewNumber) Remains {
		r := above(left(10, view, 0, 0), base, op, view)
		r.HardState.Commit = op
		return r
	}
	for _, test := range []struct {
		name      string
		found     []Remains
		rule      []omit.Rule
		order     []int
		op        core.OpNumber
		discarded int
		chosen    int
	}{
		{"its log is the best", []Remains{left(1, 3, 40, 3), left(2, 3, 20, 3), witness(30, 50, 3)}, nil, []int{2, 0, 1}, 50, -1, 2},
		{"a state is the best", []Remains{left(1, 3, 60, 3), left(2, 3, 20, 3), witness(30, 50, 3)}, nil, []int{0, 2, 1}, 60, -1, 2},
		{"it joins a checkpoint", []Remains{above(left(1, 3, 0, 0), 35, 40, 3), left(2, 3, 20, 3), witness(30, 50, 3)}, nil, []int{2, 0, 1}, 50, -1, 2},
		{"it joins the one that is not the best", []Remains{left(1, 4, 20, 4), left(2, 3, 35, 3), whole(witness(30, 50, 3))}, nil, []int{2, 1, 0}, 50, -1, 2},
		{"it begins above all that is left", []Remains{left(1, 3, 25, 3), left(2, 3, 20, 3), witness(30, 50, 3)}, nil, []int{2, 0, 1}, 25, 2, 2},
		{"it is whole, and begins above", []Remains{left(1, 3, 20, 3), left(2, 3, 25, 3), whole(witness(30, 50, 3))}, nil, []int{2, 1, 0}, 25, 2, 2},
		{"another branch", []Remains{left(1, 4, 40, 4), left(2, 3, 20, 3), witness(30, 50, 3)}, nil, []int{2, 0, 1}, 40, 2, 2},
		{
			"without that rule its log is the best",
			[]Remains{left(1, 3, 25, 3), left(2, 3, 20, 3), witness(30, 50, 3)},
			[]omit.Rule{RuleWitnessJoins},
			[]int{2, 0, 1},
			50, -1, 2,
		},
		{"only one state is left", []Remains{left(1, 3, 40, 3), witness(30, 50, 3)}, nil, []int{1, 0}, 50, -1, 2},
		{"a state and a witness are whole", []Remains{whole(left(1, 3, 40, 3)), Nothing(2, 0), whole(witness(30, 50, 3))}, nil, []int{2, 0, 1}, 50, -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan := NewPlan(m, test.found, omit.Of(test.rule...))
			require.Equal(t, test.order, plan.Order)
			require.Equal(t, test.op, plan.Op)
			require.Equal(t, test.discarded, plan.Discarded)
			require.Equal(t, test.chosen, plan.Chosen)
			if at := test.discarded; at >= 0 {
				mark, marked := plan.Mark(at)
				require.True(t, marked)
				require.Equal(t, Mark{Starts: true, Nothing: true, HardState: core.HardState{View: plan.View}}, mark)
			}
		})
	}
	plan := NewPlan(m, []Remains{whole(witness(30, 50, 3)), Nothing(1, 0)}, 0)
	require.Less(t, plan.Usable, plan.Quorum(), "a witness alone is no group")
}

func TestStandingsAreSaid(t *testing.T) {
	for standing := Member; standing <= Over; standing++ {
		require.NotEmpty(t, standing.String())
	}
}
