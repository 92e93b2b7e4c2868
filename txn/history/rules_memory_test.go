package history

import (
	"fmt"

	"github.com/viewline/viewline/txn"
)

func attemptRules() []ruleTest {
	return []ruleTest{{
		rule: RuleKnownAnswer, name: "a copy is answered as the first was",
		run: func(f *shard) string {
			t := f.txn(1, 10).read("x").put("x", "1")
			return brief(f.onePhase(t)) + ", then " + brief(f.onePhase(t))
		},
		with: "committed, then committed", without: "committed, then aborted: read by later",
	}, {
		rule: RuleSuperseded, name: "a late copy of an older attempt",
		run: func(f *shard) string {
			first := f.txn(1, 10, 1, 2).put("x", "1")
			f.prepare(first.again(20))
			return brief(f.prepare(first)) + ", on the line: " + f.onLine()
		},
		with: "aborted: superseded, on the line: 2@20", without: "prepared, on the line: 1@10",
	}, {
		rule: RuleTakeOffOlder, name: "attempt 2 against attempt 1 of itself",
		run: func(f *shard) string {
			first := f.txn(1, 10, 1, 2).read("x").put("x", "1")
			f.prepare(first)
			return brief(f.prepare(first.again(20))) + ", on the line: " + f.onLine()
		},
		with: "prepared, on the line: 2@20", without: "aborted: conflict with prepared, on the line: 1@10",
	}, {
		rule: RuleOneCommit, name: "another attempt after the commit",
		run: func(f *shard) string {
			first := f.commit(f.txn(1, 10).put("x", "1"))
			return brief(f.onePhase(first.again(20))) + fmt.Sprintf(", versions %d, broken %d", f.Counters().Versions, f.Counters().InvariantBreaks)
		},
		with: "refused: invariant, versions 1, broken 1", without: "committed, versions 2, broken 0",
	}, {
		rule: RuleTombstone, name: "a late copy after a fence",
		run: func(f *shard) string {
			t := f.txn(1, 10, 1, 2).put("x", "1")
			return brief(f.fence(t)) + ", then " + brief(f.prepare(t))
		},
		with: "aborted: fenced, then aborted: fenced", without: "aborted: fenced, then prepared",
	}, {
		rule: RuleCloseLater, name: "a later attempt after its outcome was told",
		run: func(f *shard) string {
			first := f.txn(1, 10, 1, 2).put("x", "1")
			v := f.apply(Fence{Attempt: first.Attempt, EveryLater: true}).Verdict
			return brief(v) + ", then " + brief(f.prepare(first.again(20)))
		},
		with: "aborted: fenced, then aborted: fenced", without: "aborted: fenced, then prepared",
	}}
}

// onLine lists the history line.
func (f *shard) onLine() string {
	var line string
	f.Prepared(func(p Prepared) bool {
		line += fmt.Sprintf("%d@%d", p.Txn.Number, p.Txn.TS)
		return true
	})
	return line
}

func memoryRules() []ruleTest {
	return []ruleTest{{
		rule: RuleForgotten, name: "the outcome of a forgotten commit",
		run: func(f *shard) string {
			t := f.commit(f.txn(1, 10).put("x", "1"))
			f.advance(20, 0, 20)
			return brief(f.fence(t)) + ", x is " + f.value("x")
		},
		with: "forgotten: forgotten, x is 1", without: "aborted: fenced, x is 1",
	}, {
		rule: RuleRememberCommit, name: "the outcome of a commit",
		run: func(f *shard) string {
			t := f.commit(f.txn(1, 10).put("x", "1"))
			return brief(f.fence(t)) + ", x is " + f.value("x")
		},
		with: "committed, x is 1", without: "aborted: fenced, x is 1",
	}, {
		rule: RuleEndKeepsCommit, name: "a late copy after END",
		run: func(f *shard) string {
			t := f.prepared(f.txn(1, 10, 1, 2).put("x", "1"))
			f.commitTxn(t)
			f.apply(EndTxn{IDs: []txn.TxnID{t.ID}})
			return brief(f.prepare(t)) + ", on the line: " + f.onLine()
		},
		with: "committed, on the line: ", without: "prepared, on the line: 1@10",
	}, {
		rule: RuleCommitUntilEnd, name: "a commit below the horizon that not everybody has applied",
		run: func(f *shard) string {
			t := f.prepared(f.txn(1, 10, 1, 2).put("x", "1"))
			f.commitTxn(t)
			f.advance(20, 0, 20)
			// A participant that still holds it prepared asks, and may read Forgotten as aborted.
			return brief(f.fence(t))
		},
		with: "committed", without: "forgotten: forgotten",
	}}
}

