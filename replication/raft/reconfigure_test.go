package raft_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
)

// TestGrowingAndShrinkingUnderLoad: one becomes three and five, three and one again, each time without who led where it
// shrinks. Nothing that callers were answered is lost or there twice, and who leaves may be closed.
func TestGrowingAndShrinkingUnderLoad(t *testing.T) {
	g := newChanging(t, 1, nil)
	g.join()
	g.join()
	callers := g.underLoad("first", 4)
	g.more(callers, 20)
	report := g.become(0, 1, 2)
	require.Len(t, report.Replicas, 3)
	require.True(t, report.Replicas[0].Was && report.Replicas[0].Will && !report.Replicas[1].Was && report.Replicas[1].Will && report.Replicas[1].Ready)
	require.Equal(t, "host-2:1", report.Replicas[1].Address)
	g.more(callers, 20)
	g.end(callers, 0, 1, 2)
	g.join()
	g.join()
	callers = g.underLoad("second", 4)
	g.become(0, 1, 2, 3, 4)
	g.more(callers, 20)
	stay := []int{0, 1, 2, 3, 4}
	for len(stay) > 1 {
		leader, view := g.primary()
		last := stay[len(stay)-1]
		if last == leader {
			last = stay[0]
		}
		stay = slices.DeleteFunc(slices.Clone(stay), func(i int) bool { return i == leader || i == last })
		report := g.become(stay...)
		next, now := g.primary()
		require.Contains(t, stay, next)
		require.Greater(t, now, view)
		var refused *replication.NotMemberError
		require.ErrorAs(t, replication.Propose(g.ctx, g.replicas[leader], view, []byte("late")).Err, &refused)
		require.True(t, replication.DidNotHappen(refused))
		require.ErrorIs(t, refused, replication.ErrNotPrimary)
		require.Equal(t, report.Epoch, refused.Membership.Epoch)
		require.Equal(t, g.at(stay...), refused.Membership.Members)
		require.ErrorAs(t, replication.AwaitReadBarrier(g.ctx, g.replicas[leader], view), &refused)
		g.protocol(leader, "left")
		g.protocol(last, "left")
		g.more(callers, 20)
	}
	for i := range g.replicas {
		if i != stay[0] {
			g.stop(i)
		}
	}
	g.end(callers, stay[0])
}

// TestReplacingADeadMember: a newcomer takes its place, the group bears another failure, and the dead one hears that it is a
// member no more when it comes back.
func TestReplacingADeadMember(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	leader, _ := g.primary()
	dead := (leader + 1) % 3
	g.stop(dead)
	fresh := g.join()
	next := slices.DeleteFunc([]int{0, 1, 2, fresh}, func(i int) bool { return i == dead })
	g.become(next...)
	g.commit("b")
	leader, _ = g.primary()
	second := slices.DeleteFunc(slices.Clone(next), func(i int) bool { return i == leader || i == fresh })[0]
	g.stop(second)
	g.commit("c")
	g.has("c", fresh)
	g.start(dead)
	g.start(second)
	g.protocol(dead, "left")
	var refused *replication.NotMemberError
	require.ErrorAs(t, replication.Propose(g.ctx, g.replicas[dead], 1, []byte("x")).Err, &refused)
	require.EqualValues(t, 1, refused.Membership.Epoch)
	require.EqualValues(t, 1, g.replicas[dead].Status().Epoch)
	g.commit("d")
	g.has("d", next...)
}

// TestALaterLife: a member that has lost its storage comes back as a later incarnation, and only as that.
func TestALaterLife(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	leader, _ := g.primary()
	lost := (leader + 1) % 3
	g.lives[lost]++
	_, err := g.replicas[leader].Reconfigure(g.ctx, replication.Change{Members: g.at(0, 1, 2)})
	require.ErrorIs(t, err, replication.ErrNewcomer, "it is heard in its first life")
	g.lives[lost]--
	old := g.stores[lost]
	g.stop(lost)
	g.wipe(lost)
	g.start(lost)
	g.protocol(lost, "transitioning")
	g.become(0, 1, 2)
	require.EqualValues(t, 1, g.replicas[lost].Membership().Members[lost].Incarnation)
	leader, _ = g.primary()
	g.stop(slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == leader || i == lost })[0])
	g.commit("b")
	g.has("a", lost)
	g.has("b", lost)
	// The first life, whose disk was found again, is over.
	fresh := g.stores[lost]
	g.stop(lost)
	g.lives[lost], g.stores[lost] = 0, old
	g.start(lost)
	g.protocol(lost, "left")
	require.EqualValues(t, 1, g.replicas[lost].Membership().Members[lost].Incarnation)
	g.stop(lost)
	g.lives[lost], g.stores[lost] = 1, fresh
	g.start(lost)
	g.commit("c")
	g.has("c", lost)
}

