package replication

import (
	"context"
	"io"
)

// GroupID names a group of replicas; 0 is the coordinator's.
type GroupID uint32

// ReplicaID names a replica for ever; it is never used again for another.
type ReplicaID uint32

// ViewNumber grows with every change of primary.
type ViewNumber uint64

// OpNumber is a position in a group's log, from 1.
type OpNumber uint64

// Result is what became of one operation.
type Result struct {
	// Op is where it was executed; 0 unless Err is nil.
	Op OpNumber
	// Value is what StateMachine.Apply returned for it.
	Value []byte
	// Err is nil, or an error for which either DidNotHappen or errors.Is(err, ErrOutcomeUnknown) holds.
	Err error
}

// Replicator is one replica of a group.
type Replicator interface {
	// Submit proposes an operation in the view that the caller believes to lead. It never blocks; done is
	// called exactly once, from any goroutine, possibly before Submit returns, and must not block. The
	// operation must not be changed afterwards. Only the primary of that very view accepts.
	Submit(view ViewNumber, operation []byte, done func(Result))

	// ReadBarrier calls done with nil once everything that was acknowledged by anyone before the call is
	// applied here and this replica was still the primary of that view at some moment after the call. It may be
	// answered by a lease; else all who wait share one round that began after they asked. It never blocks; done
	// must not block and may be called before ReadBarrier returns.
	ReadBarrier(view ViewNumber, done func(error))

	// Events tells when this replica starts to lead and when it stops. Only the newest event is kept for a
	// slow reader. The channel is closed by Close.
	Events() <-chan Event

	// Status describes the replica at this moment.
	Status() Status

	// Checkpoint writes a checkpoint now and waits until it is durable.
	Checkpoint(ctx context.Context) error

	// Close stops the replica and waits until all its goroutines are gone. Operations still waiting end
	// with ErrOutcomeUnknown or a certain error. Closing twice is harmless.
	Close() error
}

// Event is a change of this replica's part in the group.
type Event struct {
	// Leading is true from the moment everything inherited is applied and a quorum is in the view.
	Leading bool
	View    ViewNumber
}

// Role is a replica's part in its view.
type Role uint8

// The roles.
const (
	RoleBackup Role = iota
	RolePrimary
	// RoleWitness is that of a member without a state.
	RoleWitness
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RolePrimary:
		return "primary"
	case RoleWitness:
		return "witness"
	default:
		return "backup"
	}
}

// Status describes one replica.
type Status struct {
	Group   GroupID
	Replica ReplicaID
	Role    Role
	// Protocol is what the protocol says of itself: normal, view-change, recovering, transferring, stopped; transitioning
	// when it is to become a member, leaving and left when it is one no more.
	Protocol   string
	Epoch      uint64
	View       ViewNumber
	Primary    ReplicaID // of View
	Op         OpNumber
	Commit     OpNumber
	Applied    OpNumber
	Checkpoint OpNumber
	// Members are those of Epoch, ascending.
	Members    []ReplicaID
	Backend    string
	Durability string
	// Log is how its log is kept, as the storage calls it.
	Log string
	// Leading is true between an Event with Leading set and the next one without.
	Leading bool
	// Reason is why the replica recovers, while it does; empty otherwise.
	Reason string
	// Failure is why the replica stopped for good, or nil.
	Failure error
	// Counters are totals since the start: fsyncs, messages, bytes, view changes ...
	Counters map[string]uint64
}

// StateMachine is what a group replicates. Apply, Snapshot and Restore are never called at the same time as
// each other.
type StateMachine interface {
	// Apply executes operations first, first+1 ... in this order and returns one result for each. From one call to the
	// next op-numbers rise, and may leave some out, which are the group's own. It is deterministic and total: an
	// operation that makes no sense has a result that says so. The results and the operations belong to the caller
	// and the log: neither side changes them afterwards.
	Apply(first OpNumber, operations [][]byte) [][]byte

	// Snapshot captures the state between two Applies, cheaply; writing it out may run beside later Applies.
	Snapshot() (Snapshot, error)

	// Restore replaces the whole state by what Snapshot.WriteTo wrote. An error leaves the machine unusable.
	Restore(r io.Reader) error
}

// Snapshot is a state machine's state at a point.
type Snapshot interface {
	// WriteTo writes the whole state; called at most once, from any goroutine.
	io.WriterTo
	// Release frees what the snapshot holds; called exactly once, after WriteTo if that is called at all.
	Release()
}
