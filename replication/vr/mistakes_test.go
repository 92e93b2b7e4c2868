package vr_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/replicationtest"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// mistake wraps a right replica and gets some of its methods wrong; nil: right.
type mistake struct {
	*vr.Replica
	submit    func(r *vr.Replica, view replication.ViewNumber, operation []byte, done func(replication.Result))
	barrier   func(r *vr.Replica, view replication.ViewNumber, done func(error))
	change    func(*replication.Change)
	transfers func(r *vr.Replica) error
	stale     func(r *vr.Replica) (replication.Staleness, error)
}

func (m *mistake) Submit(view replication.ViewNumber, operation []byte, done func(replication.Result)) {
	if m.submit == nil {
		m.Replica.Submit(view, operation, done)
		return
	}
	m.submit(m.Replica, view, operation, done)
}

func (m *mistake) ReadBarrier(view replication.ViewNumber, done func(error)) {
	if m.barrier == nil {
		m.Replica.ReadBarrier(view, done)
		return
	}
	m.barrier(m.Replica, view, done)
}

func (m *mistake) Reconfigure(ctx context.Context, change replication.Change) (replication.Report, error) {
	if m.change != nil {
		m.change(&change)
	}
	return m.Replica.Reconfigure(ctx, change)
}

func (m *mistake) TransferPrimary(ctx context.Context, to replication.ReplicaID) error {
	if m.transfers == nil {
		return m.Replica.TransferPrimary(ctx, to)
	}
	return m.transfers(m.Replica)
}

func (m *mistake) ReadStale(ctx context.Context, atMost time.Duration) (replication.Staleness, error) {
	if m.stale == nil {
		return m.Replica.ReadStale(ctx, atMost)
	}
	return m.stale(m.Replica)
}

// making has a right backend make a mistake.
func making(made mistake) func(replicationtest.Backend) replicationtest.Backend {
	return func(b replicationtest.Backend) replicationtest.Backend {
		right := b.Open
		b.Open = func(directory string, o replicationtest.Options) (replication.Replicator, func(), error) {
			replica, crash, err := right(directory, o)
			if err != nil {
				return nil, nil, err
			}
			wrong := made
			wrong.Replica = replica.(*vr.Replica)
			return &wrong, crash, nil
		}
		return b
	}
}

// machines has a right backend's state machines get something wrong. lives counts those of a directory.
func machines(wrong func(inner replication.StateMachine, self replication.ReplicaID, lives int) replication.StateMachine) func(replicationtest.Backend) replicationtest.Backend {
	return func(b replicationtest.Backend) replicationtest.Backend {
		right, lives, mu := b.Open, map[string]int{}, sync.Mutex{}
		b.Open = func(directory string, o replicationtest.Options) (replication.Replicator, func(), error) {
			mu.Lock()
			lives[directory]++
			o.StateMachine = wrong(o.StateMachine, o.Self, lives[directory])
			mu.Unlock()
			return right(directory, o)
		}
		return b
	}
}

// twice applies the first operation of a later life twice.
type twice struct {
	replication.StateMachine
	left int
}

func (m *twice) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	if m.left > 0 {
		m.left--
		m.StateMachine.Apply(first, operations[:1])
	}
	return m.StateMachine.Apply(first, operations)
}

// elsewise applies something else than the first operation that comes to it.
type elsewise struct {
	replication.StateMachine
	left int
}

func (m *elsewise) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	if m.left > 0 {
		m.left--
		m.StateMachine.Apply(first, append([][]byte{[]byte("something else")}, operations[1:]...))
		return operations // the answers are right
	}
	return m.StateMachine.Apply(first, operations)
}

// forgetful has a crash take all that was stored, and the replica start from nothing.
func forgetful(b replicationtest.Backend) replicationtest.Backend {
	right := b.Open
	crashed := sync.Map{}
	b.Open = func(directory string, o replicationtest.Options) (replication.Replicator, func(), error) {
		if _, is := crashed.LoadAndDelete(directory); is {
			files, err := filepath.Glob(filepath.Join(directory, "*"))
			if err != nil {
				return nil, nil, err
			}
			for _, file := range files {
				if err := os.RemoveAll(file); err != nil {
					return nil, nil, err
				}
			}
			if err := storage.Create(directory); err != nil {
				return nil, nil, err
			}
		}
		replica, crash, err := right(directory, o)
		return replica, func() { crash(); crashed.Store(directory, true) }, err
	}
	return b
}

// seen is a mistake, and the cases that fail for it, with what they say, as regular expressions.
type seen struct {
	mistake string
	wrong   func(replicationtest.Backend) replicationtest.Backend
	fails   map[string]string
}

