package terminate

import "github.com/viewline/viewline/internal/omit"

// The machine's rules, by number; a test takes one out through Options.Omit to see that it is missed.
const (
	// RuleEveryPrepared: committed means that every participant holds it prepared, or one has it committed.
	RuleEveryPrepared omit.Rule = iota
	// RuleNoTimeout: a participant that does not answer proves nothing, however long it takes.
	RuleNoTimeout
	// RuleForgottenNotAborted: forgotten may have been committed.
	RuleForgottenNotAborted
	// RuleOwnAskedAfterForgotten: forgotten reads as aborted only if this shard's own log still has the attempt
	// prepared after the other's answer; what the shard held when the machine began is too old to go by.
	RuleOwnAskedAfterForgotten
	// RuleCommittedEverywhere: a participant that answers committed speaks for all of them.
	RuleCommittedEverywhere
	// RuleEndWhenApplied: END only after every participant has applied the commit.
	RuleEndWhenApplied
	// RuleEveryLaterFenced: an Outcome fences the home shard against every later attempt, so that its answer
	// holds for the transaction and not for one attempt of it.
	RuleEveryLaterFenced
	// RuleOutcomeAsksAll: what the home shard holds prepared is not committed before all others say the same.
	RuleOutcomeAsksAll

	ruleCount
)
