package terminate

import (
	"fmt"

	"github.com/viewline/viewline/txn"
)

// Kind is a kind of request to a shard.
type Kind uint8

// The kinds of request.
const (
	Fence Kind = iota + 1
	CommitTxn
	AbortTxn
	EndTxn
)

// String returns the kind's name.
func (k Kind) String() string {
	names := [...]string{"no request", "Fence", "CommitTxn", "AbortTxn", "EndTxn"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Action is what the machine wants done: Send, WantTimer, Answer or Done.
type Action interface{ action() }

// Send is one copy of a request to one shard's primary.
type Send struct {
	Kind    Kind
	Shard   txn.ShardID
	Attempt txn.Attempt
	// EveryLater tells a Fence to refuse every later attempt of the transaction too; at its home shard only.
	EveryLater bool
	// Copy numbers the machine's sends from 1; no two have the same.
	Copy uint32
}

// WantTimer asks for a Timer with the same token after some milliseconds, which the driver may stretch at
// random.
type WantTimer struct {
	Millis uint32
	Token  uint64
}

// Answer is what was found out. The decision may still have to be carried to the participants.
type Answer struct{ Outcome Outcome }

// Done says that the machine wants nothing more and will do nothing more.
type Done struct {
	// Contradiction says that the shards answered what no shards may answer (one committed, another aborted):
	// an invariant is broken, and the driver must report it.
	Contradiction bool
}

func (Send) action()      {}
func (WantTimer) action() {}
func (Answer) action()    {}
func (Done) action()      {}

// OutcomeKind is what became of an attempt.
type OutcomeKind uint8

// What may have become of it.
const (
	// Committed: every participant has it prepared or committed.
	Committed OutcomeKind = iota + 1
	// Aborted: a participant is known that never will have it prepared.
	Aborted
	// Forgotten: it was decided so long ago that a participant no longer knows how.
	Forgotten
	// Unknown: the participants did not answer in time; asking again may find out.
	Unknown
)

// String returns the outcome's name.
func (k OutcomeKind) String() string {
	names := [...]string{"no outcome", "committed", "aborted", "forgotten", "unknown"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("outcome %d", uint8(k))
}

// Outcome is what was found out about Attempt.
type Outcome struct {
	Kind OutcomeKind
	// Attempt is the one that was asked for, or a later one of the same transaction that the home shard knows.
	Attempt txn.Attempt
	// Verdict is the shard's answer that decided an Aborted or a Forgotten.
	Verdict txn.Verdict
}

// Event is what the driver hands to Step: Reply, Failed, Timer or Cancelled.
type Event interface{ event() }

// Reply is a shard's verdict on a Send. EndTxn needs none.
type Reply struct {
	Send    Send
	Verdict txn.Verdict
}

// Failed says that a Send has no verdict, whatever the reason.
type Failed struct{ Send Send }

// Timer answers a WantTimer.
type Timer struct{ Token uint64 }

// Cancelled says that nobody waits for the answer any more.
type Cancelled struct{}

func (Reply) event()     {}
func (Failed) event()    {}
func (Timer) event()     {}
func (Cancelled) event() {}
