package core

// Outgoing is a message to send.
type Outgoing struct {
	Message Message
	// BeforePersist: it may leave before this Ready is durable (a primary's PREPARE, a COMMIT). All others
	// promise something that is in the Ready, and wait.
	BeforePersist bool
}

// Read is a token given to ReadBarrier, with the verdict on it.
type Read struct {
	Token uint64
	// OK: everything acknowledged before the read was asked for is in Committed of this Ready or an earlier
	// one, and this replica was primary of the view after it was asked. Otherwise: not the primary.
	OK bool
	// Lease: it was answered by a lease, at the time that SetTime told last before it was asked for.
	Lease bool
}

// Dropped is a proposal that this replica accepted and whose fate it no longer follows: it may still be
// committed by another primary. Committed of the same Ready has nothing in its place, whoever proposed it.
type Dropped struct {
	First, Last OpNumber // of this replica's own proposals, as Propose numbered them
}

// Leadership is this replica's part, as Replicator.Events tells it.
type Leadership struct {
	// Leading: a quorum is in the view, and everything inherited is in Committed of this Ready or earlier.
	Leading bool
	View    ViewNumber
}

// Ready is everything the driver has to do, in this order:
//
//  1. let the transport know the Contacts; send the Messages that have BeforePersist;
//  2. make durable, in one atomic step: HardState; Replace; the removal of the log above TruncateAbove;
//     Entries; the removal of the log up to TruncateBelow. MustSync says whether this must reach the disk (not only the
//     file) before step 3, with everything that was deferred, also where there is nothing to write;
//  3. send the other Messages;
//  4. if FetchCheckpoint is set, fetch that checkpoint from that replica in the background, make it durable
//     and call CheckpointInstalled or CheckpointFailed;
//  5. apply Committed, of which a RECONFIGURATION is nothing to the state machine; 6. answer Reads, StaleReads and Dropped, report
//     Leadership, Handover, Reconfiguration and Membership; 7. call Advance.
//
// The slices belong to the driver until Advance.
type Ready struct {
	HardState *HardState
	// TruncateAbove is the last op-number to keep, when Truncate is set: entries above it were of a branch
	// that is dead, and Entries follow it.
	Truncate      bool
	TruncateAbove OpNumber
	Entries       []Entry
	// Replace, when set, is what the log begins above: Entries take the place of all that storage has of the log and
	// of its damage, in the same step as HardState. Truncate and TruncateBelow are not set then.
	Replace *CheckpointMeta
	// TruncateBelow is the first op-number to keep; 0: nothing to remove.
	TruncateBelow OpNumber
	MustSync      bool
	// Deferrable: the driver may go on while storage makes Entries durable, and call Defer in place of Advance.
	Deferrable bool

	Messages        []Outgoing
	FetchCheckpoint *FetchCheckpoint
	Committed       []Entry
	Reads           []Read
	// StaleReads need nothing of this Ready, and may be answered before its first step.
	StaleReads      []StaleRead
	Dropped         []Dropped
	Leadership      *Leadership
	Handover        *Handover
	Reconfiguration *Reconfiguration
	// Membership is that of an epoch that was entered.
	Membership *Membership
	// Contacts, when not nil, are those whom the transport has to reach from here on, before anything is sent.
	Contacts []Member
}

// FetchCheckpoint asks the driver for a checkpoint of at least Meta.Op from a replica.
type FetchCheckpoint struct {
	From ReplicaID
	Meta CheckpointMeta
}

// Empty reports whether there is nothing to do.
func (r *Ready) Empty() bool {
	return r.HardState == nil && !r.Truncate && len(r.Entries) == 0 && r.TruncateBelow == 0 && r.Replace == nil &&
		len(r.Messages) == 0 && r.FetchCheckpoint == nil && len(r.Committed) == 0 && len(r.Reads) == 0 && len(r.StaleReads) == 0 && len(r.Dropped) == 0 && r.Leadership == nil &&
		r.Handover == nil && r.Reconfiguration == nil && r.Membership == nil
}
