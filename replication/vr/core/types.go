package core

import "fmt"

// ReplicaID names a replica; 0 is nobody.
type ReplicaID uint32

// ViewNumber is the paper's view-number.
type ViewNumber uint64

// OpNumber is the paper's op-number; the first operation is 1.
type OpNumber uint64

// Hash is the chained hash of an entry: over its own op-number, view, kind and payload and the hash of the entry
// below it. Two logs that have the same hash at an op-number are the same up to there.
type Hash uint64

// Entry is one operation of the log.
type Entry struct {
	Op OpNumber
	// View is the one it was first proposed in; it never changes, whatever view commits it.
	View    ViewNumber
	Kind    EntryKind
	Payload []byte
	Hash    Hash
}

// EntryKind says what an entry is.
type EntryKind uint8

const (
	// EntryOperation is an operation of the state machine's.
	EntryOperation EntryKind = iota
	// EntryReconfiguration is the paper's RECONFIGURATION: the last entry of its epoch. Its payload is the next
	// epoch's membership, and the state machine never sees it.
	EntryReconfiguration
)

// Durability is what a crash may take of a replica's log. View-number and last-normal view are durable in all three.
type Durability uint8

const (
	// DurabilitySync means that what is acknowledged is durable: a replica restarts from its own log.
	DurabilitySync Durability = iota
	// DurabilityAsync means that the log is written and becomes durable a little later.
	DurabilityAsync
	// DurabilityMemory means that the log is in memory only, but for a clean end.
	DurabilityMemory
)

// String is the name that configurations use.
func (d Durability) String() string {
	switch d {
	case DurabilitySync:
		return "sync"
	case DurabilityAsync:
		return "async"
	case DurabilityMemory:
		return "memory"
	default:
		return fmt.Sprintf("durability %d", uint8(d))
	}
}

// HardState is what must be durable before a message that depends on it leaves.
type HardState struct {
	View           ViewNumber
	LastNormalView ViewNumber
	// Commit is only a hint that saves work after a restart: it may be older than what was committed.
	Commit OpNumber
	// Membership is that of the epoch that the replica is in: a promise, like the views, which are of that epoch. "": of a
	// log from before there were epochs, or of a replica that was never told.
	Membership EncodedMembership
}

// CheckpointMeta identifies a checkpoint: the state after applying everything up to Op, whose entry had
// this view and hash. The zero value is the empty state before operation 1.
type CheckpointMeta struct {
	Op   OpNumber
	View ViewNumber
	Hash Hash
	// Membership is that of the epoch in which an operation above Op is; "" in epoch 0.
	Membership EncodedMembership
}

// Kind is the kind of a message.
type Kind uint8

// The paper's messages, and ours beside them: CommitOK, the probe, and how a replica that is not in the epoch learns
// what is committed (docs/DIVERGENCE.md).
const (
	KindPrepare Kind = iota + 1
	KindPrepareOK
	KindCommit
	KindCommitOK
	KindStartViewChange
	KindDoViewChange
	KindStartView
	KindGetState
	KindNewState
	KindProbe
	KindProbeOK
	KindRecovery
	KindRecoveryResponse
	KindStartEpoch
	KindEpochStarted
	KindGetCommitted
	KindNewCommitted
)

// String returns the paper's name of the kind.
func (k Kind) String() string {
	names := [...]string{
		"", "PREPARE", "PREPAREOK", "COMMIT", "COMMITOK", "STARTVIEWCHANGE", "DOVIEWCHANGE", "STARTVIEW", "GETSTATE",
		"NEWSTATE", "PROBE", "PROBEOK", "RECOVERY", "RECOVERYRESPONSE",
		"STARTEPOCH", "EPOCHSTARTED", "GETCOMMITTED", "NEWCOMMITTED",
	}
	if k >= 1 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("KIND%d", uint8(k))
}

// Message is any message of the protocol; which fields count depends on Kind, and the handler of each kind
// says which. Entries are shared and never changed.
type Message struct {
	Kind     Kind
	From, To ReplicaID
	// Incarnation is the sender's, so that an earlier life of it is told from this one.
	Incarnation    uint64
	Epoch          EpochNumber
	View           ViewNumber
	Op             OpNumber
	Commit         OpNumber
	LastNormalView ViewNumber
	Nonce          uint64
	Round          uint64
	// Lease is for how long a COMMIT asks for a lease, or a COMMITOK grants one.
	Lease uint64
	// Stamp is what the sender's clock of that number shows in a COMMITOK; a COMMIT gives both back. A COMMITOK with Agree
	// asks for that.
	Stamp, Clock uint64
	// Kept is the checkpoint of an active member (PREPAREOK, COMMITOK), the least of all of them that the primary knows
	// (COMMIT), or where a newcomer's log begins (GETCOMMITTED).
	Kept OpNumber
	// First is the op-number of Entries[0] (or, in a GETSTATE, the first one wanted); PreviousHash is the
	// hash of the entry below it.
	First        OpNumber
	PreviousHash Hash
	Entries      []Entry
	// Hash is that of the sender's log at Op.
	Hash       Hash
	Checkpoint CheckpointMeta
	Agree      bool
	// Membership is that of the epoch which a STARTEPOCH tells of.
	Membership EncodedMembership
}

// Status is the paper's status of a replica.
type Status uint8

// The statuses.
const (
	StatusNormal Status = iota + 1
	StatusViewChange
	// StatusRecovering is a replica that may have lost what it acknowledged, and takes part in nothing.
	StatusRecovering
	// StatusStopped is a replica that found a broken invariant; Replica.Failure says which.
	StatusStopped
	// StatusTransitioning is a replica that is to become a member: it takes part in nothing, and learns what is committed.
	StatusTransitioning
	// StatusLeaving is a replica that is no member any more, and helps the new epoch to begin.
	StatusLeaving
	// StatusLeft is a replica that is no member any more and that nobody needs.
	StatusLeft
)

// String returns the status's name.
func (s Status) String() string {
	switch s {
	case StatusNormal:
		return "normal"
	case StatusViewChange:
		return "view-change"
	case StatusRecovering:
		return "recovering"
	case StatusStopped:
		return "stopped"
	case StatusTransitioning:
		return "transitioning"
	case StatusLeaving:
		return "leaving"
	case StatusLeft:
		return "left"
	default:
		return fmt.Sprintf("status %d", uint8(s))
	}
}
