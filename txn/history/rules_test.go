package history

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// ruleTest is a schedule that a rule is there for: what comes of it with the rule, and the damage without.
type ruleTest struct {
	rule    omit.Rule
	name    string
	run     func(f *shard) string
	with    string
	without string
	// also is left out in both runs: rules that would catch the same schedule.
	also []omit.Rule
}

// TestRules runs every rule's schedule with the rule and without it.
func TestRules(t *testing.T) {
	covered := omit.Set(0)
	for _, groups := range [][]ruleTest{readRules(), writeRules(), primaryRules(), attemptRules(), memoryRules(), horizonRules(), spanRules()} {
		for _, test := range groups {
			covered |= omit.Of(test.rule)
			t.Run(test.name, func(t *testing.T) {
				require.Equal(t, test.with, test.run(newShard(t, test.also...)), "with the rule")
				require.Equal(t, test.without, test.run(newShard(t, append(test.also, test.rule)...)), "without the rule")
			})
		}
	}
	for rule := range ruleCount {
		require.True(t, covered.Has(rule), "rule %d has no test", rule)
	}
}

func readRules() []ruleTest {
	return []ruleTest{{
		rule: RuleNeedsNewer, name: "3a, a version from the future",
		run: func(f *shard) string {
			f.commit(f.txn(1, 20).put("x", "from 20"))
			return brief(f.onePhase(f.txn(2, 10).read("x").put("y", "computed from 20")))
		},
		with: "aborted: needs newer timestamp", without: "committed",
	}, {
		rule: RuleStaleRead, name: "3b, a version in between",
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			f.commit(f.txn(2, 8).put("x", "2"))
			// A cache kept the version and took the newer op-number.
			v := f.onePhase(f.txn(3, 10).readAs("x", 5, f.Applied()).put("x", "1+1"))
			return brief(v) + ", x is " + f.value("x")
		},
		with: "aborted: stale read, x is 2", without: "committed, x is 1+1",
	}, {
		rule: RuleInstalledAfter, name: "3b, installed after the read", also: []omit.Rule{RuleStaleRead},
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			late := f.txn(3, 10).read("x").put("x", "1+1")
			f.commit(f.txn(2, 8).read("x").put("x", "2"))
			v := f.onePhase(late)
			return brief(v) + ", x is " + f.value("x")
		},
		with: "aborted: stale read, x is 2", without: "committed, x is 1+1",
	}, {
		rule: RuleVersionGone, name: "3b, a version that was collected",
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			cached := f.txn(3, 20).read("x").put("y", "x is alive")
			f.commit(f.txn(2, 8).del("x"))
			f.advance(9, 9, 9)
			return brief(f.onePhase(cached))
		},
		with: "aborted: stale read", without: "committed",
	}, {
		rule: RuleReadHere, name: "3b, at of another shard",
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			return brief(f.onePhase(f.txn(2, 20).readElsewhere("x", 5, 1_000, 7).put("y", "x is 1")))
		},
		with: "aborted: stale read", without: "committed",
	}, {
		rule: RuleAbsent, name: "3, an absent key is read like any other",
		run: func(f *shard) string {
			first, second := f.txn(1, 10).read("x").put("x", "first"), f.txn(2, 20).read("x").put("x", "second")
			f.commit(first)
			v := f.onePhase(second)
			return brief(v) + ", x is " + f.value("x")
		},
		with: "aborted: stale read, x is first", without: "committed, x is second",
	}, {
		rule: RuleConflictWithPrepared, name: "3c, a prepared writer of what was read",
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			first, second := f.txn(2, 10, 1, 2).read("x").put("x", "1+1"), f.txn(3, 20).read("x").put("x", "1+2")
			f.prepared(first)
			v := f.onePhase(second)
			f.commitTxn(first)
			return brief(v) + ", x is " + f.value("x")
		},
		with: "aborted: conflict with prepared, x is 1+1", without: "committed, x is 1+2",
	}}
}

func writeRules() []ruleTest {
	// laterReader commits a reader of x at 20; then a slow writer of x comes at 10.
	laterReader := func(f *shard) string {
		f.commit(f.txn(1, 5).put("x", "1"))
		f.commit(f.txn(2, 20).read("x").put("y", "x was 1"))
		v := f.onePhase(f.txn(3, 10).put("x", "2"))
		return fmt.Sprintf("%s, at 20 x is %s and y says %s", brief(v), f.valueAt("x", 20), f.value("y"))
	}
	const good = "aborted: read by later, at 20 x is 1 and y says x was 1"
	const bad = "committed, at 20 x is 2 and y says x was 1"
	return []ruleTest{
		{rule: RuleReadStamp, name: "4a, a committed later reader", run: laterReader, with: good, without: bad},
		{rule: RuleStampOfWrites, name: "4a, compared with the reads", run: laterReader, with: good, without: bad},
		{rule: RuleStampsRaisedAtCommit, name: "4a, a commit that leaves no read stamp", run: laterReader, with: good, without: bad},
		{
			rule: RulePreparedReader, name: "4b, a prepared later reader",
			run: func(f *shard) string {
				f.commit(f.txn(1, 5).put("x", "1"))
				reader := f.prepared(f.txn(2, 20, 1, 2).read("x").put("y", "x was 1"))
				v := f.onePhase(f.txn(3, 10).put("x", "2"))
				f.commitTxn(reader)
				return fmt.Sprintf("%s, at 20 x is %s and y says %s", brief(v), f.valueAt("x", 20), f.value("y"))
			},
			with: good, without: bad,
		},
		{
			rule: RuleUniqueTimestamp, name: "two transactions of one timestamp",
			run: func(f *shard) string {
				f.prepared(f.txn(1, 10, 1, 2).put("x", "1").put("y", "1"))
				v := f.prepare(f.txn(2, 10, 1, 2).put("x", "2").put("y", "2"))
				f.commitTxn(f.txn(2, 10, 1, 2))
				f.commitTxn(f.txn(1, 10, 1, 2))
				return fmt.Sprintf("%s, versions of x and y: %d", brief(v), f.Counters().Versions)
			},
			with: "aborted: needs newer timestamp, versions of x and y: 2", without: "prepared, versions of x and y: 2",
		},
		{
			rule: RuleOwnSlots, name: "a slot that is another shard's",
			run: func(f *shard) string {
				for i := range f.served {
					f.served[i] = false // as Own gave it other slots
				}
				return brief(f.onePhase(f.txn(1, 10).put("x", "lost: nobody looks for it here")))
			},
			with: "aborted: wrong shard", without: "committed",
		},
	}
}

