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

	ruleCount
)
