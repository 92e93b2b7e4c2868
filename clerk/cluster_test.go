package clerk_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/txn"
)

// patience is for things that take much less.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// onShard gives an oid that lies on a shard.
func onShard(c *clerk.Clerk, shard uint32, stem string) string {
	for n := 0; ; n++ {
		if oid := fmt.Sprintf("%s/%d", stem, n); c.ShardOf(oid) == shard {
			return oid
		}
	}
}

// TestOnACluster shares one cluster between everything that does not hurt it.
func TestOnACluster(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{})
	for _, part := range []struct {
		name string
		test func(*testing.T, *cluster.Cluster)
	}{
		{"values", testValues},
		{"the function's own error", testOwnError},
		{"snapshots", testSnapshots},
		{"reruns on conflict", testReruns},
		{"a conflict by hand", testConflict},
		{"write skew", testWriteSkew},
		{"blind writes do not conflict", testBlindWrites},
		{"money between shards", testMoney},
		{"the largest transactions", testLargest},
		{"an ended context", testEndedContext},
		{"outcomes", testOutcomes},
		{"close", testClose},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, c) })
	}
}

func testValues(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	one, two := onShard(connected, 1, "values/a"), onShard(connected, 2, "values/b")
	require.NoError(t, connected.Update(within(t), func(tx *clerk.Txn) error {
		return errors.Join(tx.Put(one, []byte("1")), tx.Put(two, nil))
	}))
	values, err := connected.GetMulti(within(t), two, one, "values/absent", one)
	require.NoError(t, err)
	require.True(t, values[0].Present, "an empty value is a value")
	require.Empty(t, values[0].Bytes)
	require.Equal(t, "1", string(values[1].Bytes))
	require.False(t, values[2].Present)
	require.Equal(t, values[1], values[3])

	latest, err := connected.GetLatest(within(t), one)
	require.NoError(t, err)
	require.Equal(t, "1", string(latest))
	require.NoError(t, connected.Delete(within(t), one))
	require.NoError(t, connected.Delete(within(t), "values/absent"))
	for _, get := range []func(context.Context, string) ([]byte, error){connected.Get, connected.GetLatest} {
		_, err = get(within(t), one)
		require.ErrorIs(t, err, clerk.ErrNotFound)
		value, err := get(within(t), two)
		require.NoError(t, err)
		require.Empty(t, value)
	}
}

func testOwnError(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	mine := errors.New("mine")
	runs := 0
	err := connected.Update(within(t), func(tx *clerk.Txn) error {
		runs++
		return errors.Join(tx.Put("own", nil), mine)
	})
	require.ErrorIs(t, err, mine)
	require.Equal(t, 1, runs)
	_, err = connected.Get(within(t), "own")
	require.ErrorIs(t, err, clerk.ErrNotFound)
	require.ErrorIs(t, connected.View(within(t), func(*clerk.Snapshot) error { return mine }), mine)

	// An error about what is no longer true is not returned: the function runs again.
	runs = 0
	err = connected.Update(within(t), func(tx *clerk.Txn) error {
		runs++
		_, err := tx.Get(within(t), "own/late")
		if runs == 1 {
			require.ErrorIs(t, err, clerk.ErrNotFound)
			require.NoError(t, connected.Put(within(t), "own/late", nil))
		}
		return err
	})
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	err = connected.Update(within(t), func(tx *clerk.Txn) error {
		_, err := tx.Get(within(t), "own/never")
		return errors.Join(err, tx.Put("own/late", []byte("written")))
	})
	require.ErrorIs(t, err, clerk.ErrNotFound)
	value, err := connected.Get(within(t), "own/late")
	require.NoError(t, err)
	require.Empty(t, value, "a function that failed writes nothing")
}

func testSnapshots(t *testing.T, c *cluster.Cluster) {
	var viewed []clerk.Viewed
	connected := clustertest.ClerkWith(t, c, clerk.Options{Hooks: clerk.Hooks{Viewed: func(v clerk.Viewed) { viewed = append(viewed, v) }}})
	require.NoError(t, connected.Put(within(t), "snap", []byte("old")))
	require.NoError(t, connected.View(within(t), func(s *clerk.Snapshot) error {
		require.NoError(t, connected.Put(within(t), "snap", []byte("new")))
		for range 2 {
			value, err := s.Get(within(t), "snap")
			require.NoError(t, err)
			require.Equal(t, "old", string(value), "a snapshot does not move")
		}
		return nil
	}))
	value, err := connected.Get(within(t), "snap")
	require.NoError(t, err)
	require.Equal(t, "new", string(value))
	require.Len(t, viewed, 2)
	require.Less(t, viewed[0].Timestamp, viewed[1].Timestamp)
	require.Less(t, viewed[0].Reads[0].Version, viewed[0].Timestamp)
	require.Less(t, viewed[0].Timestamp, viewed[1].Reads[0].Version)
}

