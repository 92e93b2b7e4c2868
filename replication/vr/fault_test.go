package vr_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// answers collects what became of operations, and notices an answer that comes twice.
type answers struct {
	results chan replication.Result
	calls   atomic.Int64
}

func newAnswers(n int) *answers { return &answers{results: make(chan replication.Result, 2*n)} }

// submit submits an operation whose answer is expected once.
func (a *answers) submit(r *vr.Replica, view replication.ViewNumber, operation []byte) {
	var once atomic.Bool
	r.Submit(view, operation, func(result replication.Result) {
		if once.Swap(true) {
			result.Err = errors.Join(result.Err, errors.New("answered twice"))
		}
		a.calls.Add(1)
		a.results <- result
	})
}

// wait returns n answers.
func (a *answers) wait(t *testing.T, n int) []replication.Result {
	t.Helper()
	var results []replication.Result
	for range n {
		select {
		case result := <-a.results:
			results = append(results, result)
		case <-time.After(patience):
			require.FailNow(t, "not everything was answered", "%d of %d", len(results), n)
		}
	}
	return results
}

func TestOverload(t *testing.T) {
	g := newMemoryGroup(t, 3, func(o *vr.Options) {
		o.QueueMax, o.QueueBytesMax, o.OperationBytesMax, o.ReadsMax = 10, 1000, 500, 3
		o.ViewChangeTimeoutMin, o.LeaseDuration = time.Minute, -1
	})
	g.mustCommit(1, 1)
	leader, view := g.primary()
	g.network.cut(core.ReplicaID(leader+1), true, true)
	replica := g.replicas[leader]

	waiting, refused := newAnswers(10), newAnswers(1)
	refused.submit(replica, view, make([]byte, 501))
	require.ErrorIs(t, refused.wait(t, 1)[0].Err, replication.ErrTooLarge)
	waiting.submit(replica, view, make([]byte, 450))
	waiting.submit(replica, view, make([]byte, 450))
	refused.submit(replica, view, make([]byte, 450))
	require.ErrorIs(t, refused.wait(t, 1)[0].Err, replication.ErrOverloaded)
	for range 8 {
		waiting.submit(replica, view, []byte("small"))
	}
	refused.submit(replica, view, []byte("small"))
	result := refused.wait(t, 1)[0]
	require.ErrorIs(t, result.Err, replication.ErrOverloaded)
	require.True(t, replication.DidNotHappen(result.Err))

	barriers := make(chan error, 4)
	for range 4 {
		replica.ReadBarrier(view, func(err error) { barriers <- err })
	}
	require.ErrorIs(t, <-barriers, replication.ErrOverloaded)
	require.Equal(t, uint64(3), replica.Status().Counters["overloads"])

	g.network.heal()
	for _, result := range waiting.wait(t, 10) {
		require.NoError(t, result.Err)
	}
	for range 3 {
		require.NoError(t, <-barriers)
	}
	waiting.submit(replica, view, make([]byte, 450))
	require.NoError(t, waiting.wait(t, 1)[0].Err, "what was answered makes room")
}

func TestWipedLogIsRefused(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	victim := g.backups(leader)[0]
	g.stop(victim)
	require.NoError(t, os.Remove(filepath.Join(g.directories[victim], "replica.db")))
	_, err := g.open(victim)
	require.ErrorIs(t, err, storage.ErrNotFormatted)
	g.mustCommit(11, 12)
}

func TestDamagedEntryIsRefusedAtOpen(t *testing.T) {
	g := newGroup(t, 3, func(options *vr.Options) { options.RefuseDamage = true })
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	victim := g.backups(leader)[0]
	g.converged(10)
	g.stop(victim)
	path := filepath.Join(g.directories[victim], "replica.db")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	spoiled := bytes.ReplaceAll(data, []byte("operation 7"), []byte("Operation 7"))
	require.NotEqual(t, data, spoiled)
	require.NoError(t, os.WriteFile(path, spoiled, 0o600))
	_, err = g.open(victim)
	var damage *storage.DamageError
	require.ErrorAs(t, err, &damage)
	require.ErrorIs(t, err, vr.ErrDamaged)
	require.Equal(t, core.OpNumber(7), damage.Op)
	require.Equal(t, path, damage.File)
	g.mustCommit(11, 12)
}

