package vr_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// The tests of this file but for one run on virtual time, with a heartbeat every 30 ms and messages that take none.

// leaseChoices are the options of a group with leases and of one without.
func leaseChoices() map[string]func(*vr.Options) {
	return map[string]func(*vr.Options){
		"leases": nil,
		"rounds": func(o *vr.Options) { o.LeaseDuration = -1 },
	}
}

// TestIdleReplicasKnowTheirAge: heartbeats alone keep it, at every replica, at two of them under leases and three
// without. Reads within that take no message.
func TestIdleReplicasKnowTheirAge(t *testing.T) {
	heartbeats := map[string]time.Duration{"leases": 2, "rounds": 3}
	for name, change := range leaseChoices() {
		synctest.Test(t, func(t *testing.T) {
			g := newMemoryGroup(t, 3, change)
			g.mustCommit(1, 1)
			time.Sleep(time.Second)
			// A tenth is for clocks that are slower than another, 10 ms for the tick of the heartbeat.
			bound := (heartbeats[name]*30*time.Millisecond + 10*time.Millisecond) * 10 / 9
			begun := time.Now()
			sent := g.replicas[0].Status().Counters["messages_sent"]
			oldest := time.Duration(0)
			for range 200 {
				time.Sleep(time.Millisecond)
				for i, replica := range g.replicas {
					staleness, err := replica.ReadStale(t.Context(), bound)
					require.NoError(t, err, "%s: replica %d", name, i)
					oldest = max(oldest, staleness.Age)
				}
			}
			require.LessOrEqual(t, oldest, bound)
			require.Greater(t, oldest, 20*time.Millisecond, "nobody asked")
			require.Equal(t, 200*time.Millisecond, time.Since(begun), "nobody waited")
			require.LessOrEqual(t, g.replicas[0].Status().Counters["messages_sent"]-sent, uint64(2*(200/30+2)))
			require.EqualValues(t, 200, g.value(0, "stale_reads.at_once"))
			require.NotZero(t, g.value(0, "state_age_milliseconds"))
			g.closeAll()
		})
	}
}

// TestBackupsReadWhatWasAcknowledged: with a bound of nothing a read at a backup is linearizable.
func TestBackupsReadWhatWasAcknowledged(t *testing.T) {
	for name, change := range leaseChoices() {
		synctest.Test(t, func(t *testing.T) {
			g := newMemoryGroup(t, 3, change)
			for n := 1; n <= 50; n++ {
				g.mustCommit(n, n)
				for i, replica := range g.replicas {
					_, err := replica.ReadStale(t.Context(), -time.Hour*time.Duration(n%2))
					require.NoError(t, err)
					require.NotZero(t, g.machines[i].has(fmt.Appendf(nil, "operation %d", n)), "%s: replica %d has not %d", name, i, n)
				}
			}
			leader, _ := g.primary()
			require.NotZero(t, g.value(g.backups(leader)[0], "stale_reads.waited"))
			g.closeAll()
		})
	}
}

