package vr_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

func TestCommitInGroupsOfEverySize(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			g := newGroup(t, n, nil)
			g.mustCommit(1, 5)
			leader, view := g.primary()
			var answered atomic.Int64
			var waiting sync.WaitGroup
			for i := range 8 {
				waiting.Go(func() {
					for k := range 25 {
						operation := fmt.Appendf(nil, "%d of proposer %d", k, i)
						result := replication.Propose(t.Context(), g.replicas[leader], view, operation)
						if result.Err == nil {
							answered.Add(1)
						}
					}
				})
			}
			waiting.Wait()
			require.NotZero(t, answered.Load())
			g.converged(5 + uint64(answered.Load()))
			status := g.replicas[leader].Status()
			require.Equal(t, "vr", status.Backend)
			require.Equal(t, "sync", status.Durability)
			require.Len(t, status.Members, n)
			require.Equal(t, replication.GroupID(7), status.Group)
			require.NotZero(t, status.Counters["fsyncs"])
			require.NotZero(t, status.Counters["view_changes"])
			g.eventually("the primary's own disk has it all", func() bool {
				return g.replicas[leader].Status().Counters["entries_persisted"] >= uint64(answered.Load())
			})
			require.GreaterOrEqual(t, status.Counters["operations_applied"], uint64(answered.Load()))
			if n > 1 {
				for _, name := range []string{"messages_sent", "messages_received", "bytes_sent", "bytes_received"} {
					require.NotZero(t, status.Counters[name], name)
				}
			}
		})
	}
}

func TestEventsKeepTheNewest(t *testing.T) {
	g := newMemoryGroup(t, 3, nil)
	leader, view := g.primary()
	require.Equal(t, replication.Event{Leading: true, View: view}, <-g.replicas[leader].Events())
	events := g.replicas[leader].Events()
	require.NoError(t, g.replicas[leader].Close())
	event, open := <-events
	require.True(t, open)
	require.Equal(t, replication.Event{Leading: false, View: view}, event)
	_, open = <-events
	require.False(t, open, "Close closes the channel")
	require.False(t, g.replicas[leader].Status().Leading)
}

func TestCheckpointNow(t *testing.T) {
	g := newGroup(t, 1, nil)
	require.NoError(t, g.replicas[0].Checkpoint(t.Context()), "nothing to write")
	g.mustCommit(1, 10)
	var waiting sync.WaitGroup
	for range 4 {
		waiting.Go(func() {
			if err := g.replicas[0].Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	g.eventually("its op-number shows", func() bool { return g.replicas[0].Status().Checkpoint == 10 })
	require.LessOrEqual(t, g.replicas[0].Status().Counters["checkpoints"], uint64(2))
	require.NotZero(t, g.replicas[0].Status().Counters["checkpoints"])
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	g.mustCommit(11, 11)
	require.ErrorIs(t, g.replicas[0].Checkpoint(ended), context.Canceled)
	g.stop(0)
	g.start(0)
	g.converged(11)
}

// TestACheckpointThatTheLogDoesNotKnowOf is what a kill leaves between the end of a fetch and the log's going on from
// there: the next life goes on. (The log that it had is left out; the others are a quorum without its promises.)
func TestACheckpointThatTheLogDoesNotKnowOf(t *testing.T) {
	g := newGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 20 })
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	late := g.backups(leader)[0]
	g.stop(late)
	g.mustCommit(11, 100)
	g.stop(g.backups(leader)[0])
	g.stop(leader)

	g.directories[late] = t.TempDir()
	require.NoError(t, storage.Create(g.directories[late]))
	from, err := storage.Open(g.directories[leader], storage.Options{})
	require.NoError(t, err)
	to, err := storage.Open(g.directories[late], storage.Options{})
	require.NoError(t, err)
	meta, state, err := from.OpenCheckpoint()
	require.NoError(t, err)
	writer, err := to.CreateCheckpoint(meta)
	require.NoError(t, err)
	_, err = io.Copy(writer, state)
	require.NoError(t, errors.Join(err, writer.Commit(), state.Close(), to.Close(), from.Close()))

	for i := range g.replicas {
		g.start(i)
	}
	g.mustCommit(101, 110)
	g.converged(110)
	g.stop(late)
	g.start(late)
	g.converged(110)
}
