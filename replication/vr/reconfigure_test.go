package vr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

// load is callers that go on to whoever leads, until they are stopped.
type load struct {
	done, refused, unknown atomic.Uint64
	stop                   atomic.Bool
	callers                sync.WaitGroup
	errs                   chan error // neither done nor refused nor unknown
}

// underLoad starts callers.
func (g *group) underLoad(ctx context.Context, callers int) *load {
	l := &load{errs: make(chan error, callers)}
	replicas := slices.Clone(g.replicas) // newcomers are added by those who call join
	for caller := range callers {
		l.callers.Go(func() {
			pause := time.NewTicker(time.Millisecond) // of one who is refused
			defer pause.Stop()
			at := caller % len(replicas)
			for n := 0; !l.stop.Load() && ctx.Err() == nil; {
				status := replicas[at].Status()
				result := replication.Propose(ctx, replicas[at], status.View, fmt.Appendf(nil, "caller %d operation %d", caller, n))
				var refused *replication.NotPrimaryError
				switch {
				case result.Err == nil:
					l.done.Add(1)
					n++
					continue
				case errors.As(result.Err, &refused) && refused.Primary != 0 && int(refused.Primary) <= len(replicas) && int(refused.Primary) != at+1:
					at = int(refused.Primary) - 1
				case errors.Is(result.Err, replication.ErrNotPrimary):
					at = (at + 1) % len(replicas)
				case errors.Is(result.Err, replication.ErrOutcomeUnknown):
					l.unknown.Add(1)
					n++
				default:
					l.errs <- result.Err
					return
				}
				l.refused.Add(1)
				<-pause.C
			}
		})
	}
	return l
}

// more waits until so many more operations are done.
func (g *group) more(l *load, operations uint64) {
	g.t.Helper()
	before := l.done.Load()
	g.eventually("callers get on", func() bool { return l.done.Load() >= before+operations || len(l.errs) > 0 })
}

// end stops the callers.
func (g *group) end(l *load) {
	g.t.Helper()
	l.stop.Store(true)
	l.callers.Wait()
	close(l.errs)
	for err := range l.errs {
		require.NoError(g.t, err, "a caller's request was neither done nor refused")
	}
}

// TestGrowingUnderLoad: one replica becomes three and five, and each change costs the callers a redirect at most. In
// between one dies that is not the primary.
func TestGrowingUnderLoad(t *testing.T) {
	g := newChangingGroup(t, 1, patient)
	g.join()
	g.join()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	callers := g.underLoad(ctx, 8)
	g.more(callers, 50)
	report := g.reconfigure(0, 1, 2)
	require.Len(t, report.Replicas, 3)
	require.True(t, report.Replicas[0].Was && report.Replicas[0].Will && !report.Replicas[1].Was && report.Replicas[1].Will)
	require.Equal(t, "host-2:1", report.Replicas[1].Address)
	g.settled(1, 0, 1, 2)
	g.more(callers, 50)
	g.end(callers)
	leader, _ := g.primary()
	g.join()
	g.join()
	dead := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == leader })[0]
	g.stop(dead)
	running := g.underLoadOf(ctx, 8, dead)
	g.reconfigure(0, 1, 2, 3, 4)
	g.more(running, 50)
	g.end(running)
	g.start(dead)
	g.settled(2, 0, 1, 2, 3, 4)
	require.Zero(t, callers.unknown.Load()+running.unknown.Load())
	g.converged(callers.done.Load() + running.done.Load())
	for i := range 5 {
		require.Equal(t, callers.done.Load()+running.done.Load(), g.operations(i), "nothing is there twice")
	}
	require.NotZero(t, callers.done.Load())
	g.sameLogs(0, 1, 2, 3, 4)
}

// underLoadOf starts callers who leave one replica out.
func (g *group) underLoadOf(ctx context.Context, callers, without int) *load {
	all := g.replicas
	defer func() { g.replicas = all }()
	g.replicas = slices.Clone(all)
	g.replicas[without] = g.replicas[(without+1)%len(all)]
	return g.underLoad(ctx, callers)
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

// TestShrinking: five become three and one, each time without the primary, and nothing that callers asked is lost.
func TestShrinking(t *testing.T) {
	g := newChangingGroup(t, 5, patient)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g.primary()
	callers := g.underLoad(ctx, 8)
	stay := []int{0, 1, 2, 3, 4}
	for epoch := uint64(1); len(stay) > 1; epoch++ {
		g.more(callers, 50)
		leader, view := g.primary()
		last := stay[len(stay)-1]
		leave := []int{leader, last}
		if leader == last {
			leave[1] = stay[0]
		}
		stay = slices.DeleteFunc(slices.Clone(stay), func(i int) bool { return slices.Contains(leave, i) })
		g.reconfigure(stay...)
		g.settled(epoch, stay...)
		next, now := g.primary()
		require.NotEqual(t, leader, next)
		require.Greater(t, now, view, "views that lead ascend over epochs")
		var refused *replication.NotMemberError
		require.ErrorAs(t, replication.Propose(ctx, g.replicas[leader], view, []byte("late")).Err, &refused)
		require.True(t, replication.DidNotHappen(refused))
		require.ErrorIs(t, refused, replication.ErrNotPrimary)
		require.EqualValues(t, epoch, refused.Membership.Epoch)
		require.Equal(t, members(stay...), refused.Membership.Members, "they have addresses: whoever is refused can go on")
		require.Contains(t, refused.Error(), fmt.Sprintf("epoch %d", epoch))
		for _, i := range leave {
			g.eventually("it has left", func() bool { return g.replicas[i].Status().Protocol == "left" })
		}
	}
	g.more(callers, 50)
	g.end(callers)
	require.Zero(t, callers.unknown.Load(), "no request failed beyond a redirect")
	require.NotZero(t, callers.refused.Load())
	require.Equal(t, callers.done.Load(), g.operations(stay[0]))
	for i := range g.replicas {
		if i != stay[0] {
			g.left(i)
		}
	}
	g.mustCommit(1, 5)
	g.sameLogs(0, 1, 2, 3, 4)
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
