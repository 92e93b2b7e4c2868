package commit

import (
	"fmt"

	"github.com/viewline/viewline/txn"
)

// Kind is a kind of request to a shard.
type Kind uint8

// The kinds of request.
const (
	PrepareTxn Kind = iota + 1
	CommitOnePhase
	CommitTxn
	AbortTxn
	Fence
	EndTxn
)

// String returns the kind's name.
func (k Kind) String() string {
	names := [...]string{"no request", "PrepareTxn", "CommitOnePhase", "CommitTxn", "AbortTxn", "Fence", "EndTxn"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Action is what the machine wants done: Send, WantTimestamp, WantTimer, Answer or Done.
type Action interface{ action() }

// Send is one copy of a request to one shard's primary.
type Send struct {
	Kind    Kind
	Shard   txn.ShardID
	Attempt txn.Attempt
	// Copy numbers the machine's sends from 1; no two have the same.
	Copy uint32
	// Txn is the shard's part, in a PrepareTxn or CommitOnePhase only. It must not be changed.
	Txn *txn.Transaction
}

// WantTimestamp asks for a timestamp of which the request leaves after this action.
type WantTimestamp struct{}

// WantTimer asks for a Timer with the same token after some milliseconds, which the driver may stretch at
// random.
type WantTimer struct {
	Millis uint32
	Token  uint64
}

// Answer is what the caller is told.
type Answer struct{ Outcome Outcome }

// Done says that the machine wants nothing more and will do nothing more.
type Done struct {
	// Contradiction says that a shard answered what no shard may answer (say, that it aborted what is
	// committed): an invariant is broken, and the driver must report it.
	Contradiction bool
}

func (Send) action()          {}
func (WantTimestamp) action() {}
func (WantTimer) action()     {}
func (Answer) action()        {}
func (Done) action()          {}

// OutcomeKind is how a transaction ended, as far as its clerk knows.
type OutcomeKind uint8

// The ways to end.
const (
	// Committed: every participant has it prepared or committed; it will be read by all who come later.
	Committed OutcomeKind = iota + 1
	// Aborted: its last attempt is dead and there will be no other.
	Aborted
	// Unknown: it may be either, and Outcome (package terminate) finds out which.
	Unknown
)

// String returns the outcome's name.
func (k OutcomeKind) String() string {
	names := [...]string{"no outcome", "committed", "aborted", "unknown"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("outcome %d", uint8(k))
}

// Outcome is the answer to the caller.
type Outcome struct {
	Kind OutcomeKind
	// Attempt is the one that committed, or the last one that was sent. It is zero (Number 0) if none was.
	Attempt txn.Attempt
	// Verdict is the shard's answer that decided an Aborted, zero if no shard gave one.
	Verdict txn.Verdict
	// Rerun says of an Aborted that the caller's function may run again, as a new transaction.
	Rerun bool
	// Forgotten says of an Unknown that a participant has forgotten the attempt: it may be that nobody can
	// tell any more.
	Forgotten bool
}

// Event is what the driver hands to Step: Timestamp, Reply, Failed, Timer or Cancelled.
type Event interface{ event() }

// Timestamp answers a WantTimestamp.
type Timestamp struct{ TS txn.Timestamp }

// Reply is a shard's verdict on a Send. EndTxn needs none.
type Reply struct {
	Send    Send
	Verdict txn.Verdict
}

// Failed says that a Send has no verdict.
type Failed struct {
	Send Send
	// Certain: this copy certainly had no effect and will have none.
	Certain bool
	// WrongShard: the shard refused it because it does not serve one of the objects. Implies Certain.
	WrongShard bool
	// Hopeless: another attempt would fail in the same way (an invalid request). Implies Certain.
	Hopeless bool
}

// Timer answers a WantTimer.
type Timer struct{ Token uint64 }

// Cancelled says that the caller gives up.
type Cancelled struct{}

func (Timestamp) event() {}
func (Reply) event()     {}
func (Failed) event()    {}
func (Timer) event()     {}
func (Cancelled) event() {}
