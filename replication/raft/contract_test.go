package raft

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

func TestOptionsAreValidated(t *testing.T) {
	good := Options{
		Self: 2, Members: []replication.ReplicaID{3, 2, 1}, Storage: NewMemoryStorage(), StateMachine: &notes{}, Transport: alone{},
	}
	require.NoError(t, good.Validate(), "members come in any order")
	for says, spoil := range map[string]func(*Options){
		"no Storage":                 func(o *Options) { o.Storage = nil },
		"no StateMachine":            func(o *Options) { o.StateMachine = nil },
		"no Transport":               func(o *Options) { o.Transport = nil },
		"is not among the members":   func(o *Options) { o.Self = 9 },
		"each is there once":         func(o *Options) { o.Members = []replication.ReplicaID{1, 2, 2} },
		"ids begin at 1":             func(o *Options) { o.Members = []replication.ReplicaID{0, 2} },
		"0 members":                  func(o *Options) { o.Members, o.Transport = nil, nil },
		"QueueMax is negative":       func(o *Options) { o.QueueMax = -1 },
		"QueueBytesMax 5":            func(o *Options) { o.QueueBytesMax = 5 },
		"InFlightMax 1":              func(o *Options) { o.InFlightMax = 1 },
		"BatchEntriesMax 2000":       func(o *Options) { o.BatchEntriesMax = 2000 },
		"there is no durability 7":   func(o *Options) { o.Durability = 7 },
		"HeartbeatTimeout is too lo": func(o *Options) { o.ViewChangeTimeout = time.Millisecond },
	} {
		options := good
		spoil(&options)
		require.ErrorIs(t, options.Validate(), ErrOptions, says)
		require.ErrorContains(t, options.Validate(), says)
		_, err := Open(options)
		require.ErrorIs(t, err, ErrOptions)
	}
}

func TestDurabilitiesByName(t *testing.T) {
	for _, durability := range []Durability{DurabilitySync, DurabilityMemory} {
		parsed, err := ParseDurability(durability.String())
		require.NoError(t, err)
		require.Equal(t, durability, parsed)
	}
	_, err := ParseDurability("async")
	require.ErrorIs(t, err, ErrOptions)
	require.ErrorContains(t, err, "Raft has sync and memory")
	_, err = ParseDurability("paper")
	require.ErrorIs(t, err, ErrOptions)
}

func TestStateMachineThatBreaksItsContractStopsTheReplica(t *testing.T) {
	for i, machine := range []*notes{{shortApply: true}, {failSnapshot: true}, {failWrite: true}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			replica, view := lone(t, NewMemoryStorage(), machine, nil)
			result := replication.Propose(t.Context(), replica, view, []byte("x"))
			if machine.shortApply {
				require.ErrorIs(t, result.Err, replication.ErrOutcomeUnknown)
			} else {
				require.NoError(t, result.Err)
			}
			require.ErrorIs(t, replica.Checkpoint(t.Context()), replication.ErrClosed)
			require.Error(t, replica.Status().Failure)
			require.Equal(t, "stopped", replica.Status().Protocol)
			require.NoError(t, replica.Close())
			require.Error(t, replica.Status().Failure, "Close does not forget why")
		})
	}
}

func TestRestoreThatLeavesBytesFailsOpen(t *testing.T) {
	storage := NewMemoryStorage()
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "xyz")
	require.NoError(t, replica.Checkpoint(t.Context()))
	require.NoError(t, replica.Close())
	_, err := Open(Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{leaveBytes: true}})
	require.ErrorContains(t, err, "left 2 bytes")
}

// TestFailedWriteStopsTheReplica: an operation whose entry could not be written has no certain outcome, and the replica
// says why it stopped; the process goes on.
func TestFailedWriteStopsTheReplica(t *testing.T) {
	storage := NewMemoryStorage()
	logs := &failingLogs{LogStore: storage.logs}
	storage.logs = logs
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "a")
	broken := errors.New("the disk is gone")
	logs.set(broken, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	result := replication.Propose(ctx, replica, view, []byte("b"))
	require.ErrorIs(t, result.Err, replication.ErrOutcomeUnknown)
	require.NoError(t, ctx.Err())
	require.ErrorIs(t, replica.Status().Failure, broken)
	result = replication.Propose(ctx, replica, view, []byte("c"))
	require.True(t, replication.DidNotHappen(result.Err))
	require.Eventually(t, func() bool {
		return errors.Is(replication.AwaitReadBarrier(ctx, replica, view), replication.ErrClosed)
	}, patience, time.Millisecond)
	require.NoError(t, replica.Close())
}

