package replication

import (
	"context"
	"errors"
	"fmt"
)

// Errors of Reconfigure beside ErrNotPrimary, ErrTransferUnderWay, ErrOverloaded and ErrClosed. They say that the members
// certainly are not changed by this call.
var (
	// ErrReconfiguring: one reconfiguration at a time.
	ErrReconfiguring = errors.New("replication: a reconfiguration is under way already")
	// ErrMembership: these cannot be the members of the next epoch; the text says why.
	ErrMembership = errors.New("replication: these cannot be the members")
	// ErrNewcomer: a replica that is to become a member was not heard lately, or lacks more than the primary's newest
	// checkpoint. The report says which; it may be asked again a little later.
	ErrNewcomer = errors.New("replication: a newcomer is not ready")
	// ErrQuorum: too few of the members to be are heard and have what is needed, so that the group would stop.
	ErrQuorum = errors.New("replication: the next epoch would have no quorum")
)

// Member is one replica of a group's epoch.
type Member struct {
	ID ReplicaID
	// Incarnation tells the lives of a replica apart that has lost its storage in between; it is never lower in a later
	// epoch. Witness: it holds log entries and counts in quorums, and has no state machine; it is one for its life. In a
	// Change of something else both are what Membership says.
	Incarnation uint64
	Witness     bool
	// Address is where other replicas reach it, in the words of the group's transport (HOST:PORT of
	// replication/transport); at most 255 bytes. "": each knows it by its own configuration.
	Address string
}

// Membership is who the replicas of a group are.
type Membership struct {
	// Epoch counts the changes; the members that a group began with are those of epoch 0.
	Epoch uint64
	// Members ascend by their ids.
	Members []Member
	// LargestID is the largest id that was ever a member's: a newcomer has a larger one.
	LargestID ReplicaID
}

// Change is what Reconfigure is to do.
type Change struct {
	// Members are those of the next epoch, all of them, in any order. A newcomer's id is above every id that was ever a
	// member's.
	Members []Member
	// Epoch is the one that the change is to begin: one above that of the Membership which it was made from, so that it
	// certainly undoes nobody else's. 0: whichever is next.
	Epoch uint64
	// DryRun: nothing is changed. Errors and report are those that the change would have at this moment.
	DryRun bool
}

// Report is what the primary knows about the replicas that a change concerns.
type Report struct {
	// Epoch is the one that the change begins.
	Epoch uint64
	// Replicas are all who are or will be members, ascending.
	Replicas []ReplicaReport
}

// ReplicaReport is one replica in a Report.
type ReplicaReport struct {
	Member
	// Was and Will say whether it is a member before and after the change.
	Was, Will bool
	// Heard: the primary has heard it within the shortest time-out. Op is how far its log went then, Lag how much is
	// missing to the end of the primary's.
	Heard bool
	Op    OpNumber
	Lag   uint64
	// Ready: it is heard, and has everything up to the primary's newest checkpoint at least.
	Ready bool
}

// Reconfigurer is a Replicator whose members can be changed while it serves. Its methods may be called from many
// goroutines at once.
type Reconfigurer interface {
	// Reconfigure has this replica, which must be the primary, begin a new epoch with other members. Newcomers run
	// already, and have caught up so far. Operations that the primary has taken are finished in the old epoch. For that
	// moment, and until the first primary of the new epoch leads, requests are refused with a NotPrimaryError, and by
	// those who are members no more with a NotMemberError.
	//
	// It waits for the outcome. nil: the old group has committed the change, and it is for ever; the new epoch begins by
	// itself. A replica that is no member any more still helps the others into it, and may be closed when its
	// Status().Protocol is left. A NotPrimaryError: this replica is not the primary, or has lost its view and another
	// log has something else in the change's place. ErrOutcomeUnknown: ctx ended first, when the change was proposed
	// already, which cannot be taken back (the error is the context's own too), or the replica closed or stopped. Status
	// or Membership of a replica that leads tells then: it is in the change's epoch with its members, or the change
	// certainly never happens. A call whose ctx has ended returns when the replica has taken note, after the write to the
	// disk that it may be at.
	//
	// The report comes with ErrReconfiguring, ErrNewcomer, ErrQuorum and ErrTransferUnderWay as well.
	Reconfigure(ctx context.Context, change Change) (Report, error)

	// Membership is that of the epoch which this replica is in, or of the last that it knows.
	Membership() Membership
}

// NotMemberError is the NotPrimaryError of a replica that is no member of its group: not yet, or not any more.
type NotMemberError struct {
	// NotPrimaryError names the epoch's first view and its primary.
	NotPrimaryError
	// Membership is the newest that this replica knows: ask those.
	Membership Membership
}

// Error names the epoch and its members.
func (e *NotMemberError) Error() string {
	ids := make([]ReplicaID, len(e.Membership.Members))
	for i, member := range e.Membership.Members {
		ids[i] = member.ID
	}
	return fmt.Sprintf("%v: not a member of epoch %d, whose members are %v", ErrNotPrimary, e.Membership.Epoch, ids)
}

// Unwrap makes it a *NotPrimaryError for those who only look for that.
func (e *NotMemberError) Unwrap() error { return &e.NotPrimaryError }
