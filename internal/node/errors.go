package node

import (
	"errors"
	"fmt"
)

// Errors of Open, AddReplica, Serve and Drain.
var (
	// ErrOptions: Options or a Replica make no sense; the text says which part.
	ErrOptions = errors.New("node: bad options")
	// ErrDuplicate: the node hosts a replica of that group already.
	ErrDuplicate = errors.New("node: group hosted twice")
	// ErrClosed: the node is closed.
	ErrClosed = errors.New("node: closed")
)

// Errors of FormatDirectory and OpenDirectory.
var (
	// ErrNotFormatted: the directory has no identity. An operator sets it up; the node never does by itself,
	// because a replica that lost its disk has forgotten its promises.
	ErrNotFormatted = errors.New("node: directory is not set up")
	// ErrNotEmpty: the directory has no identity, but other files: they may be a replica's whose identity was
	// lost.
	ErrNotEmpty = errors.New("node: directory has files but no identity")
	// ErrInUse: another process, or another part of this one, holds the directory's lock.
	ErrInUse = errors.New("node: directory is in use")
	// ErrIdentity is what every refusal of the bytes of an identity file is.
	ErrIdentity = errors.New("node: identity file damaged or unknown")
)

// InsecureListenError says that an address can be reached from other machines although nothing protects it.
type InsecureListenError struct {
	Address string
}

// Error says what to do.
func (e *InsecureListenError) Error() string {
	return fmt.Sprintf("node: refusing to listen on %s: whoever reaches it may read and write everything; "+
		"listen on a loopback address, or set insecure if the network is closed to others", e.Address)
}

// IdentityError says that a directory belongs to another replica.
type IdentityError struct {
	Directory  string
	Field      string // cluster, group, replica or incarnation
	Want, Have string
}

// Error names the directory and both values.
func (e *IdentityError) Error() string {
	return fmt.Sprintf("node: directory %s belongs to %s %s, not %s", e.Directory, e.Field, e.Have, e.Want)
}
