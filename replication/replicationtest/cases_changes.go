package replicationtest

import (
	"context"
	"errors"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// newcomerThatIsNotReady is refused each time, and the report says why: one that does not run, and one that is not heard
// any more.
func newcomerThatIsNotReady(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	fresh := g.grow()
	change := replication.Change{Members: members(0, 1, 2, fresh)}
	dry := change
	dry.DryRun = true
	notReady := func(what string, change replication.Change) {
		t.Helper()
		g.eventually(what, func() bool { // the view may change just then
			primary, _ := g.primary()
			report, err := g.changes(primary).Reconfigure(g.ctx, change)
			if !errors.Is(err, replication.ErrNewcomer) || report.Replicas[fresh].Heard {
				require.True(t, err == nil && change.DryRun || again(err), "%v", err)
				return false
			}
			require.True(t, replication.DidNotHappen(err))
			require.Len(t, report.Replicas, 4)
			require.False(t, report.Replicas[fresh].Ready)
			return true
		})
	}
	notReady("it does not run", change)
	g.joinAt(fresh)
	g.eventually("it is ready", func() bool {
		primary, _ := g.primary()
		_, err := g.changes(primary).Reconfigure(g.ctx, dry)
		return err == nil
	})
	g.network.isolate(g.id(fresh))
	notReady("it is not heard any more", dry)
	notReady("it is not heard any more", change)
	g.mustCommit(11, 20)
	primary, _ := g.primary()
	require.Zero(t, g.changes(primary).Membership().Epoch)
	g.network.heal()
	g.reconfigure(0, 1, 2, fresh)
	g.settled(1, 0, 1, 2, fresh)
	g.finished(20)
}

// changeThatWouldLoseTheQuorum is refused, as long as it would.
func changeThatWouldLoseTheQuorum(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	var primary, dead int
	g.eventually("a primary misses a backup", func() bool { // the view may change just then
		primary, _ = g.primary()
		if g.replicas[dead] != nil {
			dead = g.backups(primary)[0]
			g.stop(dead)
		}
		report, err := g.changes(primary).Reconfigure(g.ctx, replication.Change{Members: members(primary, dead), DryRun: true})
		if err == nil || !errors.Is(err, replication.ErrQuorum) {
			return false
		}
		require.NotEmpty(t, report.Replicas)
		return true
	})
	_, err := g.changes(primary).Reconfigure(g.ctx, replication.Change{Members: members(primary, dead)})
	require.True(t, errors.Is(err, replication.ErrQuorum) || errors.Is(err, replication.ErrNotPrimary), "%v", err)
	g.mustCommit(6, 10)
	g.start(dead)
	primary, _ = g.primary()
	require.Zero(t, g.changes(primary).Membership().Epoch)
	g.reconfigure(primary, dead)
	g.settled(1, primary, dead)
	g.mustCommit(11, 15)
	g.holds(g.read(), 15)
}

// malformedChanges are refused, each by its own error, and nothing has changed afterwards.
func malformedChanges(t T, b Backend) {
	g := newGroup(t, b, 3, Options{Patient: true})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	backup := g.backups(primary)[0]
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
		{"an address that is no text", replication.Change{Members: []replication.Member{{ID: 1, Address: "\xff"}}}, replication.ErrMembership},
		{"a member turned into a witness", replication.Change{Members: []replication.Member{{ID: 1}, {ID: 2}, {ID: 3, Witness: true}}}, replication.ErrMembership},
		{"an epoch that is not the next", replication.Change{Members: members(0, 1), Epoch: 2}, replication.ErrMembership},
		{"a newcomer that nobody has heard", replication.Change{Members: members(0, 1, 2, 8)}, replication.ErrNewcomer},
	} {
		before := g.measured(primary, "reconfigurations.refused")
		report, err := g.changes(primary).Reconfigure(g.ctx, test.change)
		require.ErrorIs(t, err, test.err, test.name)
		require.True(t, replication.DidNotHappen(err), test.name)
		require.Equal(t, errors.Is(err, replication.ErrNewcomer), len(report.Replicas) > 0, test.name)
		require.Equal(t, before+1, g.measured(primary, "reconfigurations.refused"), test.name)
		test.change.DryRun = true
		_, err = g.changes(primary).Reconfigure(g.ctx, test.change)
		require.ErrorIs(t, err, test.err, "%s: a dry run gives the same verdict", test.name)
	}
	_, err := g.changes(backup).Reconfigure(g.ctx, replication.Change{Members: members(0, 1)})
	var notPrimary *replication.NotPrimaryError
	require.ErrorAs(t, err, &notPrimary)
	require.NotErrorAs(t, err, new(*replication.NotMemberError))
	ended, cancel := context.WithCancel(g.ctx)
	cancel()
	_, err = g.changes(primary).Reconfigure(ended, replication.Change{Members: members(0, 1)})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, replication.DidNotHappen(err))
	g.mustCommit(6, 10)
	require.Zero(t, g.changes(primary).Membership().Epoch)
	g.finished(10)
	changes := g.changes(primary)
	g.stop(primary)
	_, err = changes.Reconfigure(g.ctx, replication.Change{Members: members(0, 1)})
	require.ErrorIs(t, err, replication.ErrClosed)
}

