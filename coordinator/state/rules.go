package state

import "github.com/viewline/viewline/internal/omit"

// The rules, for Options.Omit. Only tests take any of them out, each to show what it is there for.
const (
	// RuleFirstLayout: the first layout wins; a later one has no effect.
	RuleFirstLayout omit.Rule = iota
	// RuleMarkRises: the mark only rises, whatever order operations arrive in.
	RuleMarkRises
	// RuleBelowMark: no timestamp above the replicated mark is handed out.
	RuleBelowMark
	// RuleAboveInherited: a new primary starts above the mark that it inherited, not where its clock stands.
	RuleAboveInherited
	// RuleIncreasing: every timestamp lies above the last one, whatever the clock says.
	RuleIncreasing
	// RuleOwnLead: an oracle that does not lead hands out nothing.
	RuleOwnLead
	// RuleCount: a request is for 1 to 65,536 timestamps.
	RuleCount
	// RuleRange: timestamps stop at the largest there is instead of starting again from the smallest.
	RuleRange
	// RuleLaterEpoch: only members of a later epoch take the place of those that the map has.
	RuleLaterEpoch
	// RuleChangeIsNews: whoever has a map from before a change asks for the next one; its version says that there is one.
	RuleChangeIsNews
	// RuleReporterBelongs: a primary is believed about its group only if it is one of the members that it names, and may
	// be primary.
	RuleReporterBelongs
	// RulePresentEpoch: a primary of an epoch that is over is told to nobody.
	RulePresentEpoch

	ruleCount
)
