package raft

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
)

// Errors of this package; all can be tested with errors.Is.
var (
	// ErrOptions: Options make no sense; the text says which part.
	ErrOptions = errors.New("raft: bad options")
	// ErrDamaged: what is stored is not what was written, or a part of it is gone. The replica stops, or is not opened.
	ErrDamaged = errors.New("raft: damaged storage")
	// ErrForgotten: a replica in memory that did not end with Close is alone, so that nobody knows what it acknowledged.
	ErrForgotten = errors.New("raft: what this replica acknowledged is lost")
	// ErrNoStorage: the directory has none, or is not a Raft replica's.
	ErrNoStorage = errors.New("raft: no storage")
	// ErrExists: Create found something in the directory.
	ErrExists = errors.New("raft: directory in use")
	// ErrLocked: another process has the storage open.
	ErrLocked = errors.New("raft: storage is in use by another process")
	// ErrOwner: the storage is another replica's.
	ErrOwner = errors.New("raft: storage of another replica")
)

var (
	errStateMachine = errors.New("raft: state machine broke its contract")
	errNoAnswer     = errors.New("raft: no answer in time")
	errCut          = errors.New("raft: replica is stopping")
	errIncarnation  = errors.New("raft: message for another life of this replica")
	errMalformed    = errors.New("raft: malformed message")
	// errSuperseded: there is a later snapshot than the one that was written.
	errSuperseded = errors.New("raft: a later snapshot was installed")
	// errHalted is the guard's: nothing was written.
	errHalted = errors.New("raft: replica is stopping")
)

// advised says what to do where storage is damaged.
func advised(err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w; keep the directory for inspection and do not start this replica from it again: it comes back from "+
		"an empty directory in a larger incarnation, or as a new replica, once its group has committed that", err)
}

// closed is what everything answers after the end; why is nil after Close.
func closed(why error) error {
	if why == nil {
		return replication.ErrClosed
	}
	return fmt.Errorf("%w: %w", replication.ErrClosed, why)
}