// twoChangesAtOnce: one at the most is made, and the other certainly is not.
func twoChangesAtOnce(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	var made []int
	g.eventually("one of two is made", func() bool { // the view may change just then
		primary, _ := g.primary()
		before := g.changes(primary).Membership()
		backups := g.backups(primary)
		var errs [2]error
		var callers sync.WaitGroup
		for i := range errs {
			changes, stay := g.changes(primary), members(without([]int{0, 1, 2}, backups[i])...)
			callers.Go(func() {
				_, errs[i] = changes.Reconfigure(g.ctx, replication.Change{Epoch: before.Epoch + 1, Members: stay})
			})
		}
		callers.Wait()
		for i, err := range errs {
			if err == nil {
				require.Nil(t, made, "both were made, for the same epoch")
				made = without([]int{0, 1, 2}, backups[i])
				continue
			}
			require.True(t, again(err) || errors.Is(err, replication.ErrMembership), "%v", err)
			require.True(t, replication.DidNotHappen(err))
		}
		return made != nil
	})
	g.settled(1, made...)
	g.mustCommit(6, 10)
	g.holds(g.read(), 10)
}

// changeThatIsUnderWay: a second one is refused until the first has come to its end, and a transfer too.
func changeThatIsUnderWay(t T, b Backend) { secondChange(t, b, false) }

// changeThatIsGivenUp by its caller when it has been proposed is made all the same, and he is not told anything else.
func changeThatIsGivenUp(t T, b Backend) { secondChange(t, b, true) }

func secondChange(t T, b Backend, givenUp bool) {
	g := newGroup(t, b, 3, Options{Patient: true})
	g.mustCommit(1, 5)
	g.converged(5)
	primary, _ := g.primary()
	for _, i := range g.backups(primary) {
		g.network.cut(g.id(i), g.id(primary)) // what they acknowledge does not arrive
	}
	stay := without([]int{0, 1, 2}, g.backups(primary)[0])
	changes, first := g.changes(primary), make(chan error, 1)
	ctx, giveUp := context.WithCancel(g.ctx)
	defer giveUp()
	go func() {
		_, err := changes.Reconfigure(ctx, replication.Change{Members: members(stay...)})
		first <- err
	}()
	g.eventually("the second is refused", func() bool {
		_, err := changes.Reconfigure(g.ctx, replication.Change{Members: members(stay...), DryRun: true})
		return errors.Is(err, replication.ErrReconfiguring)
	})
	_, err := changes.Reconfigure(g.ctx, replication.Change{Members: members(stay...)})
	require.ErrorIs(t, err, replication.ErrReconfiguring)
	require.ErrorIs(t, g.handsOver(primary).TransferPrimary(g.ctx, 0), replication.ErrReconfiguring)
	require.Empty(t, first)
	if givenUp {
		giveUp()
		err := <-first
		require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.Canceled)
		g.network.heal()
	} else {
		g.network.heal()
		require.NoError(t, <-first)
	}
	g.settled(1, stay...)
	g.mustCommit(6, 10)
}

