package replicationtest

import (
	"testing"

	"github.com/viewline/viewline/replication"
)

// Backend is what is tested.
type Backend struct {
	// Name is that of the backend and the durability.
	Name string
	// Make makes what replicas 1 to n store, for the time of a test.
	Make func(t *testing.T, n int) Replicas
}

// Replicas opens the replicas of one group, each in one life at a time.
type Replicas interface {
	// Open starts a replica on what it stored in its earlier lives.
	Open(o Options) (replication.Replicator, error)
	// Crash comes before a replica's Close: whatever a process that is killed does not write, it does not write either.
	Crash(id replication.ReplicaID)
}

// Options are of one life of a replica. A zero is the backend's own default.
type Options struct {
	Self            replication.ReplicaID
	Members         []replication.ReplicaID
	Transport       *End
	StateMachine    replication.StateMachine
	CheckpointEvery uint64
	QueueMax        int
	// OperationBytesMax is the largest operation.
	OperationBytesMax int
}
