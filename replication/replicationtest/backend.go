package replicationtest

import (
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

// Backend is what is tested.
type Backend struct {
	// Name is that of the backend and the durability. A process of the suite's own finds its backend by it.
	Name string
	// Create makes the empty storage of a replica in an empty directory.
	Create func(directory string) error
	// Open starts a replica on what is stored in its directory. Whatever a process that is killed does not write, Close
	// does not write either when crash has come before it. Open waits for the locks of files: a process that another case
	// starts has for a moment, until it is itself, all files that were open here.
	Open func(directory string, o Options) (replica replication.Replicator, crash func(), err error)
	// Volatile: what was acknowledged survives the crash of a minority at a time, and not that of all replicas at once.
	Volatile bool
	// Lacks names the optional interfaces that no replica has. Their cases are not run; that a replica has the interface
	// all the same fails the suite, and so does a replica without one that is not named here.
	Lacks []Interface

	batchMax int // the form in which a case is run
}

// Interface is an optional interface of the contract.
type Interface string

// The interfaces that a backend may lack.
const (
	Reconfigurer Interface = "Reconfigurer"
	StaleReader  Interface = "StaleReader"
)

// Options are of one life of a replica. A zero is the backend's own default.
type Options struct {
	Self    replication.ReplicaID
	Members []replication.ReplicaID
	// Joining: the group exists, Self is to become a member of it, and Members are those to ask.
	Joining bool
	// Incarnation is this replica's life: above 0 it has lost what it had stored, and is a member again when its group has
	// committed that.
	Incarnation uint64
	// Transport is this replica's way to the others. It is nil in a process of its own, which has Streams.
	Transport       *End                     `json:"-"`
	Streams         *transport.Group         `json:"-"`
	StateMachine    replication.StateMachine `json:"-"`
	CheckpointEvery uint64
	QueueMax        int
	// OperationBytesMax is the largest operation.
	OperationBytesMax int
	// BatchMax bounds the operations of one message: with 1 each has one of its own.
	BatchMax int
	// Patient: no primary is given up for a silence of less than some seconds, so that on a busy machine it keeps its
	// view for as long as a test needs.
	Patient bool
}
