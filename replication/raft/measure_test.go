package raft_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
)

// TestMeasures: what replicas that work, checkpoint, catch up, lose their leader and hand over have measured.
func TestMeasures(t *testing.T) {
	g := newChanging(t, 3, func(o *raft.Options) { o.CheckpointEvery = 20 })
	g.commit("first")
	value := func(place int, name string) uint64 {
		values := g.replicas[place].Measure().Values
		require.Contains(t, values, name)
		return values[name]
	}
	sum := func(name string) (total uint64) {
		for place, replica := range g.replicas {
			if replica != nil {
				total += value(place, name)
			}
		}
		return total
	}
	require.NotZero(t, sum("view_changes.first_view"))
	leader, _ := g.primary()
	late := (leader + 1) % 3
	g.stop(late)
	for n := range 100 {
		g.commit(fmt.Sprint(n))
	}
	g.start(late)
	g.has("99", 0, 1, 2)
	require.NotZero(t, value(late, "checkpoint_fetches_begun"))
	require.NotZero(t, value(late, "checkpoint_fetches"))
	require.GreaterOrEqual(t, sum("checkpoint_serve_bytes"), value(late, "checkpoint_fetch_bytes"))
	require.NotZero(t, value(late, "checkpoint_fetch_bytes"))
	require.NotZero(t, sum("checkpoints_begun"))
	require.NotZero(t, sum("checkpoint_bytes"))
	for _, name := range []string{"APPEND_ENTRIES", "APPEND_ENTRIES_ANSWER", "INSTALL_SNAPSHOT", "REQUEST_VOTE", "PRE_VOTE_ANSWER"} {
		require.NotZero(t, sum("messages_sent."+name), name)
		require.NotZero(t, sum("bytes_received."+name), name)
	}
	require.Zero(t, sum("messages_received.unknown"))
	require.NotZero(t, sum("entries_persisted"))

	leader, _ = g.primary()
	g.stop(leader)
	g.commit("without it")
	g.eventually("somebody lost the leader, and somebody heard of that", func() bool {
		return sum("view_changes.primary_lost") > 0 && sum("view_changes.higher_view") > 0
	})
	for place, replica := range g.replicas {
		if replica == nil {
			continue
		}
		total := uint64(0)
		values := replica.Measure().Values
		for _, reason := range []string{"primary_lost", "higher_view", "handover", "first_view"} {
			total += values["view_changes."+reason]
		}
		require.Equal(t, total, values["view_changes"])
		require.GreaterOrEqual(t, replica.Status().Counters["view_changes"], total, place)
	}
	g.start(leader)
	g.eventually("the role goes to another", func() bool {
		from, _ := g.primary()
		return g.replicas[from].TransferPrimary(g.ctx, replication.ReplicaID((from+1)%3+1)) == nil
	})
	require.NotZero(t, sum("handovers.done"))
	require.NotZero(t, sum("view_changes.handover"))
	g.eventually("nothing waits any more", func() bool {
		return sum("queue_operations")+sum("queue_operation_bytes")+sum("queue_reads")+sum("lag") == 0
	})
}

// TestWhatWaitsIsMeasured at a leader that nobody answers.
func TestWhatWaitsIsMeasured(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	g.eventually("three wait", func() bool {
		leader, view := g.primary()
		for other := range 3 {
			g.network.Cut(replication.ReplicaID(other+1), replication.ReplicaID(leader+1))
		}
		answered := make(chan replication.Result, 3)
		for range 3 {
			g.replicas[leader].Submit(view, []byte("waits"), func(result replication.Result) { answered <- result })
		}
		values := g.replicas[leader].Measure().Values
		g.network.Heal()
		if len(answered) > 0 {
			return false // it had lost its place
		}
		return values["queue_operations"] == 3 && values["queue_operation_bytes"] == 15
	})
}
