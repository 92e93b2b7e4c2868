package replication

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrTooStale is what every TooStaleError is.
var ErrTooStale = errors.New("replication: state is too old")

// TooStaleError says how old the state of a replica is that is older than a read allows, and who is primary.
type TooStaleError struct {
	// Age is that of the state when the read was given up; 0: not known, since nothing was heard since the start.
	Age time.Duration
	// Primary is who has everything, as far as this replica knows; 0: not known.
	Primary ReplicaID
}

// Error tells the age, and names the primary.
func (e *TooStaleError) Error() string {
	age := "not known"
	if e.Age > 0 {
		age = e.Age.String()
	}
	return fmt.Sprintf("%v (age %s, primary %d)", ErrTooStale, age, e.Primary)
}

// Is makes every TooStaleError an ErrTooStale.
func (e *TooStaleError) Is(target error) bool { return target == ErrTooStale }

// Staleness is how old a replica's state is at the most.
type Staleness struct {
	// Age: everything that was acknowledged by anyone more than this before the read was asked for is applied. By any
	// clock of the group; 0 or more.
	Age time.Duration
}

// StaleReader is a Replicator that lets its state be read at any replica, with a bound on its age. Its method may be
// called from many goroutines at once.
type StaleReader interface {
	// ReadStale waits until the state of this replica's machine is no older than atMost: everything that was
	// acknowledged by anyone, or read in this way at any replica, more than Staleness.Age before the call is applied here,
	// and Age is at most atMost. What the caller reads of the machine afterwards is at least as new. With atMost of 0 (or
	// less) such a read is linearizable.
	//
	// Where what is known will do, it returns at once. Otherwise this replica asks the primary, which takes a round of
	// messages, and waits until ctx ends; then the error is a TooStaleError and the context's own. A context that has
	// ended has it not wait at all. Other errors are ErrOverloaded and ErrClosed.
	ReadStale(ctx context.Context, atMost time.Duration) (Staleness, error)
}