// TestATermThatCannotBeKeptStopsTheReplica, and not the process.
func TestATermThatCannotBeKeptStopsTheReplica(t *testing.T) {
	storage := NewMemoryStorage()
	replica, _ := lone(t, storage, &notes{}, nil)
	require.NoError(t, replica.Close())
	broken := errors.New("the disk is gone")
	stable := &failingStable{StableStore: storage.stable, fail: broken}
	storage.stable = stable
	options := Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{}, ViewChangeTimeout: 50 * time.Millisecond}
	_, err := Open(options)
	require.ErrorIs(t, err, broken, "the library writes the term when it begins")
	// The next is that of its election, and then that of its vote.
	for allow := 1; allow <= 2; allow++ {
		stable.set(allow)
		replica, err = Open(options)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return replica.Status().Failure != nil }, patience, time.Millisecond)
		require.ErrorIs(t, replica.Status().Failure, broken)
		require.False(t, replica.Status().Leading)
		require.NoError(t, replica.Close())
	}
}

// TestAnEntryThatCannotBeReadStopsTheReplica: a follower that has it, and does not get it back when it is committed.
func TestAnEntryThatCannotBeReadStopsTheReplica(t *testing.T) {
	storage := NewMemoryStorage()
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "a", "b")
	require.NoError(t, replica.Close())
	logs := &failingLogs{LogStore: storage.logs}
	storage.logs = logs
	broken := errors.New("bad sector")
	logs.set(nil, broken)
	_, err := Open(Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{}})
	require.ErrorIs(t, err, broken, "the library reads the log when it begins")
	// One that is read well when it begins, and not when it is applied.
	logs.set(nil, nil)
	replica, err = Open(Options{
		Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: &notes{}, ViewChangeTimeout: 100 * time.Millisecond,
	})
	require.NoError(t, err)
	logs.set(nil, broken)
	require.Eventually(t, func() bool { return replica.Status().Failure != nil }, patience, time.Millisecond)
	require.ErrorIs(t, replica.Status().Failure, broken)
	require.NoError(t, replica.Close())
}

// TestTheLogIsBounded: with each snapshot it goes back to the one before.
func TestTheLogIsBounded(t *testing.T) {
	storage := NewMemoryStorage()
	replica, view := lone(t, storage, &notes{}, nil)
	before, proposed := uint64(0), 0
	for range 4 {
		for range 20 {
			mustPropose(t, replica, view, fmt.Sprint("operation ", proposed))
			proposed++
		}
		require.NoError(t, replica.Checkpoint(t.Context()))
		first, err := replica.guard.FirstIndex()
		require.NoError(t, err)
		require.Equal(t, before+1, first)
		before = uint64(replica.Status().Checkpoint)
	}
	require.NoError(t, replica.Close())
	machine := &notes{}
	lone(t, storage, machine, nil)
	require.Len(t, machine.all(), proposed)
}

// TestOperationsMakeASnapshotDue, so many of them.
func TestOperationsMakeASnapshotDue(t *testing.T) {
	replica, view := lone(t, NewMemoryStorage(), &notes{}, func(o *Options) { o.CheckpointEvery = 3 })
	mustPropose(t, replica, view, "a", "b", "c")
	require.Eventually(t, func() bool { return replica.Status().Checkpoint > 0 }, patience, time.Millisecond)
}

// TestBytesMakeASnapshotDue, where operations are few and large.
func TestBytesMakeASnapshotDue(t *testing.T) {
	replica, view := lone(t, NewMemoryStorage(), &notes{}, func(o *Options) { o.CheckpointBytes = 1000 })
	mustPropose(t, replica, view, string(make([]byte, 2000)))
	require.Eventually(t, func() bool { return replica.Status().Checkpoint > 0 }, patience, time.Millisecond)
}