// mistakesOfReplicas are in what callers are told.
func mistakesOfReplicas() []seen {
	return []seen{
		{"it acknowledges before it has committed", making(mistake{
			submit: func(r *vr.Replica, view replication.ViewNumber, operation []byte, done func(replication.Result)) {
				r.Submit(view, operation, func(replication.Result) {})
				done(replication.Result{Op: 1, Value: operation})
			},
		}), map[string]string{
			"PartitionedPrimary": "nothing commits without a quorum",
			"RequestsToBackups":  "not the primary",
		}},
		{"it answers a read barrier at once", making(mistake{
			barrier: func(_ *vr.Replica, _ replication.ViewNumber, done func(error)) { done(nil) },
		}), map[string]string{
			"SleepingPrimary":              "operations were acknowledged that it does not have",
			"ReadBarriersDuringAPartition": "operations were acknowledged that it does not have",
		}},
		{"it forgets which view an operation is bound to", making(mistake{
			submit: func(r *vr.Replica, _ replication.ViewNumber, operation []byte, done func(replication.Result)) {
				r.Submit(r.Status().View, operation, done)
			},
		}), map[string]string{"OperationsAreBoundToTheirView": "not the primary"}},
		{"it forgets which view a read barrier is bound to", making(mistake{
			barrier: func(r *vr.Replica, _ replication.ViewNumber, done func(error)) { r.ReadBarrier(r.Status().View, done) },
		}), map[string]string{"OperationsAreBoundToTheirView": "not the primary"}},
		{"it has two outcomes for an operation", making(mistake{
			submit: func(r *vr.Replica, view replication.ViewNumber, operation []byte, done func(replication.Result)) {
				r.Submit(view, operation, func(result replication.Result) { done(result); done(result) })
			},
		}), map[string]string{"PartitionedPrimary": "two outcomes"}},
		{"it calls certain what is unknown", making(mistake{
			submit: func(r *vr.Replica, view replication.ViewNumber, operation []byte, done func(replication.Result)) {
				r.Submit(view, operation, func(result replication.Result) {
					if result.Err == nil && len(operation)%2 == 0 {
						result = replication.Result{Err: &replication.NotPrimaryError{View: view}}
					}
					done(result)
				})
			},
		}), map[string]string{"ManyClients/batched": "certainly did not happen"}},
	}
}

// mistakesOfStates are in what is applied, and stored, and said of the backend.
func mistakesOfStates() []seen {
	return []seen{
		{"it applies an operation twice after a restart", machines(func(inner replication.StateMachine, _ replication.ReplicaID, lives int) replication.StateMachine {
			return &twice{inner, min(lives-1, 1)}
		}), map[string]string{"FailedReplica/batched": "the state machine gets", "RestartOfAll": "the state machine gets"}},
		{"one replica applies something else after a restart", machines(func(inner replication.StateMachine, self replication.ReplicaID, lives int) replication.StateMachine {
			if lives == 1 || self != 1 {
				return inner
			}
			return &elsewise{inner, 1}
		}), map[string]string{"RestartFromACheckpoint": "and not the same|operations in order", "RestartOfAll": "and not the same|operations in order"}},
		{"a crash takes what it had synced", forgetful, map[string]string{"CrashOfAll": "was acknowledged|operations in order"}},
		{"a dry run is none", making(mistake{change: func(c *replication.Change) { c.DryRun = false }}), map[string]string{"DryRun": "Not equal|did not come about"}},
		{"it does not look which epoch is the next", making(mistake{change: func(c *replication.Change) { c.Epoch = 0 }}), map[string]string{
			"MalformedChanges": "an epoch that is not the next",
		}},
		{"it says that it has handed over, and has not", making(mistake{transfers: func(*vr.Replica) error { return nil }}), map[string]string{
			"TransferPrimary": "is not greater than|what was taken is finished first",
		}},
		{"its stale reads are as old as they are", making(mistake{
			stale: func(*vr.Replica) (replication.Staleness, error) { return replication.Staleness{}, nil },
		}), map[string]string{"StaleReadsAreRefused": "expected"}},
		{"it lacks what it has", func(b replicationtest.Backend) replicationtest.Backend {
			b.Lacks = []replicationtest.Interface{replicationtest.StaleReader}
			return b
		}, map[string]string{"OptionalInterfaces": "Backend.Lacks is not true of StaleReader"}},
	}
}

// TestTheSuiteSeesMistakes: for each mistake there is a case by name that fails, and says what is wrong.
func TestTheSuiteSeesMistakes(t *testing.T) {
	for _, test := range append(mistakesOfReplicas(), mistakesOfStates()...) {
		for name, says := range test.fails {
			t.Run(fmt.Sprintf("%s/%s", test.mistake, name), func(t *testing.T) {
				t.Parallel()
				require.Regexp(t, says, replicationtest.Try(t, test.wrong(backends()[0]), name))
			})
		}
	}
}

// TestTheSuiteSeesNoMistakeWhereNoneIs: a wrapper that gets nothing wrong passes what the others fail.
func TestTheSuiteSeesNoMistakeWhereNoneIs(t *testing.T) {
	for _, name := range []string{"PartitionedPrimary", "OperationsAreBoundToTheirView", "FailedReplica/batched", "DryRun"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, replicationtest.Try(t, making(mistake{})(backends()[0]), name))
		})
	}
}
