package replication

import (
	"context"
	"errors"
)

// Errors of TransferPrimary beside ErrNotPrimary and ErrClosed. They say that the role certainly was not
// transferred.
var (
	// ErrNoMember: the role can go only to another member of the group.
	ErrNoMember = errors.New("replication: no such member")
	// ErrBehind: the target did not have the whole log in time. The primary goes on.
	ErrBehind = errors.New("replication: the target of the transfer is not up to date in time")
	// ErrTransferUnderWay: one transfer at a time.
	ErrTransferUnderWay = errors.New("replication: a transfer of the primary's role is under way already")
)

// PrimaryTransferer is a Replicator whose primary can hand its role over to another replica of its choice. Its
// method may be called from many goroutines at once.
type PrimaryTransferer interface {
	// TransferPrimary has this replica, which must be the primary, hand its role over to another one, or, for 0, to
	// the backup that is most caught up. Nobody who has proposed is left without an answer: what was taken is
	// finished first. For that moment, and from then on, requests are refused with a NotPrimaryError, which names the
	// new primary as soon as there is one.
	//
	// It waits for the outcome. nil: the target is the primary now. A NotPrimaryError: this replica is not the
	// primary, or another than the target has got the role. When ctx ends first, the transfer is given up and the
	// error is the context's own; if the view was left already it is an ErrOutcomeUnknown too, and the status of any
	// replica will tell. Such a call returns when the replica has taken note, after the write to the disk that it may
	// be at.
	TransferPrimary(ctx context.Context, to ReplicaID) error
}
