package replicationtest

import (
	"context"
	"errors"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// handsOver is a replica as one that can; every backend's can.
func (g *group) handsOver(i int) replication.PrimaryTransferer {
	g.t.Helper()
	handsOver, ok := g.replicas[i].(replication.PrimaryTransferer)
	require.True(g.t, ok, "it is no replication.PrimaryTransferer")
	return handsOver
}

// transfer has the primary of the moment hand its role over, until it is done: on a busy machine it may be given up.
func (g *group) transfer(to int) {
	g.t.Helper()
	g.eventually("the role is handed over", func() bool {
		primary, _ := g.primary()
		err := g.handsOver(primary).TransferPrimary(g.ctx, g.id(to))
		require.True(g.t, err == nil || givenUp(err), "%v", err)
		return err == nil
	})
}

// givenUp reports whether a transfer did not come about for a reason that passes.
func givenUp(err error) bool {
	return errors.Is(err, replication.ErrBehind) || errors.Is(err, replication.ErrNotPrimary) || errors.Is(err, replication.ErrTransferUnderWay)
}

// transferPrimary goes round, while operations are proposed; nobody is left without an answer, and none is in doubt for
// the handing over.
func transferPrimary(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	last := 0
	for range 4 {
		g.mustCommit(last+1, last+10)
		last += 10
		primary, view := g.primary()
		to := (primary + 1) % len(g.replicas)
		answers := g.newAnswers(20)
		for i := range 20 {
			answers.submit(primary, view, operation(last+i+1))
		}
		err := g.handsOver(primary).TransferPrimary(g.ctx, g.id(to))
		outcomes := answers.wait()
		if err == nil {
			for _, p := range outcomes {
				require.NoError(t, p.result.Err, "what was taken is finished first")
			}
			last += 20
			now, later := g.primary()
			require.Greater(t, later, view)
			if later == view+1 { // on a busy machine another one may have it by now
				require.Equal(t, g.id(to), g.id(now))
			}
			continue
		}
		// The machine is busy: it may be given up for every reason that the contract has.
		require.False(t, errors.Is(err, replication.ErrNoMember), err)
		g.judge(g.read(), outcomes)
		for done := 1; done <= 20; done++ {
			if g.machines[g.read()].times(operation(last+done)) == 0 {
				g.mustCommit(last+done, last+done)
			}
		}
		last += 20
	}
	g.converged(last)
}

// transferUnderLoad: the role goes round while callers go on to whoever leads. No request fails beyond a redirect.
func transferUnderLoad(t T, b Backend) {
	g := newGroup(t, b, 3, Options{Patient: true})
	l := g.underLoad(8)
	for i := range 9 {
		l.more(20)
		g.transfer(i % 3)
	}
	l.more(20)
	all := g.account(l)
	for _, p := range all {
		if p.result.Err != nil {
			require.ErrorIs(t, p.result.Err, replication.ErrNotPrimary, "%q", p.operation)
		}
	}
}

func transferIsRefused(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 1)
	refused := func(want error, from func(primary int) int, to func(primary int) replication.ReplicaID) {
		t.Helper()
		g.eventually(want.Error(), func() bool { // the view may change just then
			primary, _ := g.primary()
			err := g.handsOver(from(primary)).TransferPrimary(g.ctx, to(primary))
			return errors.Is(err, want)
		})
	}
	itself := func(primary int) int { return primary }
	refused(replication.ErrNoMember, itself, func(int) replication.ReplicaID { return 9 })
	g.eventually("who has the role keeps it", func() bool {
		primary, _ := g.primary()
		return g.handsOver(primary).TransferPrimary(g.ctx, g.id(primary)) == nil
	})
	refused(replication.ErrNotPrimary, func(primary int) int { return g.backups(primary)[0] }, g.id)
	g.mustCommit(2, 5)
	primary, _ := g.primary()
	g.finished(5)
	replica := g.handsOver(primary)
	g.stop(primary)
	require.ErrorIs(t, replica.TransferPrimary(g.ctx, 0), replication.ErrClosed)
	alone := newGroup(t, b, 1, Options{})
	alone.mustCommit(1, 1)
	require.ErrorIs(t, alone.handsOver(0).TransferPrimary(alone.ctx, 0), replication.ErrNoMember)
}

// transferToOneThatIsCut is given up in time, and the primary goes on. 0 is somebody else.
func transferToOneThatIsCut(t T, b Backend) {
	transferInVain(t, b, func(g *group, target int) { g.network.isolate(g.id(target)) }, func(g *group, _ int) { g.network.heal() })
}

// transferToOneThatSleeps is given up too, and what the target hears of it later does no harm.
func transferToOneThatSleeps(t T, b Backend) {
	transferInVain(t, b, func(g *group, target int) { g.network.hold(g.id(target)) }, func(g *group, target int) { g.network.release(g.id(target)) })
}

// transferInVain hands the role to one that does not answer.
func transferInVain(t T, b Backend, silence, wake func(g *group, target int)) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	l := g.underLoad(4)
	g.eventually("the target is given up", func() bool { // the view may change just then
		primary, view := g.primary()
		target := g.backups(primary)[0]
		silence(g, target)
		err := g.handsOver(primary).TransferPrimary(g.ctx, g.id(target))
		status := g.replicas[primary].Status()
		wake(g, target)
		require.True(t, givenUp(err), "%v", err)
		return errors.Is(err, replication.ErrBehind) && status.View == view
	})
	l.more(20)
	g.eventually("0 is somebody who answers", func() bool {
		primary, _ := g.primary()
		silent := g.backups(primary)[0]
		silence(g, silent)
		err := g.handsOver(primary).TransferPrimary(g.ctx, 0)
		now, _ := g.primary()
		wake(g, silent)
		return err == nil && now != silent
	})
	l.more(20)
	g.account(l)
	g.mustCommit(6, 10)
	g.finished(10)
}

// transferToOneThatLags: it has to fetch a checkpoint first. Then it is the primary, or the old one goes on.
func transferToOneThatLags(t T, b Backend) {
	g := newGroup(t, b, 3, Options{CheckpointEvery: 20})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	target := g.backups(primary)[0]
	g.network.isolate(g.id(target))
	g.mustCommit(6, 100, target)
	l := g.underLoad(4)
	g.network.heal()
	g.transfer(target)
	l.more(20)
	g.account(l)
	g.holds(target, 100)
}

// transferIsGivenUp with its context, in time, and the primary goes on.
func transferIsGivenUp(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	g.eventually("it is given up", func() bool { // the view may change just then
		primary, _ := g.primary()
		target := g.backups(primary)[0]
		g.network.isolate(g.id(target))
		defer g.network.heal()
		ctx, cancel := context.WithCancel(g.ctx)
		first, handsOver := make(chan error, 1), g.handsOver(primary)
		go func() { first <- handsOver.TransferPrimary(ctx, g.id(target)) }()
		g.eventually("another is refused meanwhile", func() bool {
			// The first may not have come that far, so that this one would be the first: it is over at once.
			ended, end := context.WithCancel(g.ctx)
			end()
			err := handsOver.TransferPrimary(ended, g.id(target))
			return errors.Is(err, replication.ErrTransferUnderWay) || len(first) > 0
		})
		cancel()
		err := <-first
		require.Error(t, err)
		// In doubt it is only when the view was left already, as it may be on a busy machine.
		require.True(t, replication.DidNotHappen(err) || errors.Is(err, context.Canceled), "%v", err)
		return errors.Is(err, context.Canceled) && replication.DidNotHappen(err)
	})
	g.mustCommit(6, 10)
	g.finished(10)
}
