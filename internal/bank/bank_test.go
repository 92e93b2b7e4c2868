package bank

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/txn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const accountsInTests = 20

// run moves money until so many transfers have committed, and returns the books about them.
func run(t *testing.T, c *clerk.Clerk, prefix string, commits int) *Ledger {
	t.Helper()
	require.NoError(t, OpenAccounts(t.Context(), c, accountsInTests))
	ledger := NewLedger(accountsInTests)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ledger.Run(ctx, []*clerk.Clerk{c}, RunOptions{Callers: 4, Prefix: prefix})
	}()
	for _, shard := range []txn.ShardID{0, 1, 2} {
		after, err := ledger.NextCommit(shard)(ctx)
		require.NoError(t, err)
		require.Positive(t, after)
	}
	for ledger.Counts().Committed < commits {
		_, err := ledger.NextCommit(0)(ctx)
		require.NoError(t, err)
	}
	cancel()
	<-done
	return ledger
}

func TestOnACluster(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Replicas: 1})
	connected := clustertest.Clerk(t, c)
	ctx := t.Context()

	ledger := run(t, connected, "good", 50)
	audit, err := ledger.Audit(ctx, connected)
	require.NoError(t, err)
	require.Equal(t, int64(accountsInTests*Initial), audit.Total)
	require.Equal(t, Audit{Accounts: accountsInTests, Total: audit.Total, Committed: ledger.Counts().Committed}, audit)
	require.GreaterOrEqual(t, audit.Committed, 50)

	t.Run("every transfer has its records on both shards", func(t *testing.T) {
		within := 0
		for _, transfer := range ledger.committed {
			require.NotEqual(t, connected.ShardOf(transfer.records[0]), connected.ShardOf(transfer.records[1]))
			require.Len(t, transfer.shards, 2)
			if connected.ShardOf(account(transfer.From)) == connected.ShardOf(account(transfer.To)) {
				within++
			}
		}
		require.Positive(t, within, "between accounts of one shard too")
	})
	t.Run("opening again leaves balances alone", func(t *testing.T) {
		require.NoError(t, OpenAccounts(ctx, connected, accountsInTests))
		_, err := ledger.Audit(ctx, connected)
		require.NoError(t, err)
	})
	t.Run("an acknowledged transfer that is not there", func(t *testing.T) {
		record := ledger.committed[7].records[1]
		value, err := connected.Get(ctx, record)
		require.NoError(t, err)
		require.NoError(t, connected.Delete(ctx, record))
		_, err = ledger.Audit(ctx, connected)
		require.ErrorIs(t, err, ErrBooks)
		require.ErrorContains(t, err, record)
		require.NoError(t, connected.Put(ctx, record, value))
	})
	t.Run("an aborted transfer that is there", func(t *testing.T) {
		lying := NewLedger(accountsInTests)
		lying.note(ledger.committed[3], time.Now(), clerk.ErrUnavailable)
		require.Equal(t, map[string]int{clerk.ErrUnavailable.Error(): 1}, lying.Failures())
		_, err := lying.Audit(ctx, connected)
		require.ErrorIs(t, err, ErrBooks)
	})
	t.Run("money made", func(t *testing.T) {
		value, err := connected.Get(ctx, account(5))
		require.NoError(t, err)
		require.NoError(t, connected.Put(ctx, account(5), []byte("1000000")))
		_, err = ledger.Audit(ctx, connected)
		require.ErrorIs(t, err, ErrBooks)
		require.NoError(t, connected.Put(ctx, account(5), value))
	})
	t.Run("unknown outcomes are asked for", func(t *testing.T) {
		testUnknown(t, c)
	})
}

// testUnknown keeps books about a transfer that committed and one that was never sent, both said to be unknown.
func testUnknown(t *testing.T, c *cluster.Cluster) {
	var committed clerk.Committed
	connected := clustertest.ClerkWith(t, c, clerk.Options{Hooks: clerk.Hooks{Committed: func(c clerk.Committed) { committed = c }}})
	ledger := NewLedger(accountsInTests)
	sent, never := NewTransfer(connected, "unknown-1", 1, 2, 5), NewTransfer(connected, "unknown-2", 1, 2, 5)
	require.NoError(t, sent.Do(t.Context(), connected))
	ledger.note(sent, time.Now(), fmt.Errorf("wrapped: %w", &clerk.UnknownError{Attempt: committed.Attempt}))
	unsent := committed.Attempt
	unsent.ID.Sequence += 100
	ledger.note(never, time.Now(), &clerk.UnknownError{Attempt: unsent})
	require.NoError(t, ledger.Settle(t.Context(), connected))
	require.Empty(t, ledger.unknown, "a long run does not wait for the audit to ask")
	require.Equal(t, Counts{Unknown: 2}, ledger.Counts())
	audit, err := ledger.Audit(t.Context(), connected)
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 2}, []int{audit.UnknownCommitted, audit.UnknownAborted, ledger.Counts().Unknown})
}

func TestLedgerBoundsWhatItKeepsOfErrors(t *testing.T) {
	ledger := NewLedger(2)
	for n := range 2 * failuresMax {
		ledger.note(Transfer{}, time.Now(), fmt.Errorf("error %d", n))
	}
	require.Len(t, ledger.Failures(), failuresMax)
	ledger.note(Transfer{ID: "t"}, time.Now(), ErrBooks)
	_, err := ledger.Audit(t.Context(), nil)
	require.ErrorIs(t, err, ErrBooks, "an impossible balance is found by the audit, whatever else is in order")
}

func TestWhatIsNotSettledStays(t *testing.T) {
	ledger := NewLedger(2)
	ledger.note(Transfer{ID: "t"}, time.Now(), &clerk.UnknownError{})
	c := clustertest.Clerk(t, clustertest.Start(t, cluster.Options{Coordinators: 1, Replicas: 1}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, ledger.Settle(ctx, c))
	require.Equal(t, Counts{Unknown: 1}, ledger.Counts())
	_, err := ledger.Audit(ctx, c)
	require.Error(t, err)
}

func TestNextCommitGivesUp(t *testing.T) {
	ledger := NewLedger(2)
	ctx, cancel := context.WithCancel(t.Context())
	wait := ledger.NextCommit(1)
	ledger.note(Transfer{shards: []txn.ShardID{2, 3}}, time.Now(), nil)
	ledger.note(Transfer{shards: []txn.ShardID{1, 1}}, time.Now().Add(-time.Hour), nil)
	cancel()
	_, err := wait(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, ledger.waiting)
}
