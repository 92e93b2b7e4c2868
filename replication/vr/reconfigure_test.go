package vr_test

import (
	"context"
	"errors"
	"fmt"
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

// newChangingGroup is a group without files whose members are to change.
func newChangingGroup(t *testing.T, n int, change func(*vr.Options)) *group {
	t.Helper()
	g := newMemoryGroup(t, 0, change)
	g.first, g.gaps = n, true
	for range n {
		g.grow()
	}
	for i := range n {
		g.start(i)
	}
	return g
}

// patient has no primary lost on a machine that is busy with other things, for as long as a test takes.
func patient(o *vr.Options) { o.ViewChangeTimeoutMin = 10 * time.Second }

// steady is patient for a while, where others are to be missed in the end.
func steady(o *vr.Options) { o.ViewChangeTimeoutMin = 2 * time.Second }

// grow makes room for one more replica and returns its place.
func (g *group) grow() int {
	g.storages = append(g.storages, storage.NewMemory())
	g.directories, g.machines, g.replicas = append(g.directories, ""), append(g.machines, nil), append(g.replicas, nil)
	return len(g.replicas) - 1
}

// join starts a newcomer, which is no member yet.
func (g *group) join() int {
	g.t.Helper()
	i := g.grow()
	g.joinAt(i)
	return i
}

// joinAt starts the newcomer of a place that is there.
func (g *group) joinAt(i int) {
	g.t.Helper()
	leader, _ := g.primary()
	g.asked[i] = g.replicas[leader].Status().Members
	g.start(i)
}

// members are those of these places, all with addresses: whoever joins knows no others.
func members(places ...int) []replication.Member {
	next := make([]replication.Member, len(places))
	for i, place := range places {
		next[i] = replication.Member{ID: replication.ReplicaID(place + 1), Address: fmt.Sprintf("host-%d:1", place+1)}
	}
	return next
}

// reconfigure changes the members to those at these places.
func (g *group) reconfigure(places ...int) replication.Report {
	g.t.Helper()
	return g.becomes(members(places...)...)
}

// becomes changes the members, waiting for newcomers and for a primary, and returns the report of the primary that did it.
func (g *group) becomes(next ...replication.Member) replication.Report {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for last := error(nil); ; {
		leader, _ := g.primary()
		before := g.replicas[leader].Membership()
		report, err := g.replicas[leader].Reconfigure(ctx, replication.Change{Epoch: before.Epoch + 1, Members: next})
		if err == nil {
			require.Equal(g.t, before.Epoch+1, report.Epoch)
			return report
		}
		if ctx.Err() != nil {
			g.show()
			require.NoError(g.t, errors.Join(ctx.Err(), last))
		}
		last = err
		retry := errors.Is(err, replication.ErrNewcomer) || errors.Is(err, replication.ErrQuorum) || errors.Is(err, replication.ErrNotPrimary)
		require.True(g.t, retry || errors.Is(err, replication.ErrReconfiguring), "%v", err)
		time.Sleep(vr.TickIntervalDefault) // nothing is waited for but time itself: to be heard takes some
	}
}

// settled waits until exactly these are members, in this epoch, one of them leads, and all know it.
func (g *group) settled(epoch uint64, places ...int) {
	g.t.Helper()
	var ids []replication.ReplicaID
	for _, place := range places {
		ids = append(ids, replication.ReplicaID(place+1))
	}
	g.eventually(fmt.Sprintf("epoch %d of %v", epoch, ids), func() bool {
		leading := false
		for _, place := range places {
			if g.replicas[place] == nil {
				continue
			}
			status := g.replicas[place].Status()
			if status.Epoch != epoch || status.Protocol != "normal" || !slices.Equal(status.Members, ids) {
				return false
			}
			leading = leading || status.Leading
		}
		return leading
	})
}

// left waits until a replica has left, and closes it.
func (g *group) left(place int) {
	g.t.Helper()
	g.eventually("a replica has left", func() bool { return g.replicas[place].Status().Protocol == "left" })
	g.stop(place)
}

// sameLogs closes all replicas and compares what is left of their logs on the disks of those at these places.
func (g *group) sameLogs(places ...int) {
	g.t.Helper()
	g.closeAll()
	hashes, compared := map[core.OpNumber]core.Hash{}, 0
	for _, place := range places {
		loaded, err := g.storages[place].Load()
		require.NoError(g.t, err)
		for _, e := range loaded.Entries {
			if hash, known := hashes[e.Op]; known {
				require.Equal(g.t, hash, e.Hash, "op-number %d", e.Op)
				compared++
			}
			hashes[e.Op] = e.Hash
		}
	}
	require.True(g.t, compared > 0 || len(places) == 1)
}

// measured is a value at this moment.
func (g *group) measured(place int, name string) uint64 {
	g.t.Helper()
	values := g.replicas[place].Measure().Values
	require.Contains(g.t, values, name)
	return values[name]
}

func (g *group) operations(place int) uint64 {
	applied, _ := g.machines[place].state()
	return applied
}

// TestReplacingADeadMember: the dead one's place is taken by a newcomer, and the group bears another failure.
func TestReplacingADeadMember(t *testing.T) {
	g := newChangingGroup(t, 3, nil)
	g.mustCommit(1, 20)
	leader, _ := g.primary()
	dead := g.backups(leader)[0]
	g.stop(dead)
	fresh := g.join()
	next := slices.DeleteFunc([]int{0, 1, 2, fresh}, func(i int) bool { return i == dead })
	g.reconfigure(next...)
	g.settled(1, next...)
	g.mustCommit(21, 40)
	leader, _ = g.primary()
	second := slices.DeleteFunc(g.backups(leader), func(i int) bool { return i == fresh })
	g.stop(second[0])
	g.mustCommit(41, 60)
	g.converged(60)
	// The dead one comes back, hears that it is a member no more, and leaves.
	g.start(dead)
	g.start(second[0])
	g.settled(1, next...)
	g.eventually("the dead one has left", func() bool { return g.replicas[dead].Status().Protocol == "left" })
	var refused *replication.NotMemberError
	require.ErrorAs(t, replication.Propose(t.Context(), g.replicas[dead], 1, []byte("x")).Err, &refused)
	require.EqualValues(t, 1, refused.Membership.Epoch)
	require.ErrorAs(t, replication.AwaitReadBarrier(t.Context(), g.replicas[dead], 1), &refused)
	g.left(dead)
	g.converged(60)
	g.sameLogs(next...)
}

// TestADryRunChangesNothing, and tells what there would be.
func TestADryRunChangesNothing(t *testing.T) {
	g := newChangingGroup(t, 3, patient)
	g.mustCommit(1, 10)
	fresh := g.join()
	leader, view := g.primary()
	var report replication.Report
	g.eventually("the newcomer is ready", func() bool {
		var err error
		report, err = g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(0, 1, fresh), DryRun: true})
		return err == nil && report.Replicas[fresh].Lag == 0
	})
	require.EqualValues(t, 1, report.Epoch)
	for i, row := range report.Replicas {
		require.Equal(t, replication.ReplicaReport{
			Member: row.Member, Was: i != fresh, Will: i != 2, Heard: true, Op: 10, Ready: true,
		}, row)
		require.Equal(t, replication.ReplicaID(i+1), row.ID)
	}
	status := g.replicas[leader].Status()
	require.Zero(t, status.Epoch)
	require.Equal(t, view, status.View)
	require.EqualValues(t, 10, status.Op, "nothing was proposed")
	require.Equal(t, []replication.ReplicaID{1, 2, 3}, status.Members)
	require.Equal(t, "transitioning", g.replicas[fresh].Status().Protocol)
	require.EqualValues(t, 1, g.measured(leader, "learners"))
	for _, outcome := range []string{"refused", "done", "overtaken", "unknown"} {
		require.Zero(t, g.measured(leader, "reconfigurations."+outcome))
	}
	g.mustCommit(11, 20)
}