// TestFailedWriteStopsTheReplica, whether what was written has reached the disk or not. Both backups may have had it sooner
// on theirs: then it is committed.
func TestFailedWriteStopsTheReplica(t *testing.T) {
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn %v", torn), func(t *testing.T) {
			var storages []vr.Storage
			for range 3 {
				storages = append(storages, storage.NewFailing(storage.NewMemory()))
			}
			g := newGroupOver(t, storages, nil)
			g.mustCommit(1, 5)
			leader, view := g.primary()
			failing := storages[leader].(*storage.Failing)
			failing.Fail(storage.Fault{Call: storage.CallWrite, Nth: 1, Torn: torn})
			waiting := newAnswers(10)
			for range 10 {
				waiting.submit(g.replicas[leader], view, []byte("into the void"))
			}
			committed := uint64(1)
			for _, result := range waiting.wait(t, 10) {
				if result.Err == nil {
					committed = max(committed, uint64(result.Op))
				}
			}
			g.eventually("it says why it stopped", func() bool { return g.replicas[leader].Status().Failure != nil })
			status := g.replicas[leader].Status()
			require.ErrorIs(t, status.Failure, storage.ErrInjected)
			require.Equal(t, "stopped", status.Protocol)
			require.False(t, status.Leading)
			err := replication.Propose(t.Context(), g.replicas[leader], view, []byte("x")).Err
			require.ErrorIs(t, err, replication.ErrClosed)
			require.ErrorIs(t, err, storage.ErrInjected)
			for event := range g.replicas[leader].Events() {
				if !event.Leading {
					break // the one before it may not have been read
				}
			}
			g.mustCommitSomething(leader)
			g.stop(leader)
			g.start(leader)
			g.mustCommitSomething()
			g.converged(committed)
		})
	}
}

// mustCommitSomething commits one operation whose outcome is known.
func (g *group) mustCommitSomething(except ...int) {
	g.t.Helper()
	require.NoError(g.t, g.commit(fmt.Appendf(nil, "something at %v", time.Now()), except...).Err)
}

func TestFailedCheckpointStopsTheReplica(t *testing.T) {
	for _, call := range []storage.Call{storage.CallCreateCheckpoint, storage.CallCheckpointWrite, storage.CallCheckpointCommit} {
		g := newMemoryGroup(t, 1, nil)
		g.stop(0)
		g.storages[0] = storage.NewFailing(g.storages[0], storage.Fault{Call: call, Nth: 1})
		g.start(0)
		g.mustCommit(1, 3)
		err := g.replicas[0].Checkpoint(t.Context())
		require.ErrorIs(t, err, replication.ErrClosed)
		require.ErrorIs(t, err, storage.ErrInjected)
		require.ErrorIs(t, g.replicas[0].Status().Failure, storage.ErrInjected)
	}
}

// TestNoSpaceForACheckpoint: the log goes on without checkpoints, which are tried again now and then only, and at once
// for those who ask.
func TestNoSpaceForACheckpoint(t *testing.T) {
	for _, call := range []storage.Call{storage.CallCreateCheckpoint, storage.CallCheckpointWrite, storage.CallCheckpointCommit} {
		full := storage.Fault{Call: call, Nth: 1, Err: syscall.ENOSPC}
		g := newMemoryGroup(t, 1, func(o *vr.Options) { o.CheckpointEvery = 5 })
		g.stop(0)
		failing := storage.NewFailing(g.storages[0], full)
		g.storages[0] = failing
		g.start(0)
		g.mustCommit(1, 5)
		g.eventually("a checkpoint is tried", func() bool { return failing.Struck() == 1 })
		failing.Fail(full)
		require.ErrorIs(t, g.replicas[0].Checkpoint(t.Context()), vr.ErrNoSpace)
		g.mustCommit(6, 100)
		require.Equal(t, 2, failing.Calls(storage.CallCreateCheckpoint), "none is tried while it rests")
		require.NoError(t, g.replicas[0].Status().Failure)
		require.NoError(t, g.replicas[0].Checkpoint(t.Context()))
		require.EqualValues(t, 100, g.replicas[0].Status().Checkpoint)
	}
}

// TestNoSpaceForAFetchedCheckpoint: the replica stays as it was, and asks again when it has rested.
func TestNoSpaceForAFetchedCheckpoint(t *testing.T) {
	for _, call := range []storage.Call{storage.CallReceiveCheckpoint, storage.CallChunkWrite, storage.CallReceiverCommit} {
		synctest.Test(t, func(t *testing.T) { testNoSpaceForAFetchedCheckpoint(t, call) })
	}
}