// TestALeaderThatIsLostWhileMembersChange: the next one goes on where it was.
func TestALeaderThatIsLostWhileMembersChange(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	fourth, fifth := g.join(), g.join()
	g.eventually("newcomers are ready", func() bool {
		leader, _ := g.primary()
		_, err := g.replicas[leader].Reconfigure(g.ctx, replication.Change{Members: g.at(0, 1, 2, fourth, fifth), DryRun: true})
		return err == nil
	})
	leader, _ := g.primary()
	replica := g.replicas[leader]
	ended := make(chan error, 1)
	go func() {
		_, err := replica.Reconfigure(g.ctx, replication.Change{Members: g.at(0, 1, 2, fourth, fifth)})
		ended <- err
	}()
	g.eventually("the epoch has begun", func() bool { return replica.Status().Epoch == 1 || len(ended) > 0 })
	g.stop(leader)
	err := <-ended
	if err != nil { // on a busy machine it may have lost its place before
		require.True(t, errors.Is(err, replication.ErrNotPrimary) || errors.Is(err, replication.ErrOutcomeUnknown) || errors.Is(err, replication.ErrClosed), "%v", err)
		g.change(0, 1, 2, fourth, fifth)
	}
	g.settled(1, 0, 1, 2, fourth, fifth)
	g.commit("b")
	g.start(leader)
	g.settled(1, 0, 1, 2, fourth, fifth)
	g.has("b", 0, 1, 2, fourth, fifth)
}

// TestWhoRestarts knows its part again, by its log and by its snapshot: a member, a newcomer that is none yet, and one that
// has left.
func TestWhoRestarts(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	fresh, waits := g.join(), g.join()
	leader, _ := g.primary()
	leaves := (leader + 1) % 3
	stay := slices.DeleteFunc([]int{0, 1, 2, fresh}, func(i int) bool { return i == leaves })
	g.become(stay...)
	g.protocol(leaves, "left")
	g.commit("b")
	g.has("b", stay...)
	for _, checkpoint := range []bool{false, true} {
		if checkpoint {
			for _, i := range stay {
				require.NoError(t, g.replicas[i].Checkpoint(g.ctx))
			}
		}
		for i := range g.replicas {
			g.stop(i)
		}
		for i := range g.replicas {
			g.start(i)
		}
		g.settled(1, stay...)
		g.protocol(leaves, "left")
		g.protocol(waits, "transitioning")
		g.commit("c")
		g.has("c", stay...)
	}
	leader, _ = g.primary()
	require.Equal(t, g.at(stay...), g.replicas[leader].Membership().Members)
	require.EqualValues(t, fresh+1, g.replicas[leader].Membership().LargestID)
	g.become(append(stay, waits)...)
	g.has("c", waits)
}

// TestADryRunChangesNothing, and tells what there would be.
func TestADryRunChangesNothing(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	fresh := g.join()
	g.protocol(fresh, "transitioning")
	g.eventually("the newcomer is ready", func() bool {
		leader, _ := g.primary()
		report, err := g.replicas[leader].Reconfigure(g.ctx, replication.Change{Members: g.at(0, 1, fresh), DryRun: true})
		if err != nil || report.Replicas[fresh].Lag > 0 {
			return false
		}
		require.EqualValues(t, 1, report.Epoch)
		for i, row := range report.Replicas {
			require.Equal(t, replication.ReplicaID(i+1), row.ID)
			require.Equal(t, [2]bool{i != fresh, i != 2}, [2]bool{row.Was, row.Will})
		}
		return report.Replicas[0].Ready && report.Replicas[1].Ready
	})
	leader, _ := g.primary()
	require.Zero(t, g.replicas[leader].Status().Epoch)
	require.Equal(t, []replication.ReplicaID{1, 2, 3}, g.replicas[leader].Status().Members)
	require.Zero(t, g.replicas[leader].Measure().Values["reconfigurations.done"]+g.replicas[leader].Measure().Values["reconfigurations.refused"])
	g.commit("b")
}

