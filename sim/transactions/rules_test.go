package transactions

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// row is one rule that is left out, and the mixture of histories that misses it.
type row struct {
	name    string
	mix     func(*Params) // nil: ordinary histories
	without func(*Params)
}

func (r *row) params(seed uint64, without bool) Params {
	p := Ordinary(seed)
	if r.mix != nil {
		r.mix(&p)
	}
	if without {
		r.without(&p)
	}
	return p
}

// The mixtures. Each keeps what Ordinary draws, but for what its rule needs more often.

// primaries: two replicas take turns, and who is replaced goes on serving and proposing.
func primaries(p *Params) {
	p.Replicas, p.ViewChange, p.Stray, p.Linger, p.Astray, p.Views = 2, 60, 1000, 1000, 400, 400
	p.Truncate, p.Slow, p.Apply, p.Advance = 0, 500, 200, 0
	p.Shards, p.Objects = 1, 2
}

// horizons: threshold and horizons follow closely, and requests come late.
func horizons(p *Params) {
	p.Advance, p.HorizonLag, p.AttemptSpan, p.Steps, p.ViewChange = 100, 3, 1, 200, 0
	p.Lose, p.GiveUp, p.Deletes, p.Blind, p.Slow = 50, 200, 400, 300, 500
	p.Terminate, p.Outcome = 30, 30
}

// folded: much is deleted and folded while writers are under way.
func folded(p *Params) {
	horizons(p)
	p.Deletes, p.Blind, p.Views, p.Objects, p.Shards, p.Slow, p.Jobs = 500, 400, 0, 2, 1, 700, 6
}

// outcomes: outcomes are asked for while the clerk is between two attempts.
func outcomes(p *Params) {
	horizons(p)
	p.Outcome, p.Views, p.Attempts, p.AttemptSpan, p.Advance, p.Slow = 80, 0, 4, 12, 60, 300
	p.Shards, p.Objects, p.Hasty, p.Die, p.Cancel, p.Jobs, p.Lose = 1, 2, 0, 0, 0, 6, 0
}

// ends: clerks and terminators die between the commit at one shard and that at the other.
func ends(p *Params) {
	p.Shards, p.Objects, p.Views, p.Lose, p.Die, p.GiveUp, p.Duplicate = 2, 2, 0, 200, 100, 0, 0
	p.Terminate, p.Redrive, p.Outcome, p.Advance, p.HorizonLag, p.AttemptSpan = 100, 0, 0, 100, 2, 1
	p.Slow, p.Attempts, p.Apply = 0, 1, 300
}

// terminators: many of them, over two shards.
func terminators(p *Params) {
	horizons(p)
	p.Terminate, p.Outcome, p.Lose, p.Shards, p.Objects = 60, 40, 150, 2, 2
}

// hasty: clerks ask for the timestamp before they read.
func hasty(p *Params) {
	p.Hasty, p.Views, p.ReadsMax, p.Advance, p.ViewChange, p.Slow = 1000, 0, 2, 0, 0, 500
}

// staleViews: views at timestamps that transactions have.
func staleViews(p *Params) { p.Views, p.StaleViews, p.Jobs = 500, 1000, 6 }

// foldedViews: the same below what was folded.
func foldedViews(p *Params) {
	staleViews(p)
	horizons(p)
}

// falseAt: caches that claim to have read later than they did.
func falseAt(p *Params) { p.FalseAt = 1000 }

// installs: versions in between are found by the op-number of their install alone. (Without mutations the two
// halves of 3b cover for each other.)
func installs(p *Params) {
	p.History |= omit.Of(history.RuleStaleRead)
	p.FalseAt, p.ForeignAt = 0, 0
}

// foreign: likewise, with op-numbers of other shards.
func foreign(p *Params) {
	installs(p)
	p.ForeignAt = 1000
}

// repeated: a coordinator that gives timestamps out twice, which no coordinator of ours does.
func repeated(p *Params) { p.Repeat, p.Shards, p.Objects, p.Views = 300, 1, 2, 0 }

// copies: several copies of every PrepareTxn, to shards that learn late what they serve.
func copies(p *Params) {
	p.Copies, p.GiveUp, p.LateOwn, p.Slow, p.Shards = 3, 500, 10, 500, max(2, p.Shards)
	p.Objects = max(p.Objects, p.Shards)
}

// views: snapshots of few keys while primaries change.
func views(p *Params) {
	primaries(p)
	p.Stray, p.Linger = 0, 0
}

