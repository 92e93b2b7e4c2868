package raft_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/raft/streams"
	"github.com/viewline/viewline/replication/replicationtest"
)

func TestMain(m *testing.M) {
	replicationtest.Main(backends()...)
	goleak.VerifyTestMain(m)
}

// TestConformance runs what every backend has to pass.
func TestConformance(t *testing.T) {
	for i, backend := range backends() {
		if testing.Short() && i > 0 {
			continue // what differs is tested by itself too
		}
		t.Run(durabilities()[i].String(), func(t *testing.T) { replicationtest.Run(t, backend) })
	}
}

func durabilities() []raft.Durability {
	return []raft.Durability{raft.DurabilitySync, raft.DurabilityMemory}
}

// backends are this one, in each durability.
func backends() (all []replicationtest.Backend) {
	for _, durability := range durabilities() {
		all = append(all, replicationtest.Backend{
			Name: "raft, " + durability.String(), Volatile: durability != raft.DurabilitySync,
			Create: func(directory string) error { return raft.Create(directory, durability) },
			Open: func(directory string, o replicationtest.Options) (replication.Replicator, func(), error) {
				return openForSuite(directory, durability, o)
			},
		})
	}
	return all
}

// openForSuite opens a replica on its directory.
func openForSuite(directory string, durability raft.Durability, o replicationtest.Options) (replication.Replicator, func(), error) {
	storage, err := raft.OpenUnsynced(directory, durability)
	if err != nil {
		return nil, nil, err
	}
	options := raft.Options{
		Group: 7, Self: o.Self, Members: o.Members, Joining: o.Joining, Incarnation: o.Incarnation, Storage: storage, Durability: durability, StateMachine: o.StateMachine,
		CheckpointEvery: o.CheckpointEvery, QueueMax: o.QueueMax, OperationBytesMax: o.OperationBytesMax,
		BatchEntriesMax: o.BatchMax, Logger: testLogger(),
		ViewChangeTimeout: 200 * time.Millisecond, RequestTimeout: 300 * time.Millisecond,
	}
	if o.BatchMax == 1 {
		// The library sends one message when it is told of new entries, and what is left over when it tells of its commits.
		options.CommitInterval = 2 * time.Millisecond
	}
	if o.Patient {
		options.ViewChangeTimeout = 5 * time.Second // the first election takes as long too
	}
	if o.Streams != nil {
		options.Transport = streams.Of(o.Streams)
	} else {
		options.Transport = o.Transport
	}
	replica, err := raft.Open(options)
	if err != nil {
		_ = storage.Close() // the error says more
		return nil, nil, err
	}
	return replica, storage.Crash, nil
}

// testLogger shows what the replicas say when VIEWLINE_TEST_LOG is set.
func testLogger() *slog.Logger {
	if os.Getenv("VIEWLINE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
