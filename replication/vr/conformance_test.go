package vr_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/replicationtest"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// suiteEnd is an end of the suite's network in this backend's words.
type suiteEnd struct{ end *replicationtest.End }

func (e suiteEnd) Send(to core.ReplicaID, payload []byte) {
	e.end.Send(replication.ReplicaID(to), payload)
}

func (e suiteEnd) Reach([]core.Member) {}

func (e suiteEnd) Receive(deliver func(from core.ReplicaID, payload []byte)) {
	if deliver == nil {
		e.end.Receive(nil)
		return
	}
	e.end.Receive(func(from replication.ReplicaID, payload []byte) { deliver(core.ReplicaID(from), payload) })
}

func (e suiteEnd) ServeCheckpoints(open vr.OpenFunc) {
	if open == nil {
		e.end.ServeCheckpoints(nil)
		return
	}
	e.end.ServeCheckpoints(func(from replication.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return open(core.ReplicaID(from), request)
	})
}

func (e suiteEnd) FetchCheckpoint(ctx context.Context, from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return e.end.FetchCheckpoint(ctx, replication.ReplicaID(from), request)
}

// suiteStores is what the suite's replicas store, in directories.
type suiteStores struct {
	durability  vr.Durability
	directories []string
	open        []*mortal // of the present life, or of the last
}

// Open opens a replica on its directory.
func (s *suiteStores) Open(o replicationtest.Options) (replication.Replicator, error) {
	disk, err := storage.Open(s.directories[o.Self-1], storage.Options{Durability: s.durability})
	if err != nil {
		return nil, err
	}
	s.open[o.Self-1] = &mortal{Storage: disk}
	replica, err := vr.Open(vr.Options{
		Group: 7, Self: o.Self, Members: o.Members, Transport: suiteEnd{o.Transport}, Storage: s.open[o.Self-1], Durability: s.durability,
		StateMachine: o.StateMachine, CheckpointEvery: o.CheckpointEvery, QueueMax: o.QueueMax, OperationBytesMax: o.OperationBytesMax,
		Logger: testLogger(), HeartbeatInterval: 30 * time.Millisecond, ViewChangeTimeoutMin: 150 * time.Millisecond, ViewChangeTimeoutMax: 300 * time.Millisecond,
	})
	if err != nil {
		_ = disk.Close() // the error says more
		return nil, err
	}
	return replica, nil
}

// Crash has the storage end without what a clean end writes.
func (s *suiteStores) Crash(id replication.ReplicaID) { s.open[id-1].dead = true }

// TestConformance runs what every backend has to pass.
func TestConformance(t *testing.T) {
	for _, durability := range []vr.Durability{vr.DurabilitySync, vr.DurabilityAsync, vr.DurabilityMemory} {
		if testing.Short() && durability != vr.DurabilitySync {
			continue // what differs is tested by itself too
		}
		t.Run(durability.String(), func(t *testing.T) {
			replicationtest.Run(t, replicationtest.Backend{
				Name: "vr, " + durability.String(),
				Make: func(t *testing.T, n int) replicationtest.Replicas {
					s := &suiteStores{durability: durability, open: make([]*mortal, n)}
					for range n {
						directory := t.TempDir()
						require.NoError(t, storage.Create(directory))
						s.directories = append(s.directories, directory)
					}
					return s
				},
			})
		})
	}
}
