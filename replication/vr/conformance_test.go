package vr_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/replicationtest"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/streams"
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

func durabilities() []vr.Durability {
	return []vr.Durability{vr.DurabilitySync, vr.DurabilityAsync, vr.DurabilityMemory}
}

// backends are this one, in each durability.
func backends() (all []replicationtest.Backend) {
	for _, durability := range durabilities() {
		all = append(all, replicationtest.Backend{
			Name: "vr, " + durability.String(), Create: storage.Create, Volatile: durability != vr.DurabilitySync,
			Open: func(directory string, o replicationtest.Options) (replication.Replicator, func(), error) {
				return openForSuite(directory, durability, o)
			},
		})
	}
	return all
}

// openForSuite opens a replica on its directory.
func openForSuite(directory string, durability vr.Durability, o replicationtest.Options) (replication.Replicator, func(), error) {
	disk, err := storage.Open(directory, storage.Options{Durability: durability, LockTimeout: patience})
	if err != nil {
		return nil, nil, err
	}
	kept := &mortal{Storage: disk}
	options := vr.Options{
		Group: 7, Self: o.Self, Members: o.Members, Joining: o.Joining, Incarnation: o.Incarnation, Storage: kept, Durability: durability,
		StateMachine: o.StateMachine, CheckpointEvery: o.CheckpointEvery, QueueMax: o.QueueMax, OperationBytesMax: o.OperationBytesMax,
		BatchEntriesMax: o.BatchMax, Logger: testLogger(),
		HeartbeatInterval: 30 * time.Millisecond, ViewChangeTimeoutMin: 200 * time.Millisecond, ViewChangeTimeoutMax: 400 * time.Millisecond,
	}
	if o.Patient {
		options.ViewChangeTimeoutMin, options.ViewChangeTimeoutMax = 5*time.Second, 6*time.Second
	}
	if options.Transport = vr.Transport(suiteEnd{o.Transport}); o.Streams != nil {
		options.Transport = streams.Of(o.Streams)
	}
	replica, err := vr.Open(options)
	if err != nil {
		_ = disk.Close() // the error says more
		return nil, nil, err
	}
	return replica, func() { kept.dead = true }, nil
}

// suiteEnd is an end of the suite's network in this backend's words.
type suiteEnd struct{ end *replicationtest.End }

func (e suiteEnd) Send(to core.ReplicaID, payload []byte) {
	e.end.Send(replication.ReplicaID(to), payload)
}

func (e suiteEnd) Reach(members []core.Member) {
	addresses := make(map[replication.ReplicaID]string, len(members))
	for _, member := range members {
		addresses[replication.ReplicaID(member.ID)] = member.Address
	}
	e.end.Reach(addresses)
}

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
