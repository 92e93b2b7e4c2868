package replicationtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions"
)

// handsOver is a replica as one that can; every backend's can.
func (g *group) handsOver(i int) replication.PrimaryTransferer {
	g.t.Helper()
	handsOver, ok := g.replicas[i].(replication.PrimaryTransferer)
	require.True(g.t, ok, "it is no replication.PrimaryTransferer")
	return handsOver
}

// transferPrimary goes round, while operations are proposed; nobody is left without an answer, and none is in doubt for
// the handing over.
func transferPrimary(t *testing.T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	last := 0
	for range 4 {
		g.mustCommit(last+1, last+10)
		last += 10
		primary, view := g.primary()
		to := (primary + 1) % len(g.replicas)
		results := make(chan replication.Result, 20)
		for i := range 20 {
			g.replicas[primary].Submit(view, operation(last+i+1), func(r replication.Result) { results <- r })
		}
		err := g.handsOver(primary).TransferPrimary(g.ctx, g.id(to))
		done := 0
		for range 20 {
			r := <-results
			if r.Err == nil {
				done++
			} else if err == nil {
				require.True(t, replication.DidNotHappen(r.Err), r.Err)
			}
		}
		if err == nil {
			require.Equal(t, 20, done, "what was taken is finished first")
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
		g.read()
		for done := 1; done <= 20; done++ {
			if g.machines[g.read()].times(operation(last+done)) == 0 {
				g.mustCommit(last+done, last+done)
			}
		}
		last += 20
	}
	g.converged(last)
}

func transferIsRefused(t *testing.T, b Backend) {
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

// behindSessions has each replica's journal behind a client-table.
type behindSessions struct{ Replicas }

func (b behindSessions) Open(o Options) (replication.Replicator, error) {
	machine, err := sessions.New(o.StateMachine, sessions.Options{})
	if err != nil {
		return nil, err
	}
	o.StateMachine = machine
	return b.Replicas.Open(o)
}

// requestsOnce: through the client-table every request happens once, though primaries die and outcomes are in doubt.
func requestsOnce(t *testing.T, b Backend) {
	inner := b.Make
	b.Make = func(t *testing.T, n int) Replicas { return behindSessions{inner(t, n)} }
	g := newGroup(t, b, 3, Options{CheckpointEvery: 30})
	client, err := sessions.NewClient(func(ctx context.Context, operation []byte) replication.Result {
		for _, replica := range append([]replication.Replicator(nil), g.replicas...) {
			if replica == nil {
				continue
			}
			if status := replica.Status(); status.Leading {
				attempt, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return replication.Propose(attempt, replica, status.View, operation)
			}
		}
		return replication.Result{Err: &replication.NotPrimaryError{}}
	}, sessions.ClientOptions{})
	require.NoError(t, err)
	last := 0
	for range 3 {
		for range 10 {
			last++
			_, err := client.Do(g.ctx, operation(last))
			require.NoError(t, err)
		}
		primary, _ := g.primary()
		g.crash(primary)
		for range 10 {
			last++
			_, err := client.Do(g.ctx, operation(last))
			require.NoError(t, err)
		}
		g.start(primary)
		g.eventually("it takes part again", func() bool {
			_, err := client.Do(g.ctx, []byte("keeps the group busy"))
			return err == nil && g.replicas[primary].Status().Protocol == "normal"
		})
	}
	g.finished(last)
}
