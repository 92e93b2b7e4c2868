package transport

import "errors"

// Errors of Transport and Group; all can be tested with errors.Is.
var (
	// ErrClosed: the transport or the group is closed.
	ErrClosed = errors.New("transport: closed")
	// ErrOptions: Options or a replica's description make no sense; the text says which part.
	ErrOptions = errors.New("transport: bad options")
	// ErrDuplicate: that replica is registered already.
	ErrDuplicate = errors.New("transport: replica registered twice")
	// ErrUnknownPeer: there is no way to the replica: it is no member, and is not heard.
	ErrUnknownPeer = errors.New("transport: no way to that replica")
	// ErrDamaged: a checkpoint arrived altered or incomplete. What was read of it must not be used.
	ErrDamaged = errors.New("transport: checkpoint damaged in transfer")
	// ErrCut: Options.Pass does not let this pair of replicas talk.
	ErrCut = errors.New("transport: cut off by the fault hook")
)