// dryRun tells what there would be, and changes nothing.
func dryRun(t T, b Backend) {
	g := newGroup(t, b, 3, Options{Patient: true})
	g.mustCommit(1, 10)
	fresh := g.join()
	primary, view := g.primary()
	before := g.changes(primary).Membership()
	change := replication.Change{Members: members(0, 1, fresh), DryRun: true}
	var report replication.Report
	g.eventually("the newcomer is ready", func() bool {
		var err error
		report, err = g.changes(primary).Reconfigure(g.ctx, change)
		require.Equal(t, before, g.changes(primary).Membership())
		return err == nil && report.Replicas[fresh].Lag == 0
	})
	require.EqualValues(t, 1, report.Epoch)
	for i, row := range report.Replicas {
		require.Equal(t, g.id(i), row.ID)
		require.Equal(t, []bool{i != fresh, i != 2, true, true}, []bool{row.Was, row.Will, row.Heard, row.Ready}, "replica %d", row.ID)
		require.GreaterOrEqual(t, row.Op, replication.OpNumber(10), "replica %d", row.ID)
	}
	require.Equal(t, before, g.changes(primary).Membership())
	for _, outcome := range []string{"refused", "done", "overtaken", "unknown"} {
		require.Zero(t, g.measured(primary, "reconfigurations."+outcome))
	}
	require.EqualValues(t, 1, g.measured(primary, "learners"))
	now, later := g.primary()
	require.Equal(t, primary, now)
	require.Equal(t, view, later)
	require.Equal(t, "transitioning", g.replicas[fresh].Status().Protocol)
	g.mustCommit(11, 20)
	g.stop(fresh)
	g.finished(20)
	require.Equal(t, before, g.changes(primary).Membership())
}

// changeWithACrash of the primary in the middle: whoever leads next tells what became of it, and the caller was told
// nothing else. First somebody is added, then the primary that dies is to leave.
func changeWithACrash(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	fresh := g.join()
	everybody := []int{0, 1, 2, fresh}
	last := 10
	for made := false; !made; last += 5 {
		var primary int
		primary, made = g.crashWhileChanging(0, func(int) []int { return everybody })
		g.mustCommit(last+1, last+5)
		g.start(primary)
		g.whole(primary)
	}
	g.settled(1, everybody...)
	for made := false; !made; last += 5 {
		var primary int
		primary, made = g.crashWhileChanging(1, func(primary int) []int { return without(everybody, primary) })
		g.mustCommit(last+1, last+5)
		if g.start(primary); made {
			g.left(primary, 2, without(everybody, primary)...)
			g.settled(2, without(everybody, primary)...)
		} else {
			g.whole(primary)
		}
	}
	g.finished(last)
}

// crashWhileChanging has the primary crash while it changes the members, and reports who that was and whether the change was
// made.
func (g *group) crashWhileChanging(epoch uint64, next func(primary int) []int) (primary int, made bool) {
	g.t.Helper()
	var changes replication.Reconfigurer
	var stay []replication.Member
	g.eventually("the change could be made", func() bool {
		primary, _ = g.primary()
		changes, stay = g.changes(primary), members(next(primary)...)
		_, err := changes.Reconfigure(g.ctx, replication.Change{Members: stay, DryRun: true})
		return err == nil
	})
	ended := make(chan error, 1)
	op := g.replicas[primary].Status().Op
	go func() {
		_, err := changes.Reconfigure(g.ctx, replication.Change{Epoch: epoch + 1, Members: stay})
		ended <- err
	}()
	g.eventually("it is proposed, or refused", func() bool { return g.replicas[primary].Status().Op > op || len(ended) > 0 })
	g.crash(primary)
	err := <-ended
	got := g.changes(g.read()).Membership()
	made = got.Epoch == epoch+1
	if made {
		require.Equal(g.t, stay, got.Members)
		require.False(g.t, replication.DidNotHappen(err), "%v", err)
		return primary, true
	}
	require.Equal(g.t, epoch, got.Epoch)
	require.Error(g.t, err)
	return primary, false
}
