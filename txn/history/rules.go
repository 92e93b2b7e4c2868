package history

import "github.com/viewline/viewline/internal/omit"

// The rules, for Options.Omit and FrontOptions.Omit. Only tests take any of them out, each to show what it
// is there for.
const (
	// RuleThreshold: nothing at or below the threshold may prepare (step 2).
	RuleThreshold omit.Rule = iota
	// RuleFloor: nothing at or below the floor of the last Lead may prepare (step 2).
	RuleFloor
	// RuleNeedsNewer: a version read must be older than its reader (3a).
	RuleNeedsNewer
	// RuleStaleRead: no version between the one read and the reader (3b).
	RuleStaleRead
	// RuleVersionGone: a version that was read must still exist exactly (3b over collection).
	RuleVersionGone
	// RuleInstalledAfter: no version from the one read up to the reader installed after the read (3b, `at`).
	RuleInstalledAfter
	// RuleReadHere: an `at` of another shard, or one not yet reached here, proves nothing (3b, `at`).
	RuleReadHere
	// RuleAbsent: a key that was absent is validated like any other.
	RuleAbsent
	// RuleConflictWithPrepared: no earlier prepared writer of what was read (3c).
	RuleConflictWithPrepared
	// RuleReadStamp: no write below the largest committed reader (4a).
	RuleReadStamp
	// RuleStampOfWrites: 4a looks at the keys written. Without it the keys read are looked at instead, as the
	// printed rules of a report have it.
	RuleStampOfWrites
	// RuleStampEqual: 4a refuses an equal stamp too, since a snapshot may be at an issued timestamp.
	RuleStampEqual
	// RuleSnapStamp: no write below the largest snapshot reader (4a, pre-validation).
	RuleSnapStamp
	// RulePreparedReader: no write below a later prepared reader (4b).
	RulePreparedReader
	// RuleUniqueTimestamp: two transactions of one timestamp have no order.
	RuleUniqueTimestamp
	// RuleLead: what was pre-validated under another Lead has no effect.
	RuleLead
	// RuleLeadSuccession: a Lead's number is the last one plus one.
	RuleLeadSuccession
	// RuleInFlight: what is in flight counts as prepared at the primary.
	RuleInFlight
	// RuleKnownAnswer: an attempt that is known is answered as it was answered before.
	RuleKnownAnswer
	// RuleSuperseded: an attempt below the highest known one is refused.
	RuleSuperseded
	// RuleTakeOffOlder: a new attempt takes the older one off the line before it is validated.
	RuleTakeOffOlder
	// RuleOneCommit: no attempt prepares after another one committed.
	RuleOneCommit
	// RuleTombstone: a fence or abort of an unknown attempt is remembered.
	RuleTombstone
	// RuleCloseLater: a fence with EveryLater refuses every later attempt.
	RuleCloseLater
	// RuleForgotten: unknown at or below the record horizon is Forgotten, never aborted.
	RuleForgotten
	// RuleRememberCommit: a committed transaction is remembered at all.
	RuleRememberCommit
	// RuleEndKeepsCommit: END does not drop a record that is above the record horizon.
	RuleEndKeepsCommit
	// RuleCommitUntilEnd: the commit of several participants is kept until END, below the horizon too.
	RuleCommitUntilEnd
	// RuleSnapshotHorizon: a snapshot below the version horizon is refused.
	RuleSnapshotHorizon
	// RuleFoldBelowPrepared: the version horizon stays below the line.
	RuleFoldBelowPrepared
	// RuleFoldKeepsInstalled: a fold keeps the largest install op-number.
	RuleFoldKeepsInstalled
	// RuleHorizonsBelowThreshold: the horizons stay at or below the threshold.
	RuleHorizonsBelowThreshold
	// RuleAttemptSpan: the record horizon stays an attempt span below the threshold. What is known of a
	// transaction, above all that a fence has closed it, is not forgotten while a later attempt may still come.
	RuleAttemptSpan
	// RuleOwnSlots: a shard prepares only keys of slots that its own log says it serves.
	RuleOwnSlots
	// RuleStampsRaisedAtCommit: a commit raises the read stamps of what it read.
	RuleStampsRaisedAtCommit

	ruleCount
)

// RulesAsPrinted returns what has to be left out to get the rules that a report on an earlier system
// printed: no check of the write set against later prepared readers, read stamps compared with the keys
// read, committed transactions forgotten.
func RulesAsPrinted() []omit.Rule {
	return []omit.Rule{RulePreparedReader, RuleStampOfWrites, RuleRememberCommit}
}