// TestReconfigurationsThatAreRefused: each by its own error, and nothing has changed afterwards.
func TestReconfigurationsThatAreRefused(t *testing.T) {
	g := newChanging(t, 3, func(o *raft.Options) { o.ViewChangeTimeout = time.Second })
	g.commit("a")
	for _, test := range []struct {
		name   string
		change replication.Change
		err    error
	}{
		{"nobody", replication.Change{}, replication.ErrMembership},
		{"the same", replication.Change{Members: []replication.Member{{ID: 3}, {ID: 2}, {ID: 1}}}, replication.ErrMembership},
		{"one twice", replication.Change{Members: g.at(0, 0, 1)}, replication.ErrMembership},
		{"replica 0", replication.Change{Members: []replication.Member{{ID: 0}, {ID: 1}}}, replication.ErrMembership},
		{"too many", replication.Change{Members: make([]replication.Member, 64)}, replication.ErrMembership},
		{"a long address", replication.Change{Members: []replication.Member{{ID: 1, Address: string(make([]byte, 256))}}}, replication.ErrMembership},
		{"an address that is no text", replication.Change{Members: []replication.Member{{ID: 1, Address: "\xff"}}}, replication.ErrMembership},
		{"a witness", replication.Change{Members: []replication.Member{{ID: 1}, {ID: 2}, {ID: 3, Witness: true}}}, replication.ErrMembership},
		{"an epoch that is not the next", replication.Change{Members: g.at(0, 1), Epoch: 2}, replication.ErrMembership},
		{"a newcomer that nobody has heard", replication.Change{Members: append(g.at(0, 1, 2), replication.Member{ID: 9})}, replication.ErrNewcomer},
	} {
		for _, dry := range []bool{false, true} {
			test.change.DryRun = dry
			g.eventually(test.name, func() bool { // who leads may change on a busy machine
				leader, _ := g.primary()
				report, err := g.replicas[leader].Reconfigure(g.ctx, test.change)
				require.True(t, replication.DidNotHappen(err))
				require.True(t, errors.Is(err, replication.ErrNotPrimary) || errors.Is(err, test.err), "%s: %v", test.name, err)
				if errors.Is(err, replication.ErrNewcomer) {
					require.Len(t, report.Replicas, 4)
				}
				return errors.Is(err, test.err)
			})
		}
	}
	g.eventually("who does not lead refuses", func() bool {
		leader, _ := g.primary()
		_, err := g.replicas[(leader+1)%3].Reconfigure(g.ctx, replication.Change{Members: g.at(0, 1)})
		var refused *replication.NotPrimaryError
		require.ErrorAs(t, err, &refused)
		require.NotErrorAs(t, err, new(*replication.NotMemberError))
		return refused.Primary == replication.ReplicaID(leader+1)
	})
	leader, _ := g.primary()
	down := (leader + 1) % 3
	g.stop(down)
	g.eventually("a change that would stop the group is refused", func() bool {
		leader, _ = g.primary()
		_, err := g.replicas[leader].Reconfigure(g.ctx, replication.Change{Members: g.at(leader, down), DryRun: true})
		return errors.Is(err, replication.ErrQuorum)
	})
	leader, _ = g.primary()
	require.Zero(t, g.replicas[leader].Status().Epoch)
	g.commit("b")
	ctx, cancel := context.WithCancel(g.ctx)
	cancel()
	_, err := g.replicas[leader].Reconfigure(ctx, replication.Change{Members: g.at(leader)})
	require.ErrorIs(t, err, context.Canceled)
	replica := g.replicas[leader]
	g.stop(leader)
	_, err = replica.Reconfigure(g.ctx, replication.Change{Members: g.at(0, 1)})
	require.ErrorIs(t, err, replication.ErrClosed)
}

// TestOneReconfigurationAtATime, and none beside a transfer of the primary's role; one whose leader has lost its place certainly
// does not happen.
func TestOneReconfigurationAtATime(t *testing.T) {
	g := newChanging(t, 3, func(o *raft.Options) { o.ViewChangeTimeout = 2 * time.Second })
	g.commit("a")
	leader, _ := g.primary()
	replica := g.replicas[leader]
	before := replica.Status().Op
	g.network.Isolate(replication.ReplicaID(leader + 1))
	ctx, cancel := context.WithCancel(g.ctx)
	ended := make(chan error, 2)
	go func() {
		_, err := replica.Reconfigure(ctx, replication.Change{Members: g.at(leader, (leader+1)%3)})
		ended <- err
	}()
	g.eventually("it is proposed", func() bool { return replica.Status().Op > before || len(ended) > 0 })
	if len(ended) == 0 { // on a busy machine it may have lost its place already
		_, err := replica.Reconfigure(g.ctx, replication.Change{Members: g.at(leader, (leader+1)%3)})
		require.True(t, errors.Is(err, replication.ErrReconfiguring) || errors.Is(err, replication.ErrNotPrimary), "%v", err)
		err = replica.TransferPrimary(g.ctx, 0)
		require.True(t, errors.Is(err, replication.ErrReconfiguring) || errors.Is(err, replication.ErrNotPrimary), "%v", err)
		cancel()
		err = <-ended
		require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.Canceled)
	}
	cancel()
	g.eventually("the others go on", func() bool {
		next, _ := g.primary()
		return next != leader
	})
	g.commit("b")
	g.network.Heal()
	g.has("b", 0, 1, 2)
	for _, replica := range g.replicas {
		require.Zero(t, replica.Membership().Epoch)
	}
	g.become(0, 1)
}

// TestWhoIsBehindVotesForOneItDoesNotKnow: it was away while the others were replaced, and now its vote is needed.
func TestWhoIsBehindVotesForOneItDoesNotKnow(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	leader, _ := g.primary()
	away := (leader + 1) % 3
	g.stop(away)
	fourth, fifth := g.join(), g.join()
	report := g.change(away, fourth, fifth)
	g.settled(report.Epoch, away, fourth, fifth)
	for i := range g.replicas {
		if g.replicas[i] != nil && i != fourth && i != fifth {
			g.protocol(i, "left")
			g.stop(i)
		}
	}
	g.commit("b")
	g.has("b", fourth, fifth)
	g.stop(fourth)
	g.stop(fifth)
	g.start(away)
	g.start(fifth)
	g.settled(report.Epoch, away, fourth, fifth)
	g.commit("c")
	g.has("c", away, fifth)
}
