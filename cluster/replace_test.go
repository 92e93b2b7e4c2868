package cluster_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/bank"
)

// TestEveryMemberIsReplaced: while money moves between two shards, all members of one of them and of the coordinator are
// replaced by others, in two changes each. No transfer fails, the books are right, and who knows only the first
// coordinators finds those of today: a clerk by one of the first that has left and runs yet, and a shard that restarts when
// they are all gone by what it wrote down.
func TestEveryMemberIsReplaced(t *testing.T) { onBackendsInFull(t, testEveryMemberIsReplaced) }

func testEveryMemberIsReplaced(t *testing.T, backend string) {
	const accounts = 30
	// Nobody who is asked to do anything fails here: views are to change for no other reason, however slow the machine is.
	c := clustertest.Start(t, cluster.Options{Backend: backend, Tuning: cluster.Tuning{ViewChangeTimeoutMin: time.Second, ViewChangeTimeoutMax: 2 * time.Second}})
	ctx, cancel := context.WithTimeout(t.Context(), 8*patience)
	defer cancel()
	first := c.Endpoints()
	connected := clustertest.Clerk(t, c)
	require.NoError(t, bank.OpenAccounts(ctx, connected, accounts))
	ledger := bank.NewLedger(accounts)
	running, stop := context.WithCancel(t.Context())
	defer stop()
	var moving sync.WaitGroup
	moving.Go(func() {
		ledger.Run(running, []*clerk.Clerk{connected}, bank.RunOptions{Callers: 4, Timeout: 8 * patience, Prefix: "r"})
	})
	replace := func(group uint32, gone ...uint32) {
		t.Helper()
		var newcomers []uint32
		for range gone {
			replica, err := c.AddNode(ctx, group)
			require.NoError(t, err)
			newcomers = append(newcomers, replica)
		}
		require.NoError(t, c.ChangeMembers(ctx, group, newcomers, gone))
		moreMoney(t, ledger, 20)
	}
	for _, group := range []uint32{1, cluster.CoordinatorGroup} {
		replace(group, 1)
		require.NoError(t, c.Kill(group, 1))
		replace(group, 2, 3)
		require.NoError(t, c.Kill(group, 2))
		moreMoney(t, ledger, 20)
	}
	require.NoError(t, c.Kill(1, 3))
	require.NoError(t, c.AwaitWhole(ctx))

	newcomer, err := clerk.Dial(ctx, clerk.Options{Coordinators: first})
	require.NoError(t, err)
	defer func() { require.NoError(t, newcomer.Close()) }()
	total, err := bank.Total(ctx, newcomer, accounts)
	require.NoError(t, err)
	require.EqualValues(t, accounts*bank.Initial, total)
	require.NoError(t, bank.NewTransfer(newcomer, "newcomer", 1, 2, 5).Do(ctx, newcomer))

	require.NoError(t, c.Kill(cluster.CoordinatorGroup, 3)) // the last that the shards' files name
	for replica := uint32(1); replica <= 3; replica++ {
		require.NoError(t, c.Kill(2, replica))
		require.NoError(t, c.Restart(2, replica))
	}
	moreMoney(t, ledger, 20)
	require.NoError(t, c.AwaitWhole(ctx))
	stop()
	moving.Wait()
	require.Empty(t, ledger.Failures())
	require.Zero(t, ledger.Counts().Unknown)
	audit, err := ledger.Audit(ctx, connected)
	require.NoError(t, err)
	require.EqualValues(t, accounts*bank.Initial, audit.Total)
	t.Logf("%+v", audit)
}

// moreMoney waits until so many more transfers are committed.
func moreMoney(t *testing.T, ledger *bank.Ledger, more int) {
	t.Helper()
	until := ledger.Counts().Committed + more
	require.Eventually(t, func() bool { return ledger.Counts().Committed >= until }, 2*patience, 10*time.Millisecond)
}