func primaryRules() []ruleTest {
	return []ruleTest{{
		rule: RuleStampEqual, name: "4a, a snapshot at the very timestamp",
		run: func(f *shard) string {
			f.front.RaiseSnapStamps([]string{"x"}, 10)
			before := f.valueAt("x", 10)
			return f.snapshotAgainst(f.txn(1, 10).put("x", "1"), before, 10)
		},
		with: "refused: read by later, at 10 x was - and is -", without: "passed, at 10 x was - and is 1",
	}, {
		rule: RuleSnapStamp, name: "4a, a later snapshot",
		run: func(f *shard) string {
			f.front.RaiseSnapStamps([]string{"x"}, 20)
			before := f.valueAt("x", 20)
			return f.snapshotAgainst(f.txn(1, 10).put("x", "1"), before, 20)
		},
		with: "refused: read by later, at 20 x was - and is -", without: "passed, at 20 x was - and is 1",
	}, {
		rule: RuleInFlight, name: "a snapshot against a proposed operation",
		run: func(f *shard) string {
			slow := f.txn(1, 10).put("x", "1")
			_, passed := f.admit(slow)
			require.True(f.t, passed)
			f.front.RaiseSnapStamps([]string{"x"}, 20)
			if blockers := f.front.BlockersAt([]string{"x"}, 20); len(blockers) > 0 {
				return "the snapshot waits for " + blockers[0].String()
			}
			before := f.valueAt("x", 20)
			f.onePhase(slow)
			return fmt.Sprintf("at 20 x was %s and is %s", before, f.valueAt("x", 20))
		},
		with: "the snapshot waits for 01000000000000000000000000000000-1-1.1@10", without: "at 20 x was - and is 1",
	}, {
		rule: RuleLead, name: "pre-validated under another Lead",
		run: func(f *shard) string {
			slow := f.txn(1, 70).put("x", "1")
			_, passed := f.admit(slow)
			require.True(f.t, passed)
			f.lead(2, 50)
			f.front.RaiseSnapStamps([]string{"x"}, 80)
			before := f.valueAt("x", 80)
			v := f.apply(CommitOnePhase{Lead: 1, Txn: slow.Transaction}).Verdict
			return fmt.Sprintf("%s, at 80 x was %s and is %s", brief(v), before, f.valueAt("x", 80))
		},
		with: "refused: other lead, at 80 x was - and is -", without: "committed, at 80 x was - and is 1",
	}, {
		rule: RuleLeadSuccession, name: "a Lead that comes late",
		run: func(f *shard) string {
			f.lead(2, 50)
			f.front.RaiseSnapStamps([]string{"x"}, 80)
			before := f.valueAt("x", 80)
			f.apply(Lead{Number: 1, View: 10, Floor: 5})
			v := f.apply(CommitOnePhase{Lead: 1, Txn: f.txn(1, 70).put("x", "1").Transaction}).Verdict
			return fmt.Sprintf("%s, at 80 x was %s and is %s", brief(v), before, f.valueAt("x", 80))
		},
		with: "refused: other lead, at 80 x was - and is -", without: "committed, at 80 x was - and is 1",
	}, {
		rule: RuleFloor, name: "at or below the floor of a new primary",
		run: func(f *shard) string {
			f.front.RaiseSnapStamps([]string{"x"}, 60) // in the memory of a primary that is gone
			before := f.valueAt("x", 60)
			f.lead(2, 61)
			return f.snapshotAgainst(f.txn(1, 50).put("x", "1"), before, 60)
		},
		with: "refused: too old, at 60 x was - and is -", without: "passed, at 60 x was - and is 1",
	}}
}

// snapshotAgainst pre-validates and applies a writer of x after a snapshot has read it.
func (f *shard) snapshotAgainst(writer *builder, before string, ts txn.Timestamp) string {
	answer := "passed"
	if v, passed := f.admit(writer); passed {
		f.onePhase(writer)
		f.front.Leave(f.LeadNumber(), writer.Attempt)
	} else {
		answer = brief(v)
	}
	return fmt.Sprintf("%s, at %d x was %s and is %s", answer, ts, before, f.valueAt("x", ts))
}
