package vr_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// TestAMemberThatWasAway for two epochs comes back with messages of its own, which count for nothing; it is told, and
// enters the newest one.
func TestAMemberThatWasAway(t *testing.T) {
	entered := make(chan core.EpochNumber, 8)
	g := newChangingGroup(t, 3, func(o *vr.Options) {
		o.Trace = func(event vr.TraceEvent) {
			if event.Kind == vr.TraceEpoch && event.State.Epoch > 1 {
				select {
				case entered <- event.State.Epoch:
				default:
				}
			}
		}
	})
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	away := g.backups(leader)[0]
	g.converged(10)
	three := g.join()
	g.network.cut(core.ReplicaID(away+1), true, true) // from everybody who is there
	g.reconfigure(0, 1, 2, three)
	four := g.join()
	g.network.cut(core.ReplicaID(away+1), true, true)
	g.reconfigure(0, 1, 2, three, four)
	g.eventually("the others are in the second epoch", func() bool { leader, _ := g.primary(); return g.replicas[leader].Status().Epoch == 2 })
	g.mustCommit(11, 20, away)
	require.Zero(t, g.replicas[away].Status().Epoch)
	g.network.heal()
	g.settled(2, 0, 1, 2, three, four)
	g.converged(20)
	refused := uint64(0)
	for i := range g.replicas {
		refused += g.measured(i, "messages_refused.epoch")
		require.EqualValues(t, 2, g.measured(i, "epoch"))
		require.NotZero(t, g.measured(i, "epochs_entered"))
	}
	require.NotZero(t, refused)
	require.NotZero(t, g.measured(away, "view_changes.epoch"))
	require.EqualValues(t, 2, <-entered)
	g.sameLogs(0, 1, 2, three, four)
}

// TestRestartsFindTheNewestEpoch: with options as they were, all at once and each alone, newcomers and leavers too.
func TestRestartsFindTheNewestEpoch(t *testing.T) {
	g := newChangingGroup(t, 3, nil)
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	next := g.backups(leader)
	next = append(next, g.join(), g.join(), g.join())
	g.reconfigure(next...)
	g.settled(1, next...)
	g.mustCommit(11, 20)
	g.left(leader)
	g.closeAll()
	for i := range g.replicas {
		g.start(i)
	}
	g.settled(1, next...)
	g.mustCommit(21, 30)
	membership := g.replicas[next[0]].Membership()
	require.Equal(t, replication.Membership{Epoch: 1, Members: members(next...), LargestID: 6}, membership)
	g.left(leader) // it says so each time anew
	for _, i := range next {
		g.stop(i)
		g.mustCommit(31+10*i, 40+10*i)
		g.start(i)
	}
	g.settled(1, next...)
	g.converged(80)
	g.sameLogs(next...)
}

// TestANewcomerFarBehind fetches a checkpoint in many chunks, from whoever is not the primary too, while the group goes on.
func TestANewcomerFarBehind(t *testing.T) {
	g := newChangingGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 20 })
	for _, machine := range g.machines {
		machine.pad(3 << 20)
	}
	for first := 1; first < 100; first += 50 { // after the second no log reaches down to the beginning, whomever it asks
		g.mustCommit(first, first+49)
		g.converged(uint64(first + 49))
		for _, replica := range g.replicas {
			require.NoError(t, replica.Checkpoint(t.Context()))
		}
	}
	fresh := g.join()
	g.mustCommit(101, 120)
	report := g.reconfigure(0, 1, 2, fresh)
	require.True(t, report.Replicas[fresh].Ready)
	g.mustCommit(121, 140)
	g.settled(1, 0, 1, 2, fresh)
	g.converged(140)
	require.NotZero(t, g.measured(fresh, "checkpoint_fetches"))
	require.Greater(t, g.measured(fresh, "checkpoint_fetch_bytes"), uint64(3<<20))
	require.NoError(t, g.replicas[fresh].Checkpoint(t.Context()))
	g.stop(fresh)
	g.start(fresh) // from a checkpoint of the new epoch
	g.settled(1, 0, 1, 2, fresh)
	g.converged(140)
	g.sameLogs(0, 1, 2, fresh)
}

