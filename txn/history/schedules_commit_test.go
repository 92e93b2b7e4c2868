package history

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// Copies of a PrepareTxn: two reach B, copy 2 is refused unlogged. Were the clerk to abort everywhere on that
// refusal alone, copy 1 would pass: all were prepared, A's terminator commits, B takes it off. The fence makes
// B's word final, whichever comes first.
func TestScheduleCopiesOfAPrepareTxn(t *testing.T) {
	refusedCopy := func(b *shard, copy1 *builder) {
		b.front.RaiseSnapStamps([]string{"y"}, 20)
		v, passed := b.admit(copy1)
		require.False(t, passed)
		require.Equal(t, txn.StatusRefused, v.Status)
		require.False(t, v.Logged(), "no decision: another copy may still prepare")
	}
	// The fence comes first: copy 1 cannot prepare any more.
	b := newShardNamed(t, 2)
	copy1 := b.txn(1, 10, 1, 2).put("y", "1")
	refusedCopy(b, copy1)
	require.Equal(t, "aborted: fenced", brief(b.fence(copy1)))
	require.Equal(t, "aborted: fenced", brief(b.prepare(copy1)))
	// Copy 1 comes first, proposed before the stamp was raised: the fence says prepared, and nobody may abort.
	b = newShardNamed(t, 2)
	copy1 = b.txn(1, 10, 1, 2).put("y", "1")
	_, passed := b.admit(copy1)
	require.True(t, passed)
	refusedCopy(b, copy1)
	require.Equal(t, "prepared", brief(b.prepare(copy1)))
	v := b.fence(copy1)
	require.Equal(t, "prepared", brief(v))
	require.Equal(t, []txn.ShardID{1, 2}, v.Participants)
	require.Equal(t, "committed", brief(b.commitTxn(copy1)))
	// An AbortTxn now contradicts the record: counted, no effect.
	require.Equal(t, "refused: invariant", brief(b.abortTxn(copy1)))
	require.Equal(t, uint64(1), b.Counters().InvariantBreaks)
	require.Equal(t, "1", b.value("y"))
	// Without the tombstone the fence is mere talk.
	b = newShardNamed(t, 2, RuleTombstone)
	copy1 = b.txn(1, 10, 1, 2).put("y", "1")
	require.Equal(t, "aborted: fenced", brief(b.fence(copy1)))
	require.Equal(t, "prepared", brief(b.prepare(copy1)))
}

// Attempt 2 begins on an unlogged refusal of attempt 1 while a terminator commits attempt 1. At the shard that
// holds attempt 1 committed, attempt 2 contradicts the record.
func TestScheduleTwoAttemptsCommit(t *testing.T) {
	run := func(t *testing.T, omitted ...omit.Rule) (*shard, txn.Verdict) {
		a := newShard(t, omitted...)
		first := a.prepared(a.txn(1, 10, 1, 2).put("x", "1"))
		a.commitTxn(first) // by a terminator, which found all prepared
		return a, a.prepare(first.again(20))
	}
	a, v := run(t)
	require.Equal(t, "refused: invariant", brief(v))
	require.Equal(t, uint64(1), a.Counters().InvariantBreaks)
	require.Zero(t, a.Counters().Prepared)
	_, passed := a.front.Admit(a.txn(1, 10, 1, 2).again(20).Transaction, false)
	require.False(t, passed, "the front sees it too")
	a, v = run(t, RuleOneCommit)
	require.Equal(t, "prepared", brief(v))
	require.Equal(t, 1, a.Counters().Prepared)
}

// Attempt 2 of a transaction conflicts with nothing of attempt 1, on the line or in flight.
func TestScheduleAttemptTwoAgainstAttemptOne(t *testing.T) {
	f := newShard(t)
	first := f.txn(1, 10, 1, 2).read("x").put("x", "1")
	_, passed := f.admit(first)
	require.True(t, passed)
	second := first.again(20)
	_, passed = f.admit(second)
	require.True(t, passed, "attempt 1 in flight is no obstacle")
	f.prepared(first)
	f.front.Leave(1, first.Attempt)
	require.True(t, f.front.Wait(5, []txn.Attempt{first.Attempt}))
	require.Equal(t, "prepared", brief(f.prepare(second)))
	require.Equal(t, "2@20", f.onLine())
	require.Equal(t, []uint64{5}, f.front.TakeReleased(), "attempt 1 is gone")
	require.Equal(t, "aborted: superseded", brief(f.fence(first)))
	require.Equal(t, "aborted: superseded", brief(f.abortTxn(first)))
	require.Equal(t, "refused: invariant", brief(f.commitTxn(first)))

	// Attempt 1 goes although attempt 2 is refused: the proof of its death came along.
	reader := f.prepared(f.txn(2, 40, 1, 2).read("y"))
	first = f.prepared(f.txn(3, 25, 1, 2).put("z", "1"))
	second = first.again(30).put("y", "1")
	require.Equal(t, "aborted: read by later", brief(f.prepare(second)))
	require.Equal(t, "2@201@40", f.onLine())
	require.Equal(t, "aborted: superseded", brief(f.fence(first)))
	f.commitTxn(reader)
}

