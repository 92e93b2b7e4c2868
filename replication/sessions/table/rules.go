package table

import "github.com/viewline/viewline/internal/omit"

// The rules that keep the promise of exactly-once, and the bounds. A test takes each of them out.
const (
	// RuleOnce: a request that was executed is not executed again.
	RuleOnce omit.Rule = iota
	// RuleSameReply: a copy of a request gets the reply of its first execution.
	RuleSameReply
	// RuleBelowWindow: what the client has acknowledged is not executed, though nobody knows any more whether it was.
	RuleBelowWindow
	// RuleAboveWindow: a number that the window has no room for is not executed.
	RuleAboveWindow
	// RuleDropped: a session that is not in the table is never made anew by a request in its name.
	RuleDropped
	// RuleNonce: a session is used by those only who know what it was registered with.
	RuleNonce
	// RuleAcknowledged: an acknowledgement makes room in the window.
	RuleAcknowledged
	// RuleNeverBack: an older copy's acknowledgement does not bring back what was forgotten.
	RuleNeverBack
	// RuleSessionsMax: there are never more sessions than agreed.
	RuleSessionsMax
	// RuleLeastRecentlyUsed: the session that is dropped is the one that was used longest ago.
	RuleLeastRecentlyUsed
	// RuleSessionReplyBytes and RuleReplyBytes: replies are kept within their bounds.
	RuleSessionReplyBytes
	RuleReplyBytes
	// RuleInTurn: an acknowledgement takes effect at its own op-number, not when its batch is looked through.
	RuleInTurn
	// RuleSettledFirst: a request is executed before an operation behind it is answered, and at its own op-number.
	RuleSettledFirst
	// RuleFrozen: what a snapshot has captured does not change any more.
	RuleFrozen

	rules // how many there are
)