// TestANewcomerThatIsNeverReady is refused each time, and the report says why. One that was heard once and is silent
// since does not count.
func TestANewcomerThatIsNeverReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newChangingGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 10 })
		g.mustCommit(1, 15)
		leader, _ := g.primary()
		fresh := g.join()
		change := replication.Change{Members: members(0, 1, 2, fresh)}
		dry := change
		dry.DryRun = true
		g.eventually("the newcomer is ready", func() bool {
			_, err := g.replicas[leader].Reconfigure(t.Context(), dry)
			return err == nil
		})
		g.network.cut(core.ReplicaID(fresh+1), true, true)
		g.eventually("it is not heard any more", func() bool {
			report, err := g.replicas[leader].Reconfigure(t.Context(), dry)
			return errors.Is(err, replication.ErrNewcomer) && !report.Replicas[fresh].Heard
		})
		g.mustCommit(16, 40)
		for range 10 {
			report, err := g.replicas[leader].Reconfigure(t.Context(), change)
			require.ErrorIs(t, err, replication.ErrNewcomer)
			require.False(t, report.Replicas[fresh].Ready)
			time.Sleep(vr.ViewChangeTimeoutMaxDefault)
		}
		require.Zero(t, g.measured(leader, "learners"))
		require.Zero(t, g.replicas[leader].Status().Epoch)
		g.network.heal()
		g.reconfigure(0, 1, 2, fresh)
		g.settled(1, 0, 1, 2, fresh)
		g.converged(40)
		g.closeAll()
	})
}

// TestStrangersAreRefused: one who is no newcomer and no member says nothing that counts.
func TestStrangersAreRefused(t *testing.T) {
	g := newChangingGroup(t, 3, nil)
	g.mustCommit(1, 5)
	g.primary()
	stranger := g.grow()
	g.first, g.asked[stranger] = 4, nil // it takes itself for a member of four
	g.start(stranger)
	g.eventually("it is refused", func() bool {
		return slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return g.measured(i, "messages_refused.stranger") > 0 })
	})
	g.mustCommit(6, 10, stranger)
	for i := range 3 {
		require.Zero(t, g.measured(i, "learners"))
	}
	require.Zero(t, g.operations(stranger))
}

// isolated is a group of three whose primary has proposed a change that nobody has acknowledged, and what its caller is
// told.
func isolated(t *testing.T) (g *group, leader int, cancel context.CancelCauseFunc, ended chan error) {
	t.Helper()
	g = newChangingGroup(t, 3, steady)
	g.mustCommit(1, 5)
	leader, _ = g.primary()
	g.network.cut(core.ReplicaID(leader+1), true, true)
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	ended = make(chan error, 1)
	op := g.replicas[leader].Status().Op
	go func() {
		_, err := g.replicas[leader].Reconfigure(ctx, replication.Change{Members: members(leader)})
		ended <- err
	}()
	g.eventually("it is proposed", func() bool { return g.replicas[leader].Status().Op > op })
	return g, leader, cancel, ended
}

// TestReconfigureEndsWithItsContext: what is proposed cannot be taken back, and what was not certainly never happens.
func TestReconfigureEndsWithItsContext(t *testing.T) {
	g, leader, cancel, ended := isolated(t)
	cause := errors.New("no more patience")
	cancel(cause)
	err := <-ended
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
	require.False(t, replication.DidNotHappen(err))
	gone, end := context.WithCancelCause(t.Context())
	end(cause)
	_, err = g.replicas[leader].Reconfigure(gone, replication.Change{Members: members(0, 1)})
	require.ErrorIs(t, err, cause)
	require.True(t, replication.DidNotHappen(err))
	// The others go on without it: how they do is the way to find out.
	next, _ := g.primary(leader)
	g.mustCommit(6, 10, leader)
	require.Zero(t, g.replicas[next].Membership().Epoch)
	g.network.heal()
	g.converged(10)
	require.Zero(t, g.replicas[leader].Status().Epoch)
}