// TestReconfigurationsThatAreRefused: each by its own error, and nothing has changed afterwards.
func TestReconfigurationsThatAreRefused(t *testing.T) {
	g := newChangingGroup(t, 3, steady)
	g.mustCommit(1, 5)
	leader, _ := g.primary()
	backup := g.backups(leader)[0]
	for _, test := range []struct {
		name   string
		change replication.Change
		err    error
	}{
		{"nobody", replication.Change{}, replication.ErrMembership},
		{"the same", replication.Change{Members: []replication.Member{{ID: 3}, {ID: 2}, {ID: 1}}}, replication.ErrMembership},
		{"one twice", replication.Change{Members: members(0, 0, 1)}, replication.ErrMembership},
		{"replica 0", replication.Change{Members: members(-1, 0)}, replication.ErrMembership},
		{"too many", replication.Change{Members: make([]replication.Member, 64)}, replication.ErrMembership},
		{"a long address", replication.Change{Members: []replication.Member{{ID: 1, Address: string(make([]byte, 256))}}}, replication.ErrMembership},
		{"a witness", replication.Change{Members: []replication.Member{{ID: 1}, {ID: 2}, {ID: 3, Witness: true}}}, replication.ErrMembership},
		{"an epoch that is not the next", replication.Change{Members: members(0, 1), Epoch: 2}, replication.ErrMembership},
		{"a newcomer that nobody has heard", replication.Change{Members: members(0, 1, 2, 8)}, replication.ErrNewcomer},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := g.measured(leader, "reconfigurations.refused")
			report, err := g.replicas[leader].Reconfigure(t.Context(), test.change)
			require.ErrorIs(t, err, test.err)
			require.True(t, replication.DidNotHappen(err))
			require.Equal(t, before+1, g.measured(leader, "reconfigurations.refused"))
			require.Equal(t, test.err == replication.ErrNewcomer, len(report.Replicas) > 0) //nolint:errorlint // the table's own
			test.change.DryRun = true
			_, err = g.replicas[leader].Reconfigure(t.Context(), test.change)
			require.ErrorIs(t, err, test.err, "a dry run gives the same verdict")
		})
	}
	_, err := g.replicas[backup].Reconfigure(t.Context(), replication.Change{Members: members(0, 1)})
	var notPrimary *replication.NotPrimaryError
	require.ErrorAs(t, err, &notPrimary)
	require.EqualValues(t, leader+1, notPrimary.Primary)
	require.NotErrorAs(t, err, new(*replication.NotMemberError))
	g.stop(backup)
	g.eventually("a change that would stop the group is refused", func() bool {
		_, err = g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader, backup), DryRun: true})
		return errors.Is(err, replication.ErrQuorum)
	})
	require.Zero(t, g.replicas[leader].Status().Epoch)
	g.mustCommit(6, 10)
	replica := g.replicas[leader]
	g.closeAll()
	_, err = replica.Reconfigure(t.Context(), replication.Change{Members: members(0, 1)})
	require.ErrorIs(t, err, replication.ErrClosed)
}

// TestOneReconfigurationAtATime, and none beside a transfer of the primary's role.
func TestOneReconfigurationAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newChangingGroup(t, 3, nil)
		leader, _ := g.primary()
		dead := g.backups(leader)[0]
		g.stop(dead)
		ended := make(chan error, 1)
		go func() { ended <- g.replicas[leader].TransferPrimary(t.Context(), replication.ReplicaID(dead+1)) }()
		synctest.Wait()
		_, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader)})
		require.ErrorIs(t, err, replication.ErrTransferUnderWay)
		require.ErrorIs(t, <-ended, replication.ErrBehind)

		// The other backup's answers are lost: the change stays where it is.
		g.network.cut(core.ReplicaID(g.backups(leader)[0]+1), false, true)
		go func() {
			_, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader)})
			ended <- err
		}()
		synctest.Wait()
		_, err = g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader)})
		require.ErrorIs(t, err, replication.ErrReconfiguring)
		require.ErrorIs(t, g.replicas[leader].TransferPrimary(t.Context(), 0), replication.ErrReconfiguring)
		g.network.heal()
		require.NoError(t, <-ended)
		g.settled(1, leader)
		g.closeAll()
	})
}
