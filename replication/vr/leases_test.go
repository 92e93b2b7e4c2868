package vr_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// The tests of this file run on virtual time.

// TestReadsByALeaseTakeNoMessages, and those without a lease take a round.
func TestReadsByALeaseTakeNoMessages(t *testing.T) {
	for _, lease := range []time.Duration{0, -1} {
		synctest.Test(t, func(t *testing.T) {
			g := newMemoryGroup(t, 3, func(o *vr.Options) { o.LeaseDuration = lease })
			g.mustCommit(1, 1)
			leader, view := g.primary()
			time.Sleep(time.Second)
			sent := g.replicas[leader].Status().Counters["messages_sent"]
			const reads = 1000
			for range reads {
				require.NoError(t, replication.AwaitReadBarrier(t.Context(), g.replicas[leader], view))
			}
			sent = g.replicas[leader].Status().Counters["messages_sent"] - sent
			if lease == 0 {
				require.Zero(t, sent)
				require.EqualValues(t, reads, g.value(leader, "reads.lease"))
				require.EqualValues(t, 1, g.value(leader, "lease"))
				require.NotZero(t, g.value(g.backups(leader)[0], "leases_granted"))
			} else {
				require.GreaterOrEqual(t, sent, uint64(2*reads))
				require.EqualValues(t, reads, g.value(leader, "reads.round"))
				require.Zero(t, g.replicas[leader].Measure().Values["lease"])
				require.Zero(t, g.replicas[g.backups(leader)[0]].Measure().Values["leases_granted"])
			}
			require.Zero(t, g.replicas[g.backups(leader)[0]].Measure().Values["lease"])
			g.closeAll()
		})
	}
}

// TestPrimaryCutOffReadsUntilItsLeaseIsOver, and that is before another can lead.
func TestPrimaryCutOffReadsUntilItsLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		old, view := g.primary()
		time.Sleep(time.Second)
		g.network.cut(core.ReplicaID(old+1), true, true)
		cut := time.Now()
		last := cut
		for answered := true; answered; time.Sleep(time.Millisecond) {
			done := make(chan error, 1)
			g.replicas[old].ReadBarrier(view, func(err error) { done <- err })
			synctest.Wait()
			select {
			case err := <-done:
				require.NoError(t, err)
				last = time.Now()
			default:
				answered = false
			}
		}
		require.Less(t, last.Sub(cut), 180*time.Millisecond, "two thirds of 300 ms, less a tenth")
		require.Greater(t, last.Sub(cut), 180*time.Millisecond-2*30*time.Millisecond)
		_, later := g.primary(old)
		require.Greater(t, later, view)
		require.Greater(t, time.Since(cut), vr.ViewChangeTimeoutMinDefault-30*time.Millisecond)
		require.Less(t, time.Since(cut), 2*vr.ViewChangeTimeoutMaxDefault)
		err := replication.AwaitReadBarrier(t.Context(), g.replicas[old], view)
		require.ErrorIs(t, err, replication.ErrNotPrimary)
		g.network.heal()
		g.closeAll()
	})
}

// TestRestartOfThePrimaryWaitsForNoLease: the old primary's own word ends the leases that it was granted.
func TestRestartOfThePrimaryWaitsForNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		for range 5 {
			leader, view := g.primary()
			time.Sleep(time.Second)
			require.EqualValues(t, 1, g.value(leader, "lease"))
			g.stop(leader)
			started := time.Now()
			g.start(leader)
			_, later := g.primary()
			require.Greater(t, later, view)
			require.Less(t, time.Since(started), 60*time.Millisecond)
		}
		g.closeAll()
	})
}

func TestLeaseOptions(t *testing.T) {
	good := vr.Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage.NewMemory(), StateMachine: &journal{}}
	for _, test := range []struct {
		name   string
		change func(o *vr.Options)
		bad    bool
	}{
		{"defaults", func(*vr.Options) {}, false},
		{"off", func(o *vr.Options) { o.LeaseDuration = -time.Hour }, false},
		{"short", func(o *vr.Options) { o.LeaseDuration, o.LeaseMarginPercent = 2, 90 }, true}, // nothing is left of it
		{"as long as the time-out", func(o *vr.Options) { o.LeaseDuration = vr.ViewChangeTimeoutMinDefault }, true},
		{"longer than a time-out of one's own", func(o *vr.Options) {
			o.LeaseDuration, o.ViewChangeTimeoutMin = 120*time.Millisecond, 100*time.Millisecond
		}, true},
		{"the largest margin", func(o *vr.Options) { o.LeaseMarginPercent = 90 }, false},
		{"a larger margin", func(o *vr.Options) { o.LeaseMarginPercent = 91 }, true},
		{"a negative margin", func(o *vr.Options) { o.LeaseMarginPercent = -1 }, true},
	} {
		options := good
		test.change(&options)
		err := options.Validate()
		require.Equal(t, test.bad, errors.Is(err, vr.ErrOptions), "%s: %v", test.name, err)
		require.Equal(t, test.bad, err != nil, test.name)
	}
}