// TestCutOffBackupGrowsOld: it answers for as long as its state is new enough, waits, and says how old it is.
func TestCutOffBackupGrowsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		leader, _ := g.primary()
		time.Sleep(time.Second)
		backup := g.backups(leader)[0]
		g.network.cut(core.ReplicaID(backup+1), true, true)
		replica, cut := g.replicas[backup], time.Now()
		for {
			short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, err := replica.ReadStale(short, 200*time.Millisecond)
			cancel()
			if err != nil {
				break
			}
			require.Less(t, time.Since(cut), time.Minute, "it never grows old")
			time.Sleep(time.Millisecond)
		}
		require.Less(t, time.Since(cut), 200*time.Millisecond)
		require.Greater(t, time.Since(cut), 200*time.Millisecond*9/10-80*time.Millisecond)

		time.Sleep(10 * time.Second)
		ended, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		_, err := replica.ReadStale(ended, time.Second)
		var tooStale *replication.TooStaleError
		require.ErrorAs(t, err, &tooStale)
		require.ErrorIs(t, err, replication.ErrTooStale)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, replication.DidNotHappen(err))
		require.InDelta(t, time.Since(cut)*10/9, tooStale.Age, float64(100*time.Millisecond))
		require.EqualValues(t, leader+1, tooStale.Primary)
		_, err = replica.ReadStale(ended, time.Minute)
		require.NoError(t, err, "old, and new enough")

		g.mustCommit(2, 2, backup)
		waited := make(chan error, 1)
		go func() {
			_, err := replica.ReadStale(t.Context(), time.Second)
			waited <- err
		}()
		synctest.Wait()
		require.Empty(t, waited)
		g.network.heal()
		require.NoError(t, <-waited)
		require.NotZero(t, g.machines[backup].has([]byte("operation 2")))
		require.NotZero(t, g.value(backup, "stale_reads.too_old"))
		g.closeAll()
	})
}

// TestAgeIsNotKnownAfterARestart: the clock of the life before tells nothing.
func TestAgeIsNotKnownAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		leader, _ := g.primary()
		time.Sleep(time.Second)
		backup := g.backups(leader)[0]
		g.network.cut(core.ReplicaID(backup+1), true, true)
		g.stop(backup)
		g.start(backup)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.replicas[backup].ReadStale(ended, time.Hour)
		var tooStale *replication.TooStaleError
		require.ErrorAs(t, err, &tooStale)
		require.Zero(t, tooStale.Age)
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, g.replicas[backup].Measure().Values, "state_age_milliseconds")
		g.network.heal()
		_, err = g.replicas[backup].ReadStale(t.Context(), time.Hour)
		require.NoError(t, err)
		g.closeAll()
	})
}

// TestStaleReadsAreBoundedAndEnd with their replica.
func TestStaleReadsAreBoundedAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, func(o *vr.Options) { o.ReadsMax = 2 })
		g.mustCommit(1, 1)
		leader, _ := g.primary()
		backup := g.backups(leader)[0]
		g.network.cut(core.ReplicaID(backup+1), true, true)
		replica := g.replicas[backup]
		errs := make(chan error, 3)
		read := func(ctx context.Context) {
			_, err := replica.ReadStale(ctx, 0)
			errs <- err
		}
		first, giveUp := context.WithCancel(t.Context())
		go read(first)
		synctest.Wait()
		go read(t.Context())
		synctest.Wait()
		require.EqualValues(t, 2, replica.Measure().Values["queue_stale_reads"])
		read(t.Context())
		require.ErrorIs(t, <-errs, replication.ErrOverloaded)
		giveUp()
		require.ErrorIs(t, <-errs, replication.ErrTooStale)
		synctest.Wait()
		require.EqualValues(t, 1, replica.Measure().Values["queue_stale_reads"])
		go read(t.Context())
		synctest.Wait()
		g.stop(backup)
		for range 2 {
			require.ErrorIs(t, <-errs, replication.ErrClosed)
		}
		_, err := replica.ReadStale(t.Context(), time.Hour)
		require.ErrorIs(t, err, replication.ErrClosed, "even where it was new enough")
		require.False(t, errors.Is(err, replication.ErrTooStale))
		g.network.heal()
		g.closeAll()
	})
}

// TestStaleReadsGoOnOverAViewChange: those that wait are answered by the next primary.
func TestStaleReadsGoOnOverAViewChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		leader, _ := g.primary()
		backups := g.backups(leader)
		g.stop(leader)
		errs := make(chan error, len(backups))
		for _, i := range backups {
			go func() {
				_, err := g.replicas[i].ReadStale(t.Context(), 0)
				errs <- err
			}()
		}
		synctest.Wait()
		require.Empty(t, errs)
		g.mustCommit(2, 2)
		for range backups {
			require.NoError(t, <-errs)
		}
		g.start(leader)
		g.closeAll()
	})
}