// reelected: the same primary again and again, slow to apply.
func reelected(p *Params) {
	primaries(p)
	p.Replicas, p.Stray, p.Linger, p.Views, p.ViewChange, p.Apply = 1, 0, 0, 500, 100, 50
	p.Objects, p.Blind, p.Jobs, p.Steps, p.Slow, p.WrongMap, p.Lose, p.Die = 1, 900, 6, 200, 600, 0, 0, 0
}

func ofHistory(rules ...omit.Rule) func(*Params) {
	return func(p *Params) { p.History |= omit.Of(rules...) }
}

func ofCommit(rule omit.Rule) func(*Params) { return func(p *Params) { p.Commit |= omit.Of(rule) } }

func ofTerminate(rule omit.Rule) func(*Params) {
	return func(p *Params) { p.Terminator |= omit.Of(rule) }
}

func ofDriver(mistake Mistakes) func(*Params) { return func(p *Params) { p.Mistakes |= mistake } }

// rows lists every rule of the three machines but two, which no history of the model can miss:
// history.RuleOneCommit, since clerks do not begin an attempt while another one may commit, and
// history.RuleFoldKeepsInstalled, since an op-number below the newest version matters to mutations only. Both
// have directed tests beside the code.
func rows() []row {
	return []row{
		{name: "threshold", mix: outcomes, without: ofHistory(history.RuleThreshold)},
		{name: "floor", mix: primaries, without: ofHistory(history.RuleFloor)},
		{name: "3a needs newer", mix: hasty, without: ofHistory(history.RuleNeedsNewer)},
		{name: "3b stale read", mix: falseAt, without: ofHistory(history.RuleStaleRead)},
		{name: "3b version gone", mix: folded, without: ofHistory(history.RuleVersionGone)},
		{name: "3b installed after", mix: installs, without: ofHistory(history.RuleInstalledAfter)},
		{name: "3b read here", mix: foreign, without: ofHistory(history.RuleReadHere)},
		{name: "3 absent", without: ofHistory(history.RuleAbsent)},
		{name: "3c conflict with prepared", without: ofHistory(history.RuleConflictWithPrepared)},
		{name: "4a read stamp", without: ofHistory(history.RuleReadStamp)},
		{name: "4a stamp of writes", without: ofHistory(history.RuleStampOfWrites)},
		{name: "4a stamp equal", mix: staleViews, without: ofHistory(history.RuleStampEqual)},
		{name: "4a snapstamp", without: ofHistory(history.RuleSnapStamp)},
		{name: "4b prepared reader", without: ofHistory(history.RulePreparedReader)},
		{name: "unique timestamp", mix: repeated, without: ofHistory(history.RuleUniqueTimestamp)},
		{name: "lead", mix: primaries, without: ofHistory(history.RuleLead)},
		{name: "lead succession", mix: primaries, without: ofHistory(history.RuleLeadSuccession)},
		{name: "in flight", without: ofHistory(history.RuleInFlight)},
		{name: "known answer", without: ofHistory(history.RuleKnownAnswer)},
		{name: "superseded", without: ofHistory(history.RuleSuperseded)},
		{name: "take off older", without: ofHistory(history.RuleTakeOffOlder)},
		{name: "tombstone", without: ofHistory(history.RuleTombstone)},
		{name: "close later", without: ofHistory(history.RuleCloseLater)},
		{name: "forgotten", without: ofHistory(history.RuleForgotten)},
		{name: "remember commit", without: ofHistory(history.RuleRememberCommit)},
		{name: "end keeps commit", without: ofHistory(history.RuleEndKeepsCommit)},
		{name: "commit until end", mix: terminators, without: ofHistory(history.RuleCommitUntilEnd)},
		{name: "snapshot horizon", mix: foldedViews, without: ofHistory(history.RuleSnapshotHorizon)},
		{name: "fold below prepared", mix: horizons, without: ofHistory(history.RuleFoldBelowPrepared)},
		{name: "horizons below threshold", mix: outcomes, without: ofHistory(history.RuleHorizonsBelowThreshold)},
		{name: "records an attempt span below", mix: outcomes, without: ofHistory(history.RuleAttemptSpan)},
		{name: "own slots", without: ofHistory(history.RuleOwnSlots)},
		{name: "stamps raised at commit", without: ofHistory(history.RuleStampsRaisedAtCommit)},

		{name: "commit: every prepared", without: ofCommit(commit.RuleEveryPrepared)},
		{name: "commit: lost copy fenced", without: ofCommit(commit.RuleLostCopyFenced)},
		{name: "commit: every copy refused", mix: copies, without: ofCommit(commit.RuleEveryCopyRefused)},
		{name: "commit: dead before next", without: ofCommit(commit.RuleDeadBeforeNext)},
		{name: "commit: wrong shard fenced", mix: copies, without: ofCommit(commit.RuleWrongShardFenced)},
		{name: "commit: whole list", without: ofCommit(commit.RuleWholeList)},
		{name: "commit: forgotten unknown", mix: horizons, without: ofCommit(commit.RuleForgottenUnknown)},
		{name: "commit: cancelled unknown", without: ofCommit(commit.RuleCancelledUnknown)},
		{name: "commit: committed everywhere", mix: terminators, without: ofCommit(commit.RuleCommittedEverywhere)},
		{name: "commit: end when applied", mix: ends, without: ofCommit(commit.RuleEndWhenApplied)},
		{name: "commit: attempt span", mix: horizons, without: ofCommit(commit.RuleAttemptSpan)},

		{name: "terminate: every prepared", without: ofTerminate(terminate.RuleEveryPrepared)},
		{name: "terminate: no timeout", without: ofTerminate(terminate.RuleNoTimeout)},
		{name: "terminate: forgotten not aborted", without: ofTerminate(terminate.RuleForgottenNotAborted)},
		{name: "terminate: own asked after forgotten", mix: terminators, without: ofTerminate(terminate.RuleOwnAskedAfterForgotten)},
		{name: "terminate: committed everywhere", without: ofTerminate(terminate.RuleCommittedEverywhere)},
		{name: "terminate: end when applied", mix: ends, without: ofTerminate(terminate.RuleEndWhenApplied)},
		{name: "terminate: every later fenced", without: ofTerminate(terminate.RuleEveryLaterFenced)},
		{name: "terminate: outcome asks all", without: ofTerminate(terminate.RuleOutcomeAsksAll)},

		{name: "driver: raise, then wait", mix: views, without: ofDriver(WaitBeforeRaise)},
		{name: "driver: lease checked after the read", mix: primaries, without: ofDriver(NoLeaseCheck)},
		{name: "driver: lead before serving", mix: primaries, without: ofDriver(ServeBeforeLead)},
		{name: "driver: only a Lead of this view", mix: reelected, without: ofDriver(ServeInheritedLead)},
		{name: "driver: floor fetched in the view", mix: reelected, without: ofDriver(EarlyFloor)},
		{name: "driver: timestamp fetched in the transaction", without: ofDriver(TimestampFromBefore)},
	}
}

