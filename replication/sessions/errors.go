package sessions

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// Errors of options and checkpoints.
var (
	// ErrOptions: a field of Options or ClientOptions is out of its range.
	ErrOptions = table.ErrOptions
	// ErrCheckpoint: Restore read bytes that are no checkpoint of a client-table, or a damaged one.
	ErrCheckpoint = table.ErrCheckpoint
	// ErrOtherOptions: Restore read a checkpoint that was written with other bounds.
	ErrOtherOptions = table.ErrOtherOptions
)

// Why the table refused a request. Each comes by itself when the request certainly did not happen, and within an
// UnknownError when an earlier copy may have happened.
var (
	// ErrSessionDropped: the table does not have the session any more. No later copy of a request of this session
	// will happen.
	ErrSessionDropped = errors.New("sessions: session dropped")
	// ErrBelowWindow: the number was acknowledged, and whether it was executed is forgotten. No later copy of it
	// will happen.
	ErrBelowWindow = errors.New("sessions: request number below the window")
	// ErrAboveWindow: the window had no room for the number.
	ErrAboveWindow = errors.New("sessions: request number above the window")
	// ErrMalformed: the group cannot read the request; it may be of another version.
	ErrMalformed = errors.New("sessions: malformed request")
)

// Other errors of a Client.
var (
	// ErrNotSent: the context ended before the request was proposed for the first time. It did not happen.
	ErrNotSent = errors.New("sessions: request was not sent")
	// ErrNoTable: the group answered something that no client-table says: its machine is not a Machine.
	ErrNoTable = errors.New("sessions: not the answer of a client-table")
)

// UnknownError says that a request may have happened or may happen later, once at most. It is a
// replication.ErrOutcomeUnknown. Client.Ask finds out, unless Err is ErrSessionDropped or ErrBelowWindow: then
// nobody can tell any more, and no later copy will happen.
type UnknownError struct {
	// Session and Request name the request.
	Session, Request uint64
	// Operation is the request as it was proposed. To propose the same bytes again is safe at any time.
	Operation []byte
	// Err is what stood in the way last.
	Err error

	line *line // where the number was taken; nil when that is not known
}

// Error names the request.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("%v: request %d of session %d: %v", replication.ErrOutcomeUnknown, e.Request, e.Session, e.Err)
}

// Unwrap makes it a replication.ErrOutcomeUnknown and what stood in the way.
func (e *UnknownError) Unwrap() []error { return []error{replication.ErrOutcomeUnknown, e.Err} }
