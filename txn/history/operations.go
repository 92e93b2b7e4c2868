package history

import "github.com/viewline/viewline/txn"

// Operation is one entry of the shard's log. The types below are all there are.
type Operation interface{ operation() }

// Lead opens the service of a new primary. Number must be the last applied one plus one, else the operation
// has no effect. Floor is a timestamp fetched after everything inherited was applied: nothing at or below it
// may newly prepare, which covers all snapshot reads that earlier primaries served from memory.
type Lead struct {
	Number uint64
	View   uint64
	Floor  txn.Timestamp
}

// PrepareTxn puts an attempt on the history line if the rules allow. Lead is the number under which the
// primary pre-validated it.
type PrepareTxn struct {
	Lead uint64
	Txn  *txn.Transaction
}

// CommitOnePhase validates and installs in one step; this shard is the only participant.
type CommitOnePhase struct {
	Lead uint64
	Txn  *txn.Transaction
}

// CommitTxn installs a prepared attempt. Whoever sends it has proof that every participant logged it prepared.
type CommitTxn struct{ Attempt txn.Attempt }

// AbortTxn takes an attempt off the line and makes sure that it cannot prepare later. Whoever sends it has
// proof that the attempt is dead.
type AbortTxn struct{ Attempt txn.Attempt }

// Fence asks what became of an attempt and makes sure that it cannot prepare later.
//
// With EveryLater no later attempt of the transaction can prepare either, and the answer is about the
// attempt that matters, which need not be the one asked about: the committed one if there is one, else the
// prepared one, else the highest that is known to be aborted. Its Verdict names that attempt with its
// timestamp and, unless it is aborted without ever having prepared, its participants.
type Fence struct {
	Attempt    txn.Attempt
	EveryLater bool
}

// EndTxn says that every participant has applied the commit of these transactions.
type EndTxn struct{ IDs []txn.TxnID }

// Advance raises what only rises, each as far as the rules allow: the horizons stay at or below the
// threshold, and the version horizon below the smallest timestamp on the line. Under another Lead than the
// current one it has no effect.
type Advance struct {
	Lead           uint64
	Threshold      txn.Timestamp
	VersionHorizon txn.Timestamp
	RecordHorizon  txn.Timestamp
}

// Own gives the shard the slots it serves, once, when it has none. Slots are ascending, below
// txn.SlotCount.
type Own struct {
	MapVersion uint64
	Shard      txn.ShardID
	Slots      []uint16
}

func (Lead) operation()           {}
func (PrepareTxn) operation()     {}
func (CommitOnePhase) operation() {}
func (CommitTxn) operation()      {}
func (AbortTxn) operation()       {}
func (Fence) operation()          {}
func (EndTxn) operation()         {}
func (Advance) operation()        {}
func (Own) operation()            {}

// Result is what applying an Operation answers.
type Result struct {
	// Verdict is about an attempt; for Lead, EndTxn, Advance and Own only its Shard, View and Op are set.
	//
	// Status Aborted and Op not zero: a decision of the log. Status Refused and Op zero: this copy certainly
	// had no effect, another copy may still have one (reasons OtherLead, Limit, Invariant).
	Verdict txn.Verdict
	// TookEffect: the state has changed, by more than the count of applied operations and broken invariants.
	TookEffect bool
}

// Value is what a read found.
type Value struct {
	Present bool
	// Value belongs to the state and must not be changed; nil when absent.
	Value []byte
	// Version is that of the write that was read; when absent, of the tombstone, or 0.
	Version txn.Timestamp
}

// Unended is a committed transaction of several participants that nobody has ended yet.
type Unended struct {
	Attempt      txn.Attempt
	Participants []txn.ShardID // must not be changed
}

// Counters describe a State. All but InvariantBreaks are sizes at this moment.
type Counters struct {
	Versions   int
	Prepared   int
	Decisions  int
	Unended    int
	ReadStamps int
	// InvariantBreaks is how many operations contradicted what was recorded, or made no sense, over the whole
	// life of the group. It is zero unless something is wrong.
	InvariantBreaks uint64
}