// TestAReconfigurationThatIsOvertaken: another log has something else in its place, and that is certain.
func TestAReconfigurationThatIsOvertaken(t *testing.T) {
	g, leader, _, ended := isolated(t)
	g.mustCommit(6, 10, leader)
	next, _ := g.primary(leader)
	g.network.heal()
	err := <-ended
	var refused *replication.NotPrimaryError
	require.ErrorAs(t, err, &refused)
	require.True(t, replication.DidNotHappen(err))
	require.EqualValues(t, 1, g.measured(leader, "reconfigurations.overtaken"))
	require.Zero(t, g.replicas[next].Status().Epoch)
	g.converged(10)
	g.sameLogs(0, 1, 2)
}

// TestAReconfigurationThatIsInherited: the primary dies, its successor finds the change in its log and completes it.
func TestAReconfigurationThatIsInherited(t *testing.T) {
	g := newChangingGroup(t, 3, steady)
	g.mustCommit(1, 5)
	g.converged(5)
	leader, view := g.primary()
	rest := g.backups(leader)
	for _, i := range rest {
		g.network.lose(core.ReplicaID(i+1), core.ReplicaID(leader+1))
	}
	ended := make(chan error, 1)
	op := g.replicas[leader].Status().Op
	go func() {
		_, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(rest...)})
		ended <- err
	}()
	g.eventually("a backup has it", func() bool {
		return slices.ContainsFunc(rest, func(i int) bool { return g.replicas[i].Status().Op > op })
	})
	g.network.cut(core.ReplicaID(leader+1), true, true)
	g.settled(1, rest...)
	_, now := g.primary(leader)
	require.Greater(t, now, view)
	g.mustCommit(6, 10, leader)
	g.network.heal()
	require.NoError(t, <-ended, "it has happened, by another primary, and the caller is told")
	require.EqualValues(t, 1, g.measured(leader, "reconfigurations.done"))
	g.left(leader)
	g.converged(10)
	g.sameLogs(0, 1, 2)
}

// TestCloseWhileReconfiguring answers the caller.
func TestCloseWhileReconfiguring(t *testing.T) {
	g, leader, _, ended := isolated(t)
	g.stop(leader)
	err := <-ended
	require.ErrorIs(t, err, replication.ErrClosed)
	require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
}

// TestThoseWhoLeftAreDropped: once nobody tells of the epoch any more only members are kept in reach.
func TestThoseWhoLeftAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newChangingGroup(t, 3, nil)
		g.mustCommit(1, 5)
		leader, _ := g.primary()
		rest := g.backups(leader)
		dead := rest[0]
		g.stop(dead)
		fresh := g.join()
		next := []int{leader, rest[1], fresh}
		slices.Sort(next)
		g.reconfigure(next...)
		g.settled(1, next...)
		reached := g.network.contactsOf(core.ReplicaID(leader + 1))
		require.Contains(t, reached, core.ReplicaID(dead+1), "it may still leave")
		require.Equal(t, "host-4:1", reached[core.ReplicaID(fresh+1)])
		time.Sleep(10 * vr.ViewChangeTimeoutMaxDefault)
		g.mustCommit(6, 6) // what an idle primary has to say tells its transport too
		for _, i := range next {
			require.NotContains(t, g.network.contactsOf(core.ReplicaID(i+1)), core.ReplicaID(dead+1))
			require.Len(t, g.network.contactsOf(core.ReplicaID(i+1)), 2)
		}
		// It comes back all the same: it is heard, and told.
		g.start(dead)
		g.left(dead)
		g.converged(6)
		g.closeAll()
	})
}

