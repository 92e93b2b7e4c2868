package vr_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// breaking gives so many chunks, and then an error.
type breaking struct {
	replication.ChunkReader
	chunks int
	then   error
	taken  *atomic.Int64
}

func (b *breaking) Next() (replication.Chunk, error) {
	if b.chunks == 0 {
		return replication.Chunk{}, b.then
	}
	b.chunks--
	chunk, err := b.ChunkReader.Next()
	if err == nil {
		b.taken.Add(1)
	}
	return chunk, err
}

// altering changes a byte of each chunk with an index for which bad is true.
type altering struct {
	replication.ChunkReader
	bad func(index uint64) bool
}

func (a *altering) Next() (replication.Chunk, error) {
	chunk, err := a.ChunkReader.Next()
	if err == nil && a.bad(chunk.Index) {
		chunk.Data = append([]byte(nil), chunk.Data...)
		chunk.Data[len(chunk.Data)/2] ^= 1
	}
	return chunk, err
}

// lateGroup is a group of which one replica is down and needs a checkpoint of 8 full chunks and more.
func lateGroup(t *testing.T, configure func(*vr.Options)) (g *group, late int) {
	g = newGroup(t, 3, func(o *vr.Options) {
		o.CheckpointEvery = 20
		if configure != nil {
			configure(o)
		}
	})
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	late = g.backups(leader)[0]
	g.stop(late)
	for i := range g.machines {
		g.machines[i].pad(2 << 20)
	}
	g.mustCommit(11, 100)
	for _, i := range g.backups(late) {
		require.NoError(t, g.replicas[i].Checkpoint(t.Context()))
	}
	return g, late
}

func (g *group) tamper(how func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error)) {
	g.network.mu.Lock()
	defer g.network.mu.Unlock()
	g.network.tamper = how
}

// TestABrokenFetchGoesOn at the chunk where it stopped: no chunk travels twice.
func TestABrokenFetchGoesOn(t *testing.T) {
	g, late := lateGroup(t, nil)
	var taken, streams atomic.Int64
	g.tamper(func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
		streams.Add(1)
		return header, &breaking{ChunkReader: chunks, chunks: 2, then: errCut, taken: &taken}, nil
	})
	g.start(late)
	g.converged(100)
	values := g.replicas[late].Measure().Values
	require.GreaterOrEqual(t, streams.Load(), int64(5))
	require.EqualValues(t, 9, taken.Load())
	require.EqualValues(t, streams.Load()-1, values["checkpoint_fetch_resumes"])
	require.EqualValues(t, 1, values["checkpoint_fetches"])
	require.Zero(t, values["checkpoint_fetches_failed"]+values["checkpoint_fetch_done_bytes"]+values["checkpoint_fetch_total_bytes"])
}

// TestAFetchGoesOnAfterARestart of the replica that fetches.
func TestAFetchGoesOnAfterARestart(t *testing.T) {
	g, late := lateGroup(t, nil)
	var taken atomic.Int64
	g.tamper(func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
		if taken.Load() > 0 {
			return nil, nil, errCut
		}
		return header, &breaking{ChunkReader: chunks, chunks: 5, then: errCut, taken: &taken}, nil
	})
	g.start(late)
	g.eventually("a part is here", func() bool { return taken.Load() == 5 })
	g.stop(late)
	g.tamper(func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
		return header, &breaking{ChunkReader: chunks, chunks: 100, taken: &taken}, nil
	})
	g.start(late)
	g.converged(100)
	require.EqualValues(t, 9, taken.Load())
	require.EqualValues(t, 1, g.replicas[late].Measure().Values["checkpoint_fetch_resumes"])
}

// TestADamagedChunkIsFetchedAgain, and from another member when one member damages it each time.
func TestADamagedChunkIsFetchedAgain(t *testing.T) {
	for name, times := range map[string]int64{"once": 1, "as long as that member is asked": 4} {
		t.Run(name, func(t *testing.T) {
			g, late := lateGroup(t, nil)
			var damaged atomic.Int64
			g.tamper(func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
				return header, &altering{ChunkReader: chunks, bad: func(index uint64) bool { return index == 3 && damaged.Add(1) <= times }}, nil
			})
			g.start(late)
			g.converged(100)
			values := g.replicas[late].Measure().Values
			require.EqualValues(t, times, values["checkpoint_chunks_refused"])
			require.Equal(t, times == 4, values["checkpoint_fetches_failed"] > 0)
		})
	}
}