// COMMIT dropped at END. One shard: the retry of a CommitOnePhase must be answered as the first time. Two
// shards: a late PrepareTxn must not prepare again. And the outcome of a transaction that is committed and
// forgotten is never 'aborted'.
func TestScheduleCommitDroppedAtEnd(t *testing.T) {
	f := newShard(t)
	one := f.commit(f.txn(1, 10).read("x").put("x", "1"))
	two := f.prepared(f.txn(2, 20, 1, 2).put("y", "1"))
	f.commitTxn(two)
	f.apply(EndTxn{IDs: []txn.TxnID{one.ID, two.ID, idOf(99)}})
	first := f.onePhase(one)
	require.Equal(t, "committed", brief(first))
	require.Equal(t, txn.OpNumber(3), first.Op, "the answer is the recorded one")
	require.Equal(t, "committed", brief(f.prepare(two)))
	require.Equal(t, "committed", brief(f.fence(two)))
	require.Zero(t, f.Counters().Prepared)

	open := f.prepared(f.txn(3, 30, 1, 2).put("z", "1"))
	f.commitTxn(open)
	require.Equal(t, []Unended{{Attempt: open.Attempt, Participants: []txn.ShardID{1, 2}}}, f.Unended(txn.Attempt{}, 10))
	f.advance(50, 0, 50)
	for _, forgotten := range []*builder{one, two} {
		require.Equal(t, "forgotten: forgotten", brief(f.fence(forgotten)))
		require.Equal(t, "forgotten: forgotten", brief(f.prepare(forgotten)))
		require.Equal(t, "forgotten: forgotten", brief(f.commitTxn(forgotten)), "late, harmless")
		require.Equal(t, "forgotten: forgotten", brief(f.abortTxn(forgotten)))
		v, passed := f.admit(forgotten)
		require.False(t, passed)
		require.Equal(t, "forgotten: forgotten", brief(v))
	}
	require.Equal(t, "committed", brief(f.fence(open)), "nobody has ended it")
	f.apply(EndTxn{IDs: []txn.TxnID{open.ID}})
	require.Equal(t, "forgotten: forgotten", brief(f.fence(open)))
	require.Zero(t, f.Counters().Decisions)
	require.Zero(t, f.Counters().InvariantBreaks)
}

// A fence against an in-flight PrepareTxn is decided by the log's order, not by what the primary knows.
func TestScheduleFenceAgainstInFlight(t *testing.T) {
	for _, fenceFirst := range []bool{true, false} {
		f := newShard(t)
		b := f.txn(1, 10, 1, 2).put("x", "1")
		_, passed := f.admit(b)
		require.True(t, passed)
		if fenceFirst {
			require.Equal(t, "aborted: fenced", brief(f.fence(b)))
			require.Equal(t, "aborted: fenced", brief(f.prepare(b)))
		} else {
			require.Equal(t, "prepared", brief(f.prepare(b)))
			require.Equal(t, "prepared", brief(f.fence(b)))
		}
		f.front.Leave(1, b.Attempt)
		require.Zero(t, f.front.InFlight())
	}
}

// The home shard's answer to a fence against every later attempt is about the attempt that matters.
func TestFenceEveryLater(t *testing.T) {
	later := func(f *shard, b *builder) txn.Verdict {
		return f.apply(Fence{Attempt: b.Attempt, EveryLater: true}).Verdict
	}
	f := newShard(t)
	first := f.txn(1, 10, 1, 2).put("x", "1")
	f.prepared(first)
	third := first.again(20).again(30)
	v := later(f, third)
	require.Equal(t, "prepared", brief(v))
	require.Equal(t, first.Attempt, v.Attempt, "the prepared one, though a later one was asked about")
	require.Equal(t, []txn.ShardID{1, 2}, v.Participants)
	require.Equal(t, "aborted: fenced", brief(f.prepare(first.again(15))), "closed")
	restored := restore(t, f.State)
	require.Equal(t, f.Hash(), restored.Hash(), "closed with nothing decided outlives a checkpoint")
	f.commitTxn(first)
	v = later(f, third)
	require.Equal(t, "committed", brief(v))
	require.Equal(t, first.Attempt, v.Attempt)
	require.Equal(t, []txn.ShardID{1, 2}, v.Participants)
	require.Equal(t, "aborted: superseded", brief(f.fence(third)), "a plain fence is about its own attempt")

	// What was closed while it was prepared stays closed when that attempt is aborted.
	f = newShard(t)
	f.prepared(first)
	require.Equal(t, "prepared", brief(later(f, first)))
	require.Equal(t, "aborted: fenced", brief(f.abortTxn(first)))
	require.Equal(t, "aborted: fenced", brief(f.prepare(third)))

	f = newShard(t)
	f.abortTxn(first)
	v = later(f, first)
	require.Equal(t, "aborted: fenced", brief(v))
	require.Equal(t, first.Attempt, v.Attempt)
	v = later(f, third)
	require.Equal(t, "aborted: fenced", brief(v))
	require.Equal(t, third.Attempt, v.Attempt)
	require.Equal(t, "aborted: fenced", brief(f.prepare(third)))
	require.Equal(t, "aborted: fenced", brief(f.prepare(third.again(40))))
}