// TestAWipedReplicaComesBack in a later life of its id, once the group has committed that, and serves like any other.
func TestAWipedReplicaComesBack(t *testing.T) {
	incarnations := map[replication.ReplicaID]uint64{}
	g := newChangingGroup(t, 3, func(o *vr.Options) {
		steady(o)
		o.Incarnation = incarnations[o.Self]
	})
	g.mustCommit(1, 20)
	leader, _ := g.primary()
	wiped := g.backups(leader)[0]
	g.stop(wiped)
	g.storages[wiped] = storage.NewMemory()
	incarnations[replication.ReplicaID(wiped+1)] = 1
	g.start(wiped)
	require.Equal(t, "transitioning", g.replicas[wiped].Status().Protocol)
	next := members(0, 1, 2)
	next[wiped].Incarnation = 1
	g.eventually("its new life is a member", func() bool {
		report, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: next})
		if err == nil {
			require.EqualValues(t, 1, report.Replicas[wiped].Incarnation)
		}
		return err == nil
	})
	g.settled(1, 0, 1, 2)
	require.Equal(t, next, g.replicas[wiped].Membership().Members)
	leader, _ = g.primary()
	other := slices.DeleteFunc(g.backups(leader), func(i int) bool { return i == wiped })
	if leader != wiped {
		g.stop(other[0]) // it counts in the quorum
	}
	g.mustCommit(21, 40)
	g.converged(40)
}

// TestGrowingOnDisks: newcomers have directories of their own, and all restart at once from what is in them.
func TestGrowingOnDisks(t *testing.T) {
	for _, durability := range []vr.Durability{vr.DurabilitySync, vr.DurabilityAsync} {
		t.Run(durability.String(), func(t *testing.T) {
			g := newMemoryGroup(t, 0, nil)
			g.first, g.gaps = 1, true
			for i := range 3 {
				g.grow()
				g.storages[i], g.directories[i] = nil, t.TempDir()
				require.NoError(t, storage.Create(g.directories[i]))
			}
			t.Cleanup(g.closeAll) // before the directories go
			g.change = func(o *vr.Options) {
				disk, err := storage.Open(g.directories[o.Self-1], storage.Options{Durability: durability})
				require.NoError(t, err)
				o.Durability, o.Storage = durability, disk
			}
			g.start(0)
			g.mustCommit(1, 10)
			g.joinAt(1)
			g.joinAt(2)
			g.reconfigure(0, 1, 2)
			g.settled(1, 0, 1, 2)
			g.mustCommit(11, 20)
			g.closeAll()
			for i := range g.replicas {
				g.start(i)
			}
			g.settled(1, 0, 1, 2)
			g.mustCommit(21, 30)
			g.converged(30)
			require.NoError(t, g.replicas[0].Checkpoint(t.Context()))
			g.reconfigure(1, 2)
			g.mustCommit(31, 40, 0)
			g.left(0)
			g.start(0)
			g.left(0)
			g.settled(2, 1, 2)
			g.converged(40)
		})
	}
}

// TestALeaverWithoutTheEndOfItsLog writes no checkpoint of an epoch that is over: who its members were it cannot tell. It
// waits for what it has lost.
func TestALeaverWithoutTheEndOfItsLog(t *testing.T) {
	next := core.Membership{
		Epoch: 1, Op: 10, View: 2, Hash: 7, Members: []core.Member{{ID: 2}, {ID: 3}}, Previous: []core.ReplicaID{1, 2, 3}, LargestID: 3,
	}
	var log []core.Entry
	hash := core.Hash(0)
	for op := core.OpNumber(1); op <= 5; op++ {
		log = append(log, core.Chained(hash, op, 1, []byte("x")))
		hash = log[op-1].Hash
	}
	kept := storage.NewMemory()
	require.NoError(t, kept.Write(vr.Batch{
		HardState: &core.HardState{View: 2, LastNormalView: 2, Commit: 5, Membership: next.Encode()}, Entries: log, Sync: true,
	}))
	replica, err := vr.Open(vr.Options{
		Self: 1, Members: []replication.ReplicaID{1, 2, 3}, Transport: newNetwork().join(1), Storage: kept, StateMachine: &journal{},
		CheckpointEvery: 2,
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, replica.Close()) }()
	require.Eventually(t, func() bool { return replica.Status().Applied == 5 }, patience, time.Millisecond)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, replica.Checkpoint(short), context.DeadlineExceeded)
	status := replica.Status()
	require.NoError(t, status.Failure)
	require.Equal(t, "leaving", status.Protocol)
	require.Zero(t, status.Checkpoint)
}
