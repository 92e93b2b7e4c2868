package vr_test

import (
	"context"
	"errors"
	"fmt"
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

// transfer has the primary of the moment hand its role over, and returns who it was.
func (g *group) transfer(to replication.ReplicaID) (from int, view replication.ViewNumber, err error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	from, view = g.primary()
	return from, view, g.replicas[from].TransferPrimary(ctx, to)
}

func TestTransferPrimaryToEachOther(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		g := newMemoryGroup(t, n, nil)
		g.mustCommit(1, 5)
		for to := range n {
			from, view, err := g.transfer(replication.ReplicaID(to + 1))
			require.NoError(t, err)
			leader, now := g.primary()
			require.Equal(t, to, leader)
			if from != to {
				require.Greater(t, now, view)
				var refused *replication.NotPrimaryError
				require.ErrorAs(t, replication.Propose(t.Context(), g.replicas[from], view, []byte("late")).Err, &refused)
				require.Equal(t, replication.ReplicaID(to+1), refused.Primary, "who asks is sent on")
				require.NotZero(t, g.value(from, "view_changes.handover"))
			}
			require.NotZero(t, g.value(from, "handovers.done"))
			g.mustCommit(10*(to+1), 10*(to+1)+5)
		}
		g.converged(uint64(5 + 6*n))
	}
}

func TestTransferPrimaryIsRefused(t *testing.T) {
	g := newMemoryGroup(t, 3, nil)
	leader, view := g.primary()
	backup := g.backups(leader)[0]
	err := g.replicas[backup].TransferPrimary(t.Context(), 0)
	var notPrimary *replication.NotPrimaryError
	require.ErrorAs(t, err, &notPrimary)
	require.Equal(t, replication.ReplicaID(leader+1), notPrimary.Primary)
	require.ErrorIs(t, g.replicas[leader].TransferPrimary(t.Context(), 9), replication.ErrNoMember)
	require.NoError(t, g.replicas[leader].TransferPrimary(t.Context(), replication.ReplicaID(leader+1)), "it has the role")
	require.True(t, replication.DidNotHappen(replication.ErrBehind))
	require.Equal(t, uint64(1), g.value(leader, "handovers.refused"))
	_, now := g.primary()
	require.Equal(t, view, now)
	g.stop(leader)
	alone := newMemoryGroup(t, 1, nil)
	alone.primary()
	require.ErrorIs(t, alone.replicas[0].TransferPrimary(t.Context(), 0), replication.ErrNoMember)
	require.NoError(t, alone.replicas[0].Close())
	require.ErrorIs(t, alone.replicas[0].TransferPrimary(t.Context(), 0), replication.ErrClosed)
	alone.replicas[0] = nil
}

// TestTransferPrimaryToADeadReplica is given up in a time that the options bound, and the primary has served all
// the while.
func TestTransferPrimaryToADeadReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		leader, view := g.primary()
		dead, alive := g.backups(leader)[0], g.backups(leader)[1]
		g.stop(dead)
		began := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- g.replicas[leader].TransferPrimary(t.Context(), replication.ReplicaID(dead+1)) }()
		synctest.Wait()
		require.ErrorIs(t, g.replicas[leader].TransferPrimary(t.Context(), replication.ReplicaID(alive+1)), replication.ErrTransferUnderWay)
		committed := 0
		for ; len(ended) == 0; committed++ {
			result := replication.Propose(t.Context(), g.replicas[leader], view, fmt.Appendf(nil, "operation %d", committed))
			require.NoError(t, result.Err)
			time.Sleep(vr.TickIntervalDefault)
		}
		require.ErrorIs(t, <-ended, replication.ErrBehind)
		require.Greater(t, committed, 100)
		require.LessOrEqual(t, time.Since(began), 5*vr.ViewChangeTimeoutMaxDefault)
		require.NoError(t, g.replicas[leader].TransferPrimary(t.Context(), 0))
		now, _ := g.primary()
		require.Equal(t, alive, now, "0 is who answers")
		g.closeAll()
	})
}

// TestTransferPrimaryEndsWithItsContext: in time it is given up, and later its outcome is unknown, and says so.
func TestTransferPrimaryEndsWithItsContext(t *testing.T) {
	var cutting atomic.Bool
	network := make(chan *network, 1)
	g := newMemoryGroup(t, 3, func(o *vr.Options) {
		self := core.ReplicaID(o.Self)
		o.ViewChangeTimeoutMin = 2 * time.Second
		o.Trace = func(event vr.TraceEvent) {
			if event.Kind == vr.TraceSent && event.Message.Kind == core.KindStartViewChange && cutting.CompareAndSwap(true, false) {
				(<-network).cut(self, true, true)
			}
		}
	})
	network <- g.network
	leader, view := g.primary()
	dead := g.backups(leader)[0]
	g.stop(dead)
	cause := errors.New("no more patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.replicas[leader].TransferPrimary(ctx, replication.ReplicaID(dead+1)) }()
	cancel(cause)
	err := <-ended
	require.ErrorIs(t, err, cause)
	require.True(t, replication.DidNotHappen(err))
	require.NoError(t, replication.Propose(t.Context(), g.replicas[leader], view, []byte("x")).Err)

	// The backup that is left answers, and the primary is cut off when it leaves its view: it never hears the rest.
	ctx, cancel = context.WithCancelCause(t.Context())
	cutting.Store(true)
	go func() { ended <- g.replicas[leader].TransferPrimary(ctx, 0) }()
	g.eventually("the view is left", func() bool { return g.replicas[leader].Status().View > view })
	cancel(cause)
	err = <-ended
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
}

// TestCloseWhileHandingOver answers the caller.
func TestCloseWhileHandingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		leader, _ := g.primary()
		dead := g.backups(leader)[0]
		g.stop(dead)
		ended := make(chan error, 1)
		go func() { ended <- g.replicas[leader].TransferPrimary(t.Context(), replication.ReplicaID(dead+1)) }()
		synctest.Wait()
		g.stop(leader)
		err := <-ended
		require.ErrorIs(t, err, replication.ErrClosed)
		require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
		g.closeAll()
	})
}

// TestTransferTakesLittleTime: in a group whose disks and network take no time, the role is elsewhere within a tick.
func TestTransferTakesLittleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storages := []vr.Storage{storage.NewMemory(), storage.NewMemory(), storage.NewMemory()}
		g := newGroupOver(t, storages, nil)
		g.primary()
		began := time.Now()
		_, _, err := g.transfer(0)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), vr.TickIntervalDefault)
		g.closeAll()
	})
}