func testReruns(t *testing.T, c *cluster.Cluster) {
	const callers, each = 8, 25
	var conflicts, runs atomic.Int64
	connected := clustertest.ClerkWith(t, c, clerk.Options{Hooks: clerk.Hooks{Aborted: func(txn.Verdict) { conflicts.Add(1) }}})
	var work sync.WaitGroup
	errs := make([]error, callers)
	for caller := range callers {
		work.Go(func() {
			for range each {
				errs[caller] = errors.Join(errs[caller], connected.Update(within(t), func(tx *clerk.Txn) error {
					runs.Add(1)
					return increment(within(t), tx, "counter")
				}))
			}
		})
	}
	work.Wait()
	require.NoError(t, errors.Join(errs...))
	value, err := connected.Get(within(t), "counter")
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(callers*each), string(value))
	require.Positive(t, conflicts.Load())
	require.Equal(t, int64(callers*each), runs.Load()-conflicts.Load(), "one run for each commit and one for each conflict")
}

func increment(ctx context.Context, tx *clerk.Txn, oid string) error {
	value, err := tx.Get(ctx, oid)
	if err != nil && !errors.Is(err, clerk.ErrNotFound) {
		return err
	}
	number := 0
	if err == nil {
		if number, err = strconv.Atoi(string(value)); err != nil {
			return err
		}
	}
	return tx.Put(oid, []byte(strconv.Itoa(number+1)))
}

func testConflict(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	first, second := connected.Begin(), connected.Begin()
	for _, tx := range []*clerk.Txn{first, second} {
		_, err := tx.Get(within(t), "conflict")
		require.ErrorIs(t, err, clerk.ErrNotFound)
		require.NoError(t, tx.Put("conflict", []byte("x")))
	}
	timestamp, err := first.Commit(within(t))
	require.NoError(t, err)
	require.NotZero(t, timestamp)
	_, err = second.Commit(within(t))
	require.ErrorIs(t, err, clerk.ErrAborted)
	var aborted *clerk.AbortedError
	require.ErrorAs(t, err, &aborted)
	require.Equal(t, txn.StaleRead, aborted.Verdict.Reason)
	require.Equal(t, []string{"conflict"}, aborted.Verdict.OIDs)
	require.NoError(t, aborted.Cause)
	_, err = second.Commit(within(t))
	require.ErrorIs(t, err, clerk.ErrTxnDone)
}

func testWriteSkew(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	a, b := onShard(connected, 1, "skew/a"), onShard(connected, 2, "skew/b")
	committed := 0
	var transactions []*clerk.Txn
	for _, write := range []string{a, b} {
		tx := connected.Begin()
		_, err := tx.GetMulti(within(t), a, b)
		require.NoError(t, err)
		require.NoError(t, tx.Put(write, []byte("taken")))
		transactions = append(transactions, tx)
	}
	for _, tx := range transactions {
		_, err := tx.Commit(within(t))
		if err == nil {
			committed++
			continue
		}
		require.ErrorIs(t, err, clerk.ErrAborted)
	}
	require.Equal(t, 1, committed)
}

func testBlindWrites(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	first, second := connected.Begin(), connected.Begin()
	require.NoError(t, first.Put("blind", []byte("1")))
	require.NoError(t, second.Put("blind", []byte("2")))
	one, err := first.Commit(within(t))
	require.NoError(t, err)
	two, err := second.Commit(within(t))
	require.NoError(t, err)
	require.Less(t, one, two)
	value, err := connected.Get(within(t), "blind")
	require.NoError(t, err)
	require.Equal(t, "2", string(value))
}

