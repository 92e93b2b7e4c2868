package coordinator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// successor is the primary of shard 1 in an epoch in which replica 4 took the place of replica 1.
func successor(epoch, view uint64) *pb.Request {
	return reportOf(&pb.Primary{Group: 1, Epoch: epoch, View: view, Replica: 4, Address: "a4"}, memberAt(2, "a2"), memberAt(3, "a3"), memberAt(4, "a4"))
}

// TestAReportChangesTheMembers: the map has the members of a shard's later epoch when its primary's report is answered,
// and whoever watches hears of them and of it.
func TestAReportChangesTheMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2, nil)
		n := newNetwork(t, g)
		primary := g.members[0]
		g.lead(primary, false)
		require.Nil(t, (<-primary.ask(report(1, 4, 1, "a1"), time.Time{})).GetError())
		news, _ := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		require.EqualValues(t, 1, (<-news).GetMap().GetVersion())

		require.Nil(t, (<-primary.ask(successor(1, 7), time.Time{})).GetError())
		for _, m := range g.members {
			require.Equal(t, primary.server.state.Hash(), m.server.state.Hash())
			group := m.server.state.Map().Group(1)
			require.EqualValues(t, 1, group.Epoch)
			require.Equal(t, "a4", group.Members[2].Address)
		}
		known, _ := primary.server.primaries.Of(1)
		require.EqualValues(t, 4, known.Replica)
		var changed *pb.ShardMap
		var told *pb.Primary
		for changed == nil || told == nil {
			next := <-news
			if next.GetMap() != nil {
				changed = next.GetMap()
			}
			for _, each := range next.GetPrimaries() {
				told = each
			}
		}
		require.EqualValues(t, 2, changed.GetVersion())
		require.EqualValues(t, 1, changed.GetShards()[0].GetEpoch())
		require.Equal(t, "a4", told.GetAddress())

		_, before := primary.asked()
		for _, late := range []*pb.Request{report(1, 5, 1, "a1"), report(1, 99, 2, "a2"), reportOf(&pb.Primary{Group: 1, Epoch: 2, View: 9, Replica: 1, Address: "a1"}, memberAt(2, "a2"))} {
			require.Equal(t, pb.Code_CODE_INVALID_ARGUMENT, (<-primary.ask(late, time.Time{})).GetError().GetCode())
		}
		require.Nil(t, (<-primary.ask(successor(1, 8), time.Time{})).GetError())
		_, after := primary.asked()
		require.Equal(t, before, after, "what changes nothing is not logged")
		require.EqualValues(t, 2, primary.server.state.Map().Version)

		g.lead(g.members[1], false) // and the next primary of the coordinator goes on from there
		require.Nil(t, (<-g.members[1].ask(successor(1, 9), time.Time{})).GetError())
		require.EqualValues(t, 2, primary.server.state.Map().Version)
	})
}

// TestReportsShareAChange: while one is under way the next ones wait for it, so many of them, and each is answered.
func TestReportsShareAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, nil)
		m := g.members[0]
		g.lead(m, false)
		_, before := m.asked()
		m.holdsOps(true)
		began := time.Now()
		var answers []<-chan *pb.Response
		for i := range reportsMax {
			answers = append(answers, m.ask(successor(1, uint64(i+1)), time.Time{}))
		}
		require.Equal(t, pb.Code_CODE_OVERLOADED, (<-m.ask(successor(1, 7), time.Time{})).GetError().GetCode())
		elsewhere := m.ask(reportOf(&pb.Primary{Group: 2, Epoch: 1, View: 3, Replica: 4, Address: "b4"}, memberAt(4, "b4")), began.Add(300*time.Millisecond))
		require.Equal(t, pb.Code_CODE_DEADLINE, (<-elsewhere).GetError().GetCode(), "nobody waits for longer than he said")
		_, during := m.asked()
		require.Equal(t, before+2, during, "one operation for each group")
		m.holdsOps(false)
		for _, each := range answers {
			require.Nil(t, (<-each).GetError())
		}
		known, _ := m.server.primaries.Of(1)
		require.EqualValues(t, reportsMax, known.View, "the latest view")
		require.EqualValues(t, 1, m.server.state.Map().Group(2).Epoch, "it was under way")
	})
}

