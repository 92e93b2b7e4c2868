package vr_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

func TestOptionsAreValidated(t *testing.T) {
	good := vr.Options{
		Self: 2, Members: []replication.ReplicaID{3, 2, 1}, Storage: storage.NewMemory(), StateMachine: &journal{},
		Transport: newNetwork().join(2),
	}
	require.NoError(t, good.Validate(), "members come in any order")
	for says, spoil := range map[string]func(*vr.Options){
		"no Storage":               func(o *vr.Options) { o.Storage = nil },
		"no StateMachine":          func(o *vr.Options) { o.StateMachine = nil },
		"no Transport":             func(o *vr.Options) { o.Transport = nil },
		"not among the members":    func(o *vr.Options) { o.Self = 9 },
		"do not ascend":            func(o *vr.Options) { o.Members = []replication.ReplicaID{1, 2, 2} },
		"0 members":                func(o *vr.Options) { o.Members, o.Transport = nil, nil },
		"TickInterval is negative": func(o *vr.Options) { o.TickInterval = -1 },
		"QueueMax is negative":     func(o *vr.Options) { o.QueueMax = -1 },
		"QueueBytesMax 5":          func(o *vr.Options) { o.QueueBytesMax = 5 },
		"have to ascend":           func(o *vr.Options) { o.HeartbeatInterval = time.Second },
	} {
		options := good
		spoil(&options)
		require.ErrorIs(t, options.Validate(), vr.ErrOptions, says)
		require.ErrorContains(t, options.Validate(), says)
		_, err := vr.Open(options)
		require.ErrorIs(t, err, vr.ErrOptions)
	}
}

func TestGroupOfOneNeedsNoTransport(t *testing.T) {
	replica, err := vr.Open(vr.Options{Self: 4, Members: []replication.ReplicaID{4}, Storage: storage.NewMemory(), StateMachine: &journal{}})
	require.NoError(t, err)
	event := <-replica.Events()
	result := replication.Propose(t.Context(), replica, event.View, []byte("x"))
	require.NoError(t, result.Err)
	require.Equal(t, replication.OpNumber(1), result.Op)
	require.NoError(t, replication.AwaitReadBarrier(t.Context(), replica, event.View))
	require.Equal(t, replication.RolePrimary, replica.Status().Role)
	require.NoError(t, replica.Close())
}

// faulty is a state machine that breaks the contract in one way.
type faulty struct {
	journal
	shortApply, failSnapshot, failWrite, leaveBytes bool
}

func (f *faulty) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	results := f.journal.Apply(first, operations)
	if f.shortApply {
		return results[1:]
	}
	return results
}

func (f *faulty) Snapshot() (replication.Snapshot, error) {
	if f.failSnapshot {
		return nil, errors.New("no snapshot today")
	}
	snapshot, err := f.journal.Snapshot()
	if f.failWrite {
		return unwritable{snapshot}, err
	}
	return snapshot, err
}

type unwritable struct{ replication.Snapshot }

func (unwritable) WriteTo(io.Writer) (int64, error) { return 0, errors.New("cannot be written") }

func (f *faulty) Restore(r io.Reader) error {
	if f.leaveBytes {
		_, err := io.ReadFull(r, make([]byte, 2))
		return err
	}
	return f.journal.Restore(r)
}

func TestStateMachineThatBreaksItsContractStopsTheReplica(t *testing.T) {
	for i, machine := range []*faulty{{shortApply: true}, {failSnapshot: true}, {failWrite: true}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			replica, err := vr.Open(vr.Options{
				Self: 1, Members: []replication.ReplicaID{1}, Storage: storage.NewMemory(), StateMachine: machine,
			})
			require.NoError(t, err)
			event := <-replica.Events()
			result := replication.Propose(t.Context(), replica, event.View, []byte("x"))
			if machine.shortApply {
				require.ErrorIs(t, result.Err, replication.ErrOutcomeUnknown)
			} else {
				require.NoError(t, result.Err)
			}
			require.ErrorIs(t, replica.Checkpoint(t.Context()), replication.ErrClosed)
			require.Error(t, replica.Status().Failure)
			require.NoError(t, replica.Close())
			require.Error(t, replica.Status().Failure, "Close does not forget why")
		})
	}
}

func TestRestoreThatLeavesBytesFailsOpen(t *testing.T) {
	options := vr.Options{Self: 1, Members: []replication.ReplicaID{1}, Storage: storage.NewMemory(), StateMachine: &journal{}}
	replica, err := vr.Open(options)
	require.NoError(t, err)
	event := <-replica.Events()
	require.NoError(t, replication.Propose(t.Context(), replica, event.View, []byte("x")).Err)
	require.NoError(t, replica.Checkpoint(t.Context()))
	require.NoError(t, replica.Close())
	options.StateMachine = &faulty{leaveBytes: true}
	_, err = vr.Open(options)
	require.ErrorContains(t, err, "left 1 bytes")
}
