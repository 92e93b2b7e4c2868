package commit

import "github.com/viewline/viewline/internal/omit"

// The machine's rules, by number; a test takes one out through Options.Omit to see that it is missed.
const (
	// RuleEveryPrepared: committed means that every participant has answered prepared, not some of them.
	RuleEveryPrepared omit.Rule = iota
	// RuleLostCopyFenced: a copy without an answer may have been logged; only a fence tells.
	RuleLostCopyFenced
	// RuleEveryCopyRefused: a refusal that was not logged speaks for its own copy only. It proves the attempt
	// dead if no other copy was sent to that participant, or none that is not accounted for in the same way.
	RuleEveryCopyRefused
	// RuleDeadBeforeNext: the next attempt begins only when the last one is dead.
	RuleDeadBeforeNext
	// RuleWrongShardFenced: a shard that refused a copy as the wrong one is fenced before the transaction is
	// run again elsewhere.
	RuleWrongShardFenced
	// RuleWholeList: every PrepareTxn carries the names of all participants, for the terminators.
	RuleWholeList
	// RuleForgottenUnknown: forgotten may have been committed; it is never told as aborted.
	RuleForgottenUnknown
	// RuleCancelledUnknown: giving up does not stop what was sent; it is never told as aborted unless dead.
	RuleCancelledUnknown
	// RuleCommittedEverywhere: a participant that answers committed speaks for all of them.
	RuleCommittedEverywhere
	// RuleEndWhenApplied: END only after every participant has applied the commit.
	RuleEndWhenApplied
	// RuleAttemptSpan: the attempts of one transaction are close together. Later than that, a shard may have
	// forgotten that somebody closed it and told its outcome.
	RuleAttemptSpan

	ruleCount
)