func horizonRules() []ruleTest {
	// deleted puts x at 5, deletes it at 15, and lets a writer of x come at 10.
	deleted := func(f *shard, between func(writer *builder) string) string {
		f.commit(f.txn(1, 5).put("x", "1"))
		writer := f.txn(3, 10, 1, 2).put("x", "back from the dead")
		f.commit(f.txn(2, 15).del("x"))
		return between(writer) + ", x is " + f.value("x")
	}
	return []ruleTest{{
		rule: RuleThreshold, name: "a writer below what was folded",
		run: func(f *shard) string {
			return deleted(f, func(writer *builder) string {
				f.advance(20, 20, 0)
				v := f.prepare(writer)
				f.commitTxn(writer)
				return brief(v)
			})
		},
		with: "aborted: too old, x is -", without: "prepared, x is back from the dead",
	}, {
		rule: RuleFoldBelowPrepared, name: "a fold over a prepared writer",
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			writer := f.prepared(f.txn(3, 10, 1, 2).put("x", "back from the dead"))
			f.commit(f.txn(2, 15).del("x"))
			f.advance(20, 20, 0)
			f.commitTxn(writer)
			return fmt.Sprintf("horizon %d, x is %s", f.VersionHorizon(), f.value("x"))
		},
		with: "horizon 9, x is -", without: "horizon 20, x is back from the dead",
	}, {
		rule: RuleFoldKeepsInstalled, name: "a fold keeps the largest op-number",
		run: func(f *shard) string {
			f.commit(f.txn(1, 8).put("x", "1"))
			reader := f.txn(3, 30).read("x").put("y", "x was 1")
			f.commit(f.txn(2, 5).put("x", "0")) // below the version read, after the read
			f.advance(20, 20, 0)
			return brief(f.onePhase(reader))
		},
		with: "aborted: stale read", without: "committed",
	}}
}

func spanRules() []ruleTest {
	return []ruleTest{{
		rule: RuleSnapshotHorizon, name: "a snapshot below the version horizon",
		run: func(f *shard) string {
			f.commit(f.txn(1, 5).put("x", "1"))
			f.commit(f.txn(2, 8).put("x", "2"))
			before := f.valueAt("x", 6)
			f.advance(20, 20, 0)
			return before + ", then " + f.valueAt("x", 6)
		},
		with: "1, then " + ErrSnapshotTooOld.Error(), without: "1, then -",
	}, {
		rule: RuleAttemptSpan, name: "a later attempt of a transaction that a fence has closed",
		run: func(f *shard) string {
			f = newShardWith(f.t, Options{Shard: 1, SlotOf: slotOf, AttemptSpan: 20, Omit: f.options.Omit})
			t := f.txn(1, 10).put("x", "1")
			outcome := f.apply(Fence{Attempt: t.Attempt, EveryLater: true}).Verdict
			f.advance(25, 0, 25)
			t.Number, t.TS = 2, 30
			return "Outcome: " + brief(outcome) + ", attempt 2: " + brief(f.onePhase(t))
		},
		with: "Outcome: aborted: fenced, attempt 2: aborted: fenced", without: "Outcome: aborted: fenced, attempt 2: committed",
	}, {
		rule: RuleHorizonsBelowThreshold, name: "a record horizon above the threshold",
		run: func(f *shard) string {
			f.advance(10, 0, 30)
			t := f.txn(1, 20).put("x", "1")
			v := f.onePhase(t)
			return fmt.Sprintf("%s, then %s, x is %s", brief(v), brief(f.onePhase(t)), f.value("x"))
		},
		with: "committed, then committed, x is 1", without: "forgotten: forgotten, then forgotten: forgotten, x is -",
	}}
}