// TestAChangeThatFails: nothing is known to have happened, so the reporter is to try again, here or elsewhere.
func TestAChangeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2, nil)
		m := g.members[0]
		g.lead(m, false)
		for _, failure := range []error{replication.ErrOverloaded, errors.Join(replication.ErrOutcomeUnknown)} {
			m.fails(failure)
			require.Equal(t, pb.Code_CODE_UNAVAILABLE, (<-m.ask(successor(1, 7), time.Time{})).GetError().GetCode())
			require.Zero(t, m.server.state.Map().Group(1).Epoch)
		}
		m.holdsOps(true)
		waiting := m.ask(successor(1, 7), time.Time{})
		g.lead(g.members[1], false)
		require.Equal(t, pb.Code_CODE_NOT_PRIMARY, (<-waiting).GetError().GetCode(), "it leads no more")
		m.holdsOps(false)
		require.Empty(t, waiting)
		require.Nil(t, (<-g.members[1].ask(successor(1, 7), time.Time{})).GetError())
	})
}

// TestTheCoordinatorsOwnMembers: when its group is in a later epoch the primary logs that, once; and until then whoever
// watches hears of it from any replica, of those who have left too.
func TestTheCoordinatorsOwnMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, func(o *Options) {
			o.AddressOf = func(id replication.ReplicaID) string { return []string{"", "c1", "c2", "c3"}[id] }
		})
		n := newNetwork(t, g)
		g.reconfigured(0, replication.Member{ID: 1}, replication.Member{ID: 2}, replication.Member{ID: 3})
		g.lead(g.members[0], false)
		left, _ := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		first := <-left
		require.False(t, first.GetNotMember())
		require.Len(t, first.GetCoordinator().GetMembers(), 3)
		require.Equal(t, "c3", first.GetCoordinator().GetMembers()[2].GetAddress())
		_, before := g.members[0].asked()
		time.Sleep(time.Second)

		g.reconfigured(4, replication.Member{ID: 2}, replication.Member{ID: 3})
		g.lead(g.members[1], false)
		require.NotNil(t, (<-g.members[1].ask(timestamps(1), time.Time{})).GetTimestamps())
		time.Sleep(DefaultTickInterval)
		for _, m := range g.members {
			group := m.server.state.Map().Coordinator
			require.EqualValues(t, 4, group.Epoch)
			require.Len(t, group.Members, 2)
			require.EqualValues(t, 2, m.server.state.Map().Version)
		}
		var told *pb.WatchMapResponse
		for told.GetCoordinator() == nil {
			told = <-left
		}
		require.True(t, told.GetNotMember())
		require.EqualValues(t, 4, told.GetCoordinator().GetEpoch())
		require.Equal(t, "c2", told.GetCoordinator().GetMembers()[0].GetAddress())

		time.Sleep(10 * DefaultTickInterval)
		_, submits := g.members[1].asked()
		time.Sleep(10 * DefaultTickInterval)
		_, later := g.members[1].asked()
		require.LessOrEqual(t, later, submits+1, "no more than the mark")
		require.EqualValues(t, 2, g.members[1].server.state.Map().Version)
		_, after := g.members[0].asked()
		require.LessOrEqual(t, after, before+1, "who does not lead logs nothing")
	})
}

// TestAMemberWithoutAnAddress: what could not be told to anybody is not logged.
func TestAMemberWithoutAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, func(o *Options) { o.AddressOf = func(replication.ReplicaID) string { return "" } })
		g.reconfigured(1, replication.Member{ID: 1}, replication.Member{ID: 2})
		g.lead(g.members[0], false)
		time.Sleep(time.Second)
		require.Zero(t, g.members[0].server.state.Map().Coordinator.Epoch)
		require.Nil(t, g.members[0].server.standing.group)
	})
}
