package vr_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

var errDisk = errors.New("the disk is gone")

// gatedDisk is a storage whose writes of entries can be made to wait, and then to fail.
type gatedDisk struct {
	vr.Storage

	mu      sync.Mutex
	opens   chan struct{} // nil: it is open
	failure error
}

func (g *gatedDisk) Write(batch vr.Batch) error {
	g.mu.Lock()
	opens := g.opens
	g.mu.Unlock()
	if opens != nil && len(batch.Entries) > 0 {
		<-opens
	}
	g.mu.Lock()
	failure := g.failure
	g.mu.Unlock()
	if failure != nil {
		return failure
	}
	return g.Storage.Write(batch)
}

func (g *gatedDisk) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opens = make(chan struct{})
}

// open lets all writes go on; with an error they fail.
func (g *gatedDisk) open(failure error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failure = failure
	if g.opens != nil {
		close(g.opens)
		g.opens = nil
	}
}

// newGatedGroup is a group of three that keeps its primary, with the primary's storage, which is shut.
func newGatedGroup(t *testing.T) (*group, *vr.Replica, replication.ViewNumber, *gatedDisk) {
	t.Helper()
	storages, gates := make([]vr.Storage, 3), make([]*gatedDisk, 3)
	for i := range storages {
		gates[i] = &gatedDisk{Storage: storage.NewMemory()}
		storages[i] = gates[i]
	}
	g := newGroupOver(t, storages, func(o *vr.Options) { o.ViewChangeTimeoutMin = time.Minute })
	leader, view := g.primary()
	g.eventually("all are in the view", func() bool {
		for _, replica := range g.replicas {
			if status := replica.Status(); status.View != view || status.Protocol != "normal" {
				return false
			}
		}
		return true
	})
	require.NoError(t, replication.Propose(t.Context(), g.replicas[leader], view, []byte("first")).Err)
	g.eventually("the primary's own disk has it", func() bool { return g.replicas[leader].Status().Counters["entries_persisted"] == 1 })
	gate := gates[leader]
	gate.shut()
	t.Cleanup(func() { gate.open(nil) }) // before the replicas are closed
	return g, g.replicas[leader], view, gate
}

// TestAPrimaryDoesNotWaitForItsOwnDisk: operations are committed and answered, one after the other, as soon as the two
// backups have them on their disks. When the primary's takes no more than it may owe, the next waits, and nothing is lost.
func TestAPrimaryDoesNotWaitForItsOwnDisk(t *testing.T) {
	g, primary, view, gate := newGatedGroup(t)
	before := primary.Status().Counters["entries_persisted"]
	for range vr.BehindMax {
		require.NoError(t, replication.Propose(t.Context(), primary, view, []byte("answered")).Err)
	}
	require.Equal(t, before, primary.Status().Counters["entries_persisted"])
	results := make(chan replication.Result, 2*vr.BehindMax)
	for range cap(results) {
		primary.Submit(view, []byte("waits"), func(result replication.Result) { results <- result })
	}
	gate.open(nil)
	for range cap(results) {
		require.NoError(t, (<-results).Err)
	}
	g.eventually("the primary's disk has everything", func() bool {
		return primary.Status().Counters["entries_persisted"] == before+3*vr.BehindMax
	})
	require.True(t, primary.Status().Leading)
}

// TestAFailedWriteBehindStopsThePrimary, though what it had written so was answered.
func TestAFailedWriteBehindStopsThePrimary(t *testing.T) {
	g, primary, view, gate := newGatedGroup(t)
	require.NoError(t, replication.Propose(t.Context(), primary, view, []byte("answered")).Err)
	gate.open(errDisk)
	g.eventually("it stops", func() bool { return primary.Status().Failure != nil })
	require.ErrorIs(t, primary.Status().Failure, errDisk)
	require.ErrorIs(t, replication.Propose(t.Context(), primary, view, []byte("refused")).Err, replication.ErrClosed)
}

// TestCloseWritesWhatIsBehind: what a primary has applied is in its log when it has been closed.
func TestCloseWritesWhatIsBehind(t *testing.T) {
	g, primary, view, gate := newGatedGroup(t)
	for range 3 {
		require.NoError(t, replication.Propose(t.Context(), primary, view, []byte("answered")).Err)
	}
	closed := make(chan error, 1)
	go func() { closed <- primary.Close() }()
	gate.open(nil)
	require.NoError(t, <-closed)
	loaded, err := gate.Load()
	require.NoError(t, err)
	require.Len(t, loaded.Entries, 4)
	g.eventually("the others have it too", func() bool {
		for _, replica := range g.replicas {
			if replica != primary && replica.Status().Op < 4 {
				return false
			}
		}
		return true
	})
}
