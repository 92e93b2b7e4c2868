package txn

import "fmt"

// Status is what a shard says became of an attempt there.
type Status uint8

// The statuses. Prepared, Committed, Aborted and Forgotten come from the log; Refused does not: the copy
// that was refused had no effect, and another copy may still have one.
const (
	StatusUnknown Status = iota
	StatusPrepared
	StatusCommitted
	StatusAborted
	StatusRefused
	StatusForgotten
)

// String returns the status's name.
func (s Status) String() string {
	names := [...]string{"unknown", "prepared", "committed", "aborted", "refused", "forgotten"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Reason names the rule by which an attempt was refused or aborted.
type Reason uint8

// The reasons; the numbers are those of the wire.
const (
	ReasonNone Reason = iota
	TooOld
	NeedsNewerTimestamp
	StaleRead
	ConflictWithPrepared
	ReadByLater
	Fenced
	OtherLead
	WrongShard
	Forgotten
	Limit
	Superseded
	Invariant
)

// String returns the reason's name.
func (r Reason) String() string {
	names := [...]string{
		"none", "too old", "needs newer timestamp", "stale read", "conflict with prepared", "read by later", "fenced",
		"other lead", "wrong shard", "forgotten", "limit", "superseded", "invariant",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Retimeable reports whether the transaction's reads may still be good: a new timestamp and a new attempt
// are enough, the function need not run again.
func (r Reason) Retimeable() bool {
	return r == TooOld || r == NeedsNewerTimestamp || r == ReadByLater || r == OtherLead || r == Limit
}

// Verdict is a shard's answer about one attempt.
type Verdict struct {
	Status Status
	Reason Reason
	// Attempt is the one that the verdict is about; in the answer to a fence by id it may have a timestamp
	// that the asker did not know.
	Attempt Attempt
	// OIDs are all the objects concerned.
	OIDs []string
	// Other is the transaction in the way, if one was.
	Other Attempt
	Shard ShardID
	View  uint64
	// Op is where the answer was logged, 0 when nothing was.
	Op OpNumber
	// Participants are told in the answer to a fence of an attempt that is known here.
	Participants []ShardID
}

// Logged reports whether the verdict is a decision of the log, which no copy of the request can change.
func (v Verdict) Logged() bool { return v.Op != 0 }
