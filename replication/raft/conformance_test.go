package raft_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/replicationtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stores is what the replicas of a group store, in directories.
type stores struct {
	durability  raft.Durability
	directories []string
	open        []*raft.Storage // of the present life, or of the last
}

func newStores(t *testing.T, n int, durability raft.Durability) *stores {
	t.Helper()
	s := &stores{durability: durability, open: make([]*raft.Storage, n)}
	for range n {
		directory := t.TempDir()
		require.NoError(t, raft.Create(directory, durability))
		s.directories = append(s.directories, directory)
	}
	return s
}

// Open opens a replica on its directory.
func (s *stores) Open(o replicationtest.Options) (replication.Replicator, error) {
	storage, err := raft.OpenUnsynced(s.directories[o.Self-1], s.durability)
	if err != nil {
		return nil, err
	}
	s.open[o.Self-1] = storage
	options := raft.Options{
		Group: 7, Self: o.Self, Members: o.Members, Storage: storage, Durability: s.durability, StateMachine: o.StateMachine,
		CheckpointEvery: o.CheckpointEvery, QueueMax: o.QueueMax, OperationBytesMax: o.OperationBytesMax, Logger: testLogger(),
		ViewChangeTimeout: 200 * time.Millisecond, RequestTimeout: 300 * time.Millisecond,
	}
	if len(o.Members) > 1 {
		options.Transport = o.Transport
	}
	replica, err := raft.Open(options)
	if err != nil {
		_ = storage.Close() // the error says more
		return nil, err
	}
	return replica, nil
}

// Crash has the storage forget what is in memory.
func (s *stores) Crash(id replication.ReplicaID) { s.open[id-1].Crash() }

// TestConformance runs what every backend has to pass.
func TestConformance(t *testing.T) {
	for _, durability := range []raft.Durability{raft.DurabilitySync, raft.DurabilityMemory} {
		if testing.Short() && durability != raft.DurabilitySync {
			continue // what differs is tested by itself too
		}
		t.Run(durability.String(), func(t *testing.T) {
			replicationtest.Run(t, replicationtest.Backend{
				Name: "raft, " + durability.String(),
				Make: func(t *testing.T, n int) replicationtest.Replicas { return newStores(t, n, durability) },
			})
		})
	}
}

// testLogger shows what the replicas say when VIEWLINE_TEST_LOG is set.
func testLogger() *slog.Logger {
	if os.Getenv("VIEWLINE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
