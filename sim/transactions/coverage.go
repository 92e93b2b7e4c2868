package transactions

// Mark is something that must happen somewhere in a run of many histories.
type Mark uint8

// The marks. A run in which one of them stays at zero has tested less than it claims.
const (
	MarkCommitTwoShards Mark = iota
	MarkCommitOneShard
	MarkAbort
	MarkTwoShardConflict
	MarkRetime
	MarkRerun
	MarkSecondCopy
	MarkLost
	MarkGivenUp
	MarkDuplicate
	MarkRefusedTooOld
	MarkRefusedNeedsNewer
	MarkRefusedStaleRead
	MarkRefusedConflict
	MarkRefusedReadByLater
	MarkRefusedWrongShard
	MarkRefusedLimit
	MarkOtherLead
	MarkSuperseded
	MarkForgotten
	MarkLoggedAbort
	MarkFence
	MarkClerkDied
	MarkTerminatorDied
	MarkCancelled
	MarkAnsweredUnknown
	MarkTerminatorCommitted
	MarkTerminatorAborted
	MarkTerminatorForgotten
	MarkTerminatorAskedOwn
	MarkRedrive
	MarkOutcomeCommitted
	MarkOutcomeAborted
	MarkOutcomeForgotten
	MarkViewChange
	MarkRestart
	MarkTruncated
	MarkStrayProposal
	MarkLeadWithoutEffect
	MarkTwoFronts
	MarkAdvance
	MarkEnd
	MarkView
	MarkViewWaited
	MarkViewMoved
	MarkSnapshotTooOld
	MarkReadWaited
	MarkAbsentRead
	MarkDelete
	MarkBlindWrite
	MarkReadOnlyParticipant
	MarkIdleHome
	markCount
)

var markNames = [markCount]string{
	"committed over several shards", "committed in one operation", "history with an abort", "conflict over two shards", "new timestamp, new attempt",
	"function run again", "second copy of a PrepareTxn", "message lost", "sender gave up waiting", "request duplicated",
	"refused: too old", "refused: needs newer timestamp", "refused: stale read", "refused: conflict with prepared",
	"refused: read by later", "refused: wrong shard", "refused: limit", "applied under another Lead", "superseded attempt",
	"forgotten", "abort logged by validation", "fence aborted an unknown attempt", "clerk died", "terminator died",
	"caller gave up", "answered unknown", "terminator committed", "terminator aborted", "terminator found it forgotten",
	"terminator asked its own shard again", "commit carried again", "outcome: committed", "outcome: aborted", "outcome: forgotten",
	"view change", "restart from a checkpoint", "log truncated", "proposal of a replaced primary logged", "Lead without effect", "two fronts at once", "horizons advanced", "END applied",
	"view answered", "view waited for a writer", "view moved to the new primary", "snapshot too old", "read waited for a writer",
	"absence read", "delete committed", "blind write committed", "read-only participant", "home shard with nothing to do",
}

// String says what the mark stands for.
func (m Mark) String() string { return markNames[m] }

// Coverage counts the marks.
type Coverage [markCount]uint64

// Add adds another's counts.
func (c *Coverage) Add(other *Coverage) {
	for i := range c {
		c[i] += other[i]
	}
}