// testMoney moves money between two shards with several clerks, while others add it all up at one snapshot.
func testMoney(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	accounts := []string{onShard(connected, 1, "money/a"), onShard(connected, 2, "money/b")}
	for _, account := range accounts {
		require.NoError(t, connected.Put(within(t), account, []byte("100")))
	}
	var work sync.WaitGroup
	errs := make(chan error, 8)
	for caller := range 4 {
		mover, reader := clustertest.Clerk(t, c), clustertest.Clerk(t, c)
		work.Go(func() {
			for range 25 {
				if err := move(within(t), mover, accounts[caller%2], accounts[1-caller%2]); err != nil {
					errs <- err
					return
				}
			}
		})
		work.Go(func() {
			for range 50 {
				values, err := reader.GetMulti(within(t), accounts...)
				if err == nil && number(values[0])+number(values[1]) != 200 {
					err = fmt.Errorf("a snapshot shows %s and %s", values[0].Bytes, values[1].Bytes)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	work.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func number(value clerk.Value) int {
	n, err := strconv.Atoi(string(value.Bytes))
	if err != nil {
		return -1_000_000
	}
	return n
}

func move(ctx context.Context, c *clerk.Clerk, from, to string) error {
	return c.Update(ctx, func(tx *clerk.Txn) error {
		values, err := tx.GetMulti(ctx, from, to)
		if err != nil {
			return err
		}
		return errors.Join(tx.Put(from, []byte(strconv.Itoa(number(values[0])-1))), tx.Put(to, []byte(strconv.Itoa(number(values[1])+1))))
	})
}

func testLargest(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	require.NoError(t, connected.Update(within(t), func(tx *clerk.Txn) error {
		for n := range 15 {
			if err := tx.Put(fmt.Sprintf("large/%d", n), make([]byte, txn.ValueBytesMax)); err != nil {
				return err
			}
		}
		return nil
	}))
	value, err := connected.Get(within(t), "large/14")
	require.NoError(t, err)
	require.Len(t, value, txn.ValueBytesMax)

	oids := make([]string, txn.KeysMax)
	for n := range oids {
		oids[n] = fmt.Sprintf("many/%d", n)
	}
	require.NoError(t, connected.Update(within(t), func(tx *clerk.Txn) error {
		if _, err := tx.GetMulti(within(t), oids...); err != nil {
			return err
		}
		for _, oid := range oids {
			if err := tx.Put(oid, []byte("x")); err != nil {
				return err
			}
		}
		return nil
	}))
	values, err := connected.GetMulti(within(t), oids...)
	require.NoError(t, err)
	for _, value := range values {
		require.True(t, value.Present)
	}
}

func testEndedContext(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := connected.Get(ended, "ended")
	require.ErrorIs(t, err, clerk.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	for range 20 { // the choice between an ended context and work to do is random
		err = connected.Put(ended, "ended", nil)
		require.ErrorIs(t, err, clerk.ErrAborted, "nothing was sent, so nothing can have happened")
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = connected.Get(within(t), "ended")
	require.ErrorIs(t, err, clerk.ErrNotFound)
}

func testOutcomes(t *testing.T, c *cluster.Cluster) {
	var committed clerk.Committed
	connected := clustertest.ClerkWith(t, c, clerk.Options{Hooks: clerk.Hooks{Committed: func(c clerk.Committed) { committed = c }}})
	one, two := onShard(connected, 1, "outcome/a"), onShard(connected, 2, "outcome/b")
	for _, oids := range [][]string{{one}, {one, two}} {
		require.NoError(t, connected.Update(within(t), func(tx *clerk.Txn) error {
			var err error
			for _, oid := range oids {
				err = errors.Join(err, tx.Put(oid, nil))
			}
			return err
		}))
		outcome, err := connected.Outcome(within(t), committed.Attempt)
		require.NoError(t, err)
		require.Equal(t, clerk.Outcome{Committed: true, Attempt: committed.Attempt}, outcome)
	}
	// One that was never sent is decided by the question, for good.
	never := committed.Attempt
	never.ID.Sequence += 1000
	for range 2 {
		outcome, err := connected.Outcome(within(t), never)
		require.NoError(t, err)
		require.False(t, outcome.Committed)
	}
	nowhere := committed.Attempt
	nowhere.ID.Home = 77
	for _, malformed := range []txn.Attempt{{}, nowhere} {
		_, err := connected.Outcome(within(t), malformed)
		require.ErrorIs(t, err, txn.ErrMalformedID)
	}
}

func testClose(t *testing.T, c *cluster.Cluster) {
	connected := clustertest.Clerk(t, c)
	one, two := onShard(connected, 1, "close/a"), onShard(connected, 2, "close/b")
	for range 20 {
		require.NoError(t, connected.Update(within(t), func(tx *clerk.Txn) error { return errors.Join(tx.Put(one, nil), tx.Put(two, nil)) }))
	}
	require.NoError(t, connected.Close())
	requireNothingPrepared(t, c)
	require.NoError(t, connected.Close())
	require.ErrorIs(t, connected.Put(within(t), one, nil), clerk.ErrClosed)
	_, err := connected.Get(within(t), one)
	require.ErrorIs(t, err, clerk.ErrClosed)
	_, err = connected.GetLatest(within(t), one)
	require.ErrorIs(t, err, clerk.ErrClosed)
	_, err = connected.Outcome(within(t), txn.Attempt{ID: txn.TxnID{Home: 1}, Number: 1, TS: 1})
	require.ErrorIs(t, err, clerk.ErrClosed)
}

// requireNothingPrepared looks at once, long before the shards would begin to finish things by themselves.
func requireNothingPrepared(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	serving := 0
	for _, replica := range c.Survey(within(t)) {
		if replica.Serving && replica.Group != cluster.CoordinatorGroup {
			serving++
			require.Zero(t, replica.Counters["prepared"])
		}
	}
	require.Equal(t, 2, serving)
}