// fetchWhileNewerAreWritten breaks a late replica's fetch after four chunks, and lets it go on when the others have written
// four newer checkpoints, of which each holds so many. It returns what that replica then measured, and how many chunks
// were sent.
func fetchWhileNewerAreWritten(t *testing.T, held int) (values map[string]uint64, chunks int64) {
	t.Helper()
	g, late := lateGroup(t, func(o *vr.Options) { o.HoldCheckpointsMax, o.FetchTimeout = held, patience })
	var taken atomic.Int64
	var once sync.Once
	reached, goOn := make(chan struct{}), make(chan struct{})
	g.tamper(func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
		if taken.Load() == 4 {
			once.Do(func() {
				close(reached)
				<-goOn
			})
		}
		return header, &breaking{ChunkReader: chunks, chunks: 4, then: errCut, taken: &taken}, nil
	})
	g.start(late)
	<-reached
	for last := 120; last <= 180; last += 20 {
		g.mustCommit(last-19, last, late)
		for _, i := range g.backups(late) {
			require.NoError(t, g.replicas[i].Checkpoint(t.Context()))
		}
	}
	close(goOn)
	g.converged(180)
	return g.replicas[late].Measure().Values, taken.Load()
}

// TestACheckpointIsHeldWhileItIsFetched: newer ones take its place, and the fetch ends with it and goes on with the log
// above it.
func TestACheckpointIsHeldWhileItIsFetched(t *testing.T) {
	values, chunks := fetchWhileNewerAreWritten(t, 1000)
	require.EqualValues(t, 9, chunks)
	require.Zero(t, values["checkpoint_fetches_replaced"])
	require.EqualValues(t, 1, values["checkpoint_fetches"])
	require.NotZero(t, values["transfer_entries"])
}

// TestACheckpointIsNotHeldForEver: after so many newer ones it is gone, and the newest is fetched instead.
func TestACheckpointIsNotHeldForEver(t *testing.T) {
	values, _ := fetchWhileNewerAreWritten(t, 1)
	require.EqualValues(t, 1, values["checkpoint_fetches_replaced"])
}

// TestAHeldCheckpointIsLetGo when nobody reads it any more.
func TestAHeldCheckpointIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 10 })
		g.mustCommit(1, 10)
		leader, _ := g.primary()
		late := g.backups(leader)[0]
		g.stop(late)
		for _, last := range []int{30, 60} { // after the second the log does not reach down to what is missing
			g.mustCommit(last-19, last, late)
			for _, i := range g.backups(late) {
				require.NoError(t, g.replicas[i].Checkpoint(t.Context()))
			}
		}
		g.start(late)
		g.converged(50)
		heldAt := func() (count uint64) {
			for _, i := range g.backups(late) {
				count += g.replicas[i].Measure().Values["checkpoints_held"]
			}
			return count
		}
		require.NotZero(t, heldAt())
		time.Sleep(vr.HoldTimeoutDefault + time.Second)
		require.Zero(t, heldAt())
		g.closeAll()
	})
}

// TestThePaceOfServing: 9 chunks and not more than one in each quarter of a second.
func TestThePaceOfServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newMemoryGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery, o.ServeBytesPerSecond = 10, 4*vr.ServeBytesPerSecondMin })
		g.mustCommit(1, 10)
		leader, _ := g.primary()
		late := g.backups(leader)[0]
		g.stop(late)
		for i := range g.machines {
			g.machines[i].pad(2 << 20)
		}
		g.mustCommit(11, 60)
		began := time.Now()
		g.start(late)
		g.converged(60)
		require.GreaterOrEqual(t, time.Since(began), 8*time.Second/4)
		require.Less(t, time.Since(began), 4*time.Second)
		g.closeAll()
	})
}

// TestCheckpointsAreServedToFew: who asks for a third one while two are being fetched has to ask somebody else.
func TestCheckpointsAreServedToFew(t *testing.T) {
	g := newMemoryGroup(t, 1, nil)
	asking := g.network.join(99)
	fetch := func() (replication.ChunkReader, error) {
		_, chunks, err := asking.FetchCheckpoint(t.Context(), core.ReplicaID(1), replication.CheckpointRequest{})
		return chunks, err
	}
	_, err := fetch()
	require.ErrorIs(t, err, vr.ErrNoCheckpoint)
	var open []replication.ChunkReader
	for i := range 3 {
		g.mustCommit(i+1, i+1)
		require.NoError(t, g.replicas[0].Checkpoint(t.Context()))
		chunks, err := fetch()
		if i < 2 {
			require.NoError(t, err, fmt.Sprint(i))
			open = append(open, chunks)
		} else {
			require.ErrorContains(t, err, "other checkpoints are being fetched")
		}
	}
	require.NoError(t, open[0].Close())
	require.NoError(t, open[0].Close())
	chunks, err := fetch()
	require.NoError(t, err)
	_, err = open[0].Next()
	require.ErrorIs(t, err, replication.ErrCheckpointGone)
	_, err = open[1].Next()
	require.NoError(t, err)
	require.NoError(t, open[1].Close())
	require.NoError(t, chunks.Close())
	_, _, err = asking.FetchCheckpoint(t.Context(), 1, replication.CheckpointRequest{Resume: []byte{0xff}})
	require.Error(t, err)
}
