package vr_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// The tests of this file run on virtual time: no disk, no socket, and nobody is slow.

func TestIdleGroupKeepsItsPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		leader, view := g.primary()
		before := g.replicas[leader].Status().Counters["messages_sent"]
		time.Sleep(time.Minute)
		again, same := g.primary()
		require.Equal(t, leader, again)
		require.Equal(t, view, same)
		// Two backups hear from it every 30 ms.
		sent := g.replicas[leader].Status().Counters["messages_sent"] - before
		require.InDelta(t, 2*time.Minute/(30*time.Millisecond), float64(sent), 200)
		g.closeAll()
	})
}

func TestFailoverTakesOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		for round := 1; round <= 5; round++ {
			g.mustCommit(10*round, 10*round+5)
			leader, _ := g.primary()
			g.stop(leader)
			started := time.Now()
			g.primary()
			took := time.Since(started)
			require.GreaterOrEqual(t, took, vr.ViewChangeTimeoutMinDefault-vr.HeartbeatIntervalDefault)
			require.Less(t, took, 2*vr.ViewChangeTimeoutMaxDefault)
			g.start(leader)
		}
		g.closeAll()
	})
}

// TestPrimaryAloneStopsLeading within the time after which another may lead, whether anyone asks it or not.
func TestPrimaryAloneStopsLeading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, nil)
		g.mustCommit(1, 1)
		leader, view := g.primary()
		require.True(t, (<-g.replicas[leader].Events()).Leading)
		g.network.cut(core.ReplicaID(leader+1), true, true)
		started := time.Now()
		event := <-g.replicas[leader].Events()
		require.False(t, event.Leading)
		require.Equal(t, view, event.View)
		require.Less(t, time.Since(started), 2*vr.ViewChangeTimeoutMinDefault)
		g.closeAll()
	})
}

// stalling is a transport whose first checkpoint never comes to its end.
type stalling struct {
	*end
	fetches *atomic.Int64
}

func (s stalling) FetchCheckpoint(ctx context.Context, from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	header, chunks, err := s.end.FetchCheckpoint(ctx, from, request)
	if err == nil && s.fetches.Add(1) == 1 {
		return header, stalledChunks{ChunkReader: chunks, ctx: ctx}, nil
	}
	return header, chunks, err
}

type stalledChunks struct {
	replication.ChunkReader
	ctx context.Context
}

func (c stalledChunks) Next() (replication.Chunk, error) {
	<-c.ctx.Done()
	return replication.Chunk{}, c.ctx.Err()
}

func TestCheckpointThatStandsStillIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int64
		g := newMemoryGroup(t, 3, func(o *vr.Options) {
			o.CheckpointEvery = 10
			o.Transport = stalling{end: o.Transport.(*end), fetches: &fetches}
		})
		g.mustCommit(1, 5)
		leader, _ := g.primary()
		late := g.backups(leader)[0]
		g.stop(late)
		g.mustCommit(6, 60)
		started := time.Now()
		g.start(late)
		g.converged(60)
		require.Equal(t, int64(2), fetches.Load())
		require.GreaterOrEqual(t, time.Since(started), vr.FetchTimeoutDefault)
		g.closeAll()
	})
}

// TestCloseWhileACheckpointIsBeingFetched does not wait for the transfer.
func TestCloseWhileACheckpointIsBeingFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int64
		g := newMemoryGroup(t, 3, func(o *vr.Options) {
			o.CheckpointEvery = 10
			o.FetchTimeout = time.Hour
			o.Transport = stalling{end: o.Transport.(*end), fetches: &fetches}
		})
		g.mustCommit(1, 5)
		leader, _ := g.primary()
		late := g.backups(leader)[0]
		g.stop(late)
		g.mustCommit(6, 60)
		g.start(late)
		g.eventually("it fetches", func() bool { return fetches.Load() == 1 })
		started := time.Now()
		g.stop(late)
		require.Zero(t, time.Since(started))
		g.closeAll()
	})
}
