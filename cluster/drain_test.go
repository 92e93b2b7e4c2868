package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

// load is callers that commit transactions of their own objects, one after the other, and what came of them.
type load struct {
	stop    context.CancelFunc
	callers sync.WaitGroup
	commits atomic.Uint64
	longest atomic.Int64 // nanoseconds that one transaction took
	mu      sync.Mutex
	failed  []error
}

// startLoad has so many callers write and read, each its own object of each shard.
func startLoad(t *testing.T, connected *clerk.Clerk, callers int) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	for caller := range callers {
		oids := []string{onShard(connected, 1, fmt.Sprint("one/", caller)), onShard(connected, 2, fmt.Sprint("two/", caller))}
		l.callers.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				began := time.Now()
				if err := advanceBoth(t.Context(), connected, oids, n); err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
					return
				}
				l.commits.Add(1)
				for took := int64(time.Since(began)); ; {
					most := l.longest.Load()
					if took <= most || l.longest.CompareAndSwap(most, took) {
						break
					}
				}
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

// advanceBoth takes two objects from n-1 to n: an attempt whose fate was told wrong would leave another number.
func advanceBoth(ctx context.Context, connected *clerk.Clerk, oids []string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return connected.Update(ctx, func(tx *clerk.Txn) error {
		values, err := tx.GetMulti(ctx, oids...)
		if err != nil {
			return err
		}
		for i, value := range values {
			if have := string(value.Bytes); n > 1 && have != fmt.Sprint(n-1) {
				return fmt.Errorf("object %s has %q before transaction %d", oids[i], have, n)
			}
			if err := tx.Put(oids[i], []byte(fmt.Sprint(n))); err != nil {
				return err
			}
		}
		return nil
	})
}

// progress waits until so many more are committed.
func (l *load) progress(t *testing.T, more uint64) {
	t.Helper()
	before := l.commits.Load()
	require.NoError(t, survey.Poll(within(t), func() error {
		if now := l.commits.Load() - before; now < more {
			return fmt.Errorf("%d of %d are committed", now, more)
		}
		return nil
	}))
}

func (l *load) end() {
	l.stop()
	l.callers.Wait()
}

// TestDrainedPrimaryCausesNoFailedRequest drains the primary of a shard and of the coordinator, one after the other,
// while callers run. The time-outs are so long that nobody could take over by them: what the callers notice is the
// handover.
func TestDrainedPrimaryCausesNoFailedRequest(t *testing.T) {
	const timeout = 10 * time.Second
	c := clustertest.Start(t, cluster.Options{Tuning: cluster.Tuning{ViewChangeTimeoutMin: timeout, ViewChangeTimeoutMax: 2 * timeout}})
	connected := clustertest.Clerk(t, c)
	l := startLoad(t, connected, 16)
	l.progress(t, 200)
	for _, group := range []uint32{1, cluster.CoordinatorGroup, 2} {
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		usual := l.longest.Swap(0)
		began := time.Now()
		require.NoError(t, c.Drain(within(t), group, primary))
		took := time.Since(began)
		l.progress(t, 200)
		gap := time.Duration(l.longest.Load())
		t.Logf("group %d: drained in %v, longest transaction %v (before: %v)", group, took.Round(time.Millisecond),
			gap.Round(time.Millisecond), time.Duration(usual).Round(time.Millisecond))
		require.Less(t, gap, timeout/2, "the callers waited for a time-out")
		next, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NotEqual(t, primary, next)
		require.NoError(t, c.Restart(group, primary))
		require.NoError(t, c.AwaitWhole(within(t)))
	}
	l.end()
	require.Empty(t, l.failed, "every transaction was committed: none unknown, none unavailable, none refused")
	t.Logf("%d transactions", l.commits.Load())
}

// TestDrainedLeaderCausesNoFailedRequest is the same of Raft, whose groups have no leader before a time-out is over, so that
// those cannot be long. On a slow machine a handover may take longer than a drain waits for it: that the role can be handed
// over while callers run, Transfer tells.
func TestDrainedLeaderCausesNoFailedRequest(t *testing.T) {
	c := startOn(t, cluster.BackendRaft, cluster.Options{})
	connected := clustertest.Clerk(t, c)
	l := startLoad(t, connected, 16)
	l.progress(t, 50)
	for _, group := range []uint32{1, cluster.CoordinatorGroup} {
		require.NoError(t, survey.Poll(within(t), func() error {
			before, err := c.Primary(within(t), group)
			if err == nil {
				_, err = c.Transfer(within(t), group, before%3+1)
			}
			return err
		}))
		l.progress(t, 20)
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NoError(t, c.Drain(within(t), group, primary))
		l.progress(t, 20)
		require.NoError(t, c.Restart(group, primary))
		require.NoError(t, c.AwaitWhole(within(t)))
	}
	l.end()
	require.Empty(t, l.failed, "every transaction was committed: none unknown, none unavailable, none refused")
	t.Logf("%d transactions", l.commits.Load())
}

// TestDrainOfEverybody at one time: there is nobody to hand over to, and nobody waits long for that.
func TestDrainOfEverybody(t *testing.T) { onBackendsInFull(t, testDrainOfEverybody) }

func testDrainOfEverybody(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{})
	ctx := within(t)
	began := time.Now()
	var drains sync.WaitGroup
	for group := range uint32(3) {
		for replica := uint32(1); replica <= 3; replica++ {
			drains.Go(func() { assert.NoError(t, c.Drain(ctx, group, replica)) })
		}
	}
	drains.Wait()
	took := time.Since(began)
	t.Logf("drained in %v", took.Round(time.Millisecond))
	require.Less(t, took, 10*time.Second, "as long as SIGTERM waits at most")
	for group := range uint32(3) {
		for replica := uint32(1); replica <= 3; replica++ {
			require.NoError(t, c.Restart(group, replica))
		}
	}
	require.NoError(t, c.AwaitWhole(within(t)))
}