func findRow(name string) (row, bool) {
	for _, r := range rows() {
		if r.name == name {
			return r, true
		}
	}
	return row{}, false
}

// TestEveryRuleIsMissed leaves out one rule at a time and wants more than 20 bad histories, and none with the
// same mixture and all rules.
func TestEveryRuleIsMissed(t *testing.T) {
	if testing.Short() {
		t.Skip("a few hundred thousand histories")
	}
	const (
		wanted = 21
		budget = 100_000
	)
	table := fmt.Sprintf("%-46s %6s %10s  %s\n", "left out", "bad", "histories", "the first seed and what was wrong with it")
	for _, r := range rows() {
		total := playAll(1, budget, wanted, func(seed uint64) Params { return r.params(seed, true) })
		require.GreaterOrEqual(t, len(total.bad), wanted, "%s: in %d histories", r.name, total.histories)
		table += fmt.Sprintf("%-46s %6d %10d  %d: %.110s\n", r.name, len(total.bad), total.histories, total.bad[0].seed, total.bad[0].problems[0])
		if r.mix != nil {
			good := playAll(1, min(total.histories, 5000), 1, func(seed uint64) Params { return r.params(seed, false) })
			require.Empty(t, good.bad, "%s, with the rule: %+v", r.name, good.bad)
		}
	}
	t.Log("\n" + table)
}

// TestSeedsThatFoundBugs plays the histories of docs/BUGS.md: bad as it was then, good as it is now.
func TestSeedsThatFoundBugs(t *testing.T) {
	for _, bug := range []struct {
		seed  uint64
		as    func(seed uint64) Params
		whole func(seed uint64) Params
	}{
		{1537214, inherited, Ordinary},
		{1716008, inherited, Ordinary},
		{2, mixed("records an attempt span below", true), mixed("records an attempt span below", false)},
		{17, mixed("commit: attempt span", true), mixed("commit: attempt span", false)},
	} {
		require.NotEmpty(t, Run(bug.as(bug.seed), bug.seed, nil).Problems, "seed %d is no longer that history", bug.seed)
		require.Empty(t, Run(bug.whole(bug.seed), bug.seed, nil).Problems, "seed %d", bug.seed)
	}
}

func inherited(seed uint64) Params {
	p := Ordinary(seed)
	p.Mistakes = ServeInheritedLead
	return p
}

func mixed(name string, without bool) func(seed uint64) Params {
	r, _ := findRow(name)
	return func(seed uint64) Params { return r.params(seed, without) }
}
