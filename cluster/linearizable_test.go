package cluster_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/registers"
)

// TestObjectsAreLinearizable: single objects, read by Get and by GetLatest, while primaries are killed, cut off and
// made to hang. Every value is written once, so that each read names its writer.
func TestObjectsAreLinearizable(t *testing.T) { onBackends(t, testObjectsAreLinearizable) }

func testObjectsAreLinearizable(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{})
	h := registers.New()
	oids := []string{onShard(clustertest.Clerk(t, c), 1, "x"), onShard(clustertest.Clerk(t, c), 2, "y"), onShard(clustertest.Clerk(t, c), 1, "z")}
	running, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	for client := range 6 {
		connected := clustertest.Clerk(t, c)
		callers.Go(func() {
			h.Run(running, registers.Client{ID: client, Clerk: connected, Object: func(r *rand.Rand) string { return oids[r.IntN(len(oids))] }})
		})
	}
	for round, fault := range faultsOf(t, c) {
		group := []uint32{1, cluster.CoordinatorGroup, 2, 1}[round]
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		mend := fault(group, primary)
		goOn(t, h, 150)
		mend()
		goOn(t, h, 50)
		require.NoError(t, c.AwaitWhole(within(t)))
	}
	stop()
	callers.Wait()
	t.Logf("%+v", h.Counts())
	require.NoError(t, h.Check(time.Minute))
}

// goOn waits until so many more puts, and as many gets, are answered.
func goOn(t *testing.T, h *registers.History, more int) {
	t.Helper()
	answered := func() int { return min(h.Counts().Puts, h.Counts().Gets) }
	until := answered() + more
	require.Eventually(t, func() bool { return answered() >= until }, patience, 10*time.Millisecond)
}

// faultsOf gives faults to a primary, each with what ends it.
func faultsOf(t *testing.T, c *cluster.Cluster) []func(group, primary uint32) (mend func()) {
	must := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	kill := func(group, primary uint32) func() {
		must(c.Kill(group, primary))
		return func() { must(c.Restart(group, primary)) }
	}
	hang := func(group, primary uint32) func() {
		must(c.Pause(group, primary))
		return func() { must(c.Resume(group, primary)) }
	}
	isolate := func(group, primary uint32) func() {
		c.Isolate(group, primary)
		return c.Heal
	}
	return []func(group, primary uint32) func(){kill, kill, isolate, hang}
}