func testNoSpaceForAFetchedCheckpoint(t *testing.T, call storage.Call) {
	g := newMemoryGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 10 })
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	late := g.backups(leader)[0]
	g.stop(late)
	for _, first := range []int{11, 56} {
		g.mustCommit(first, first+44)
		for _, i := range g.backups(late) {
			require.NoError(t, g.replicas[i].Checkpoint(t.Context()))
		}
	}
	failing := storage.NewFailing(g.storages[late], storage.Fault{Call: call, Nth: 1, Err: syscall.ENOSPC})
	g.storages[late] = failing
	began := time.Now()
	g.start(late)
	g.converged(100)
	require.Equal(t, 1, failing.Struck())
	require.GreaterOrEqual(t, time.Since(began), 10*time.Second)
	g.closeAll()
}

func TestFailuresOfOpen(t *testing.T) {
	memory := storage.NewMemory()
	options := vr.Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: memory, StateMachine: &journal{}}
	replica, err := vr.Open(options)
	require.NoError(t, err)
	event := <-replica.Events()
	require.NoError(t, replication.Propose(t.Context(), replica, event.View, []byte("x")).Err)
	require.NoError(t, replica.Checkpoint(t.Context()))
	require.NoError(t, replica.Close())
	for _, call := range []storage.Call{storage.CallLoad, storage.CallOpenCheckpoint, storage.CallCheckpointRead} {
		options.Storage = storage.NewFailing(memory, storage.Fault{Call: call, Nth: 1, Torn: true})
		options.StateMachine = &journal{}
		_, err = vr.Open(options)
		require.ErrorIs(t, err, storage.ErrInjected)
	}
	options.Storage, options.Members = memory, []replication.ReplicaID{2}
	_, err = vr.Open(options)
	require.ErrorIs(t, err, vr.ErrOptions)
}

// TestFetchedCheckpointThatIsNotWhatWasAsked is not installed; the replica asks again.
func TestFetchedCheckpointThatIsNotWhatWasAsked(t *testing.T) {
	g := newMemoryGroup(t, 3, func(o *vr.Options) { o.CheckpointEvery = 10 })
	g.mustCommit(1, 5)
	leader, _ := g.primary()
	late := g.backups(leader)[0]
	g.stop(late)
	g.mustCommit(6, 60)
	var spoiled atomic.Int64
	g.network.mu.Lock()
	g.network.tamper = func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
		var read pb.VRCheckpoint
		require.NoError(t, proto.Unmarshal(header, &read))
		switch spoiled.Add(1) {
		case 1:
			return []byte{0xff}, chunks, nil // no header at all
		case 2:
			read.Version++
		case 3:
			read.Epoch++
		case 4:
			read.Op = 1 // it was not asked for
		case 5:
			read.Digest = read.GetDigest()[1:]
		case 6:
			read.Digest[3] ^= 1 // found out when all is here
		case 7:
			read.Bytes++
		case 8:
			read.Bytes--
		}
		header, err := proto.Marshal(&read)
		return header, chunks, err
	}
	g.network.mu.Unlock()
	g.start(late)
	g.converged(60)
	require.Greater(t, spoiled.Load(), int64(8))
}

// TestDamagedCheckpointIsWrittenAnew by the replica that serves it, from its state: nothing is sent of the damaged one,
// and who asks again gets the new one.
func TestDamagedCheckpointIsWrittenAnew(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.mustCommit(1, 40)
	leader, _ := g.primary()
	require.NoError(t, g.replicas[leader].Checkpoint(t.Context()), "nothing is applied after this one")
	names, err := filepath.Glob(filepath.Join(g.directories[leader], "checkpoint-*"))
	require.NoError(t, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		data[len(data)/2] ^= 1
		require.NoError(t, os.WriteFile(name, data, 0o600))
	}
	victim := core.ReplicaID(leader + 1)
	asking := g.network.join(99)
	_, chunks, err := asking.FetchCheckpoint(context.Background(), victim, replication.CheckpointRequest{AtLeast: 1})
	if err == nil {
		_, err = chunks.Next()
		require.NoError(t, chunks.Close())
	}
	require.ErrorIs(t, err, vr.ErrDamaged)
	g.eventually("it is served again", func() bool {
		_, chunks, err := asking.FetchCheckpoint(context.Background(), victim, replication.CheckpointRequest{AtLeast: 1})
		if err != nil {
			return false
		}
		for err == nil {
			_, err = chunks.Next()
		}
		require.NoError(t, chunks.Close())
		return errors.Is(err, io.EOF)
	})
	status := g.replicas[leader].Status()
	require.NoError(t, status.Failure)
	require.NotZero(t, status.Counters["damages"])
	g.mustCommit(41, 42)
}
