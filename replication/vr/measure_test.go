package vr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// value waits until a replica has a value of at least one, and returns it.
func (g *group) value(i int, name string) uint64 {
	g.t.Helper()
	var value uint64
	g.eventually(name, func() bool {
		values := g.replicas[i].Measure().Values
		require.Contains(g.t, values, name)
		value = values[name]
		return value > 0
	})
	return value
}

// TestViewChangesByReason: each reason is counted where it applies, and the total is their sum.
func TestViewChangesByReason(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.mustCommit(1, 3)
	first := uint64(0)
	for _, replica := range g.replicas {
		first += replica.Measure().Values["view_changes.first_view"]
	}
	require.NotZero(t, first)

	leader, _ := g.primary()
	g.stop(leader)
	g.mustCommit(4, 6)
	lost, heard := uint64(0), uint64(0)
	for _, i := range g.backups(leader) {
		values := g.replicas[i].Measure().Values
		lost += values["view_changes.primary_lost"]
		heard += values["view_changes.higher_view"]
		total := uint64(0)
		for _, reason := range []string{"primary_lost", "higher_view", "restart", "overtaken", "handover", "first_view"} {
			total += values["view_changes."+reason]
		}
		require.Equal(t, total, values["view_changes"])
		require.GreaterOrEqual(t, g.replicas[i].Status().Counters["view_changes"], total)
	}
	require.NotZero(t, lost, "somebody lost the primary")
	require.NotZero(t, heard, "and somebody else heard of that")

	g.start(leader)
	require.Equal(t, uint64(1), g.value(leader, "view_changes.restart"), "it was its view's primary")
}

// TestMeasures: what a replica that works, checkpoints and catches up has measured.
func TestMeasures(t *testing.T) {
	g := newGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 20 })
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	late := g.backups(leader)[0]
	g.stop(late)
	g.machines[leader].pad(1 << 20)
	g.mustCommit(11, 200)
	g.start(late)
	g.converged(200)

	require.NotZero(t, g.value(late, "checkpoint_fetches_begun"))
	fetched := g.value(late, "checkpoint_fetch_bytes")
	require.NotZero(t, g.value(late, "checkpoint_fetches"))
	require.NotZero(t, g.value(late, "transfers_begun"))
	require.NotZero(t, g.value(late, "transfers_ended"))
	served := uint64(0)
	for _, i := range g.backups(late) {
		values := g.replicas[i].Measure().Values
		served += values["checkpoint_serve_bytes"]
		require.NotZero(t, values["checkpoints_begun"])
		require.NotZero(t, values["checkpoint_bytes"])
		require.GreaterOrEqual(t, values["commit_heard"], uint64(200))
	}
	require.GreaterOrEqual(t, served, fetched)

	leader, _ = g.primary()
	measures := g.replicas[leader].Measure()
	for _, name := range []string{"messages_sent.PREPARE", "bytes_sent.PREPARE", "messages_received.PREPAREOK", "bytes_received.PREPAREOK", "fsyncs"} {
		require.NotZero(t, measures.Values[name], name)
	}
	require.Zero(t, measures.Values["messages_received.unknown"])
	g.eventually("nothing waits any more", func() bool {
		values := g.replicas[leader].Measure().Values
		return values["queue_operations"]+values["queue_operation_bytes"]+values["queue_reads"]+values["lag"] == 0
	})
	writes := uint64(0)
	for _, count := range measures.Histograms["durable_write_seconds"].Counts {
		writes += count
	}
	require.NotZero(t, writes)
	require.NotZero(t, measures.Histograms["durable_write_seconds"].Sum)
}

// TestWhatWaitsIsMeasured at a primary whose backups do not reach it.
func TestWhatWaitsIsMeasured(t *testing.T) {
	g := newMemoryGroup(t, 3, nil)
	g.mustCommit(1, 5)
	g.converged(5)
	leader, view := g.primary()
	g.network.cut(core.ReplicaID(leader+1), true, false) // it sends, and hears nobody
	for range 3 {
		g.replicas[leader].Submit(view, []byte("waits"), func(replication.Result) {})
	}
	require.Equal(t, uint64(3), g.value(leader, "queue_operations"))
	require.Equal(t, uint64(15), g.value(leader, "queue_operation_bytes"))
	g.network.heal()
	g.converged(5)
}
