package history

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// The tests in this file and the next play out schedules that break a store which lacks a rule. T@10 is a
// transaction with timestamp 10, x@5 a version of x.

// asPrinted are the rules that a report on an earlier system printed.
func asPrinted() []omit.Rule { return RulesAsPrinted() }

// S@20 reads x and is prepared or committed; T@10, slow, writes x. Elsewhere T is ordered before S, because S
// read there what T wrote: a cycle.
func TestScheduleLaterReaderEarlierWriter(t *testing.T) {
	run := func(t *testing.T, committed bool, omitted ...omit.Rule) (atA, atB txn.Verdict) {
		a, b := newShardNamed(t, 1, omitted...), newShardNamed(t, 2, omitted...)
		// T reaches B and is committed there, as its sender takes A's consent for granted.
		slowAtB := b.txn(1, 10, 1, 2).put("y", "T")
		b.prepared(slowAtB)
		b.commitTxn(slowAtB)
		sAtA, sAtB := a.txn(2, 20, 1, 2).read("x"), b.txn(2, 20, 1, 2).read("y").put("z", "S saw T")
		a.prepared(sAtA)
		atB = b.prepare(sAtB)
		if committed {
			a.commitTxn(sAtA)
			b.commitTxn(sAtB)
		}
		return a.prepare(a.txn(1, 10, 1, 2).put("x", "T")), atB
	}
	for _, committed := range []bool{false, true} {
		slow, reader := run(t, committed)
		require.Equal(t, "aborted: read by later", brief(slow), "S committed: %t", committed)
		require.Equal(t, []string{"x"}, slow.OIDs)
		require.Equal(t, txn.Timestamp(20), slow.Other.TS, "the reader is named")
		require.Equal(t, txn.StatusPrepared, reader.Status)
		// The printed rules let both through: S saw T's y and not T's x.
		slow, reader = run(t, committed, asPrinted()...)
		require.Equal(t, txn.StatusPrepared, slow.Status, "S committed: %t", committed)
		require.Equal(t, txn.StatusPrepared, reader.Status)
	}
}

// The primary pre-validates T@10, which writes x, and proposes it. A View at 20 sees no T on the line; T
// applies after it has read.
func TestScheduleSnapshotAgainstProposed(t *testing.T) {
	f := newShard(t)
	slow := f.txn(1, 10).put("x", "1")
	_, passed := f.admit(slow)
	require.True(t, passed)
	f.front.RaiseSnapStamps([]string{"x"}, 20)
	blockers := f.front.BlockersAt([]string{"x"}, 20)
	require.Equal(t, []txn.Attempt{slow.Attempt}, blockers)
	require.True(t, f.front.Wait(7, blockers))
	require.Empty(t, f.front.TakeReleased())
	f.onePhase(slow)
	require.Empty(t, f.front.TakeReleased(), "applied, but still in flight")
	f.front.Leave(1, slow.Attempt)
	require.Equal(t, []uint64{7}, f.front.TakeReleased())
	require.Equal(t, "1", f.valueAt("x", 20))
}

// A View that waits for writers first and raises the stamps afterwards lets S@15 prepare in between.
func TestScheduleRaiseThenWait(t *testing.T) {
	f := newShard(t)
	between := f.txn(1, 15).put("x", "1")
	wrongOrder := func() (before string) {
		require.Empty(t, f.front.BlockersAt([]string{"x"}, 20))
		_, passed := f.admit(between)
		require.True(t, passed)
		f.front.RaiseSnapStamps([]string{"x"}, 20)
		before = f.valueAt("x", 20)
		f.onePhase(between)
		f.front.Leave(1, between.Attempt)
		return before
	}
	require.NotEqual(t, wrongOrder(), f.valueAt("x", 20), "the wrong order reads what changes")

	f.front.RaiseSnapStamps([]string{"x"}, 30)
	require.Empty(t, f.front.BlockersAt([]string{"x"}, 30))
	v, passed := f.admit(f.txn(2, 25).put("x", "2"))
	require.False(t, passed)
	require.Equal(t, "refused: read by later", brief(v))
	require.Equal(t, []string{"x"}, v.OIDs)
}

// A snapshot's timestamp may be one that was issued to a writer.
func TestScheduleStampsAreGreaterOrEqual(t *testing.T) {
	f := newShard(t)
	f.front.RaiseSnapStamps([]string{"x"}, 10)
	v, passed := f.admit(f.txn(1, 10).put("x", "1"))
	require.False(t, passed)
	require.Equal(t, "refused: read by later", brief(v))
	_, passed = f.admit(f.txn(2, 11).put("x", "1"))
	require.True(t, passed)
}

// P1 pre-validates T@10 and pauses. P2, with floor 50, serves a View at 60. P1 is primary again and its old
// goroutine proposes.
func TestSchedulePrevalidatedInOneViewAppliedInAnother(t *testing.T) {
	p1 := newShard(t)
	slow := p1.txn(1, 10).put("x", "1")
	_, passed := p1.admit(slow)
	require.True(t, passed)
	p1.front.Unlead()
	p1.apply(Lead{Number: 2, View: 2, Floor: 50}) // P2's; the View at 60 is in P2's memory
	before := p1.valueAt("x", 60)
	require.False(t, p1.front.Lead(1), "not the current one any more")
	p1.apply(Lead{Number: 3, View: 3, Floor: 70})
	require.True(t, p1.front.Lead(3))
	r := p1.apply(CommitOnePhase{Lead: 1, Txn: slow.Transaction})
	require.Equal(t, "refused: other lead", brief(r.Verdict))
	require.False(t, r.TookEffect)
	require.False(t, r.Verdict.Logged(), "it certainly had no effect; another copy may")
	require.Equal(t, before, p1.valueAt("x", 60))
	// Proposed under the new Lead it is below the floor.
	require.Equal(t, "aborted: too old", brief(p1.onePhase(slow)))
	require.Equal(t, "aborted: too old", brief(p1.onePhase(p1.txn(2, 70).put("x", "2"))), "at the floor, too")
	require.Equal(t, "committed", brief(p1.onePhase(p1.txn(3, 71).put("x", "3"))))
}

// T@20 writes x and z, slowly. U@30 writes z alone and its caller is answered. A Get of x misses T. If that Get
// had no timestamp, T would still commit: the Get comes after U in real time, U after T by z, and T after the Get
// by x. A Get is a snapshot, and its stamp keeps T out.
func TestScheduleGetWithoutTimestamp(t *testing.T) {
	play := func(get func(a *shard)) (atA, atB string) {
		a, b := newShardNamed(t, 1), newShardNamed(t, 2)
		b.commit(b.txn(2, 30).put("z", "U"))
		get(a)
		slowAtA, slowAtB := a.txn(1, 20, 1, 2).put("x", "T"), b.txn(1, 20, 1, 2).put("z", "T")
		if v, passed := a.admit(slowAtA); !passed {
			atA = brief(v)
		} else {
			atA = brief(a.prepare(slowAtA))
		}
		atB = brief(b.prepare(slowAtB))
		if atA == "prepared" && atB == "prepared" {
			a.commitTxn(slowAtA)
			b.commitTxn(slowAtB)
			require.Equal(t, "T", a.value("x"))
			require.Equal(t, "U", b.value("z"), "U is later")
		}
		return atA, atB
	}
	atA, atB := play(func(a *shard) { require.Equal(t, "-", a.value("x")) })
	require.Equal(t, "prepared, prepared", atA+", "+atB, "nothing stops T")
	atA, atB = play(func(a *shard) {
		a.front.RaiseSnapStamps([]string{"x"}, 40)
		require.Empty(t, a.front.BlockersAt([]string{"x"}, 40))
		require.Equal(t, "-", a.valueAt("x", 40))
	})
	require.Equal(t, "refused: read by later, prepared", atA+", "+atB, "T dies at one shard")
}

// T reads absent x; S prepares an insert of x. Both must not commit.
func TestScheduleAbsentKey(t *testing.T) {
	f := newShard(t)
	reader := f.txn(1, 20).read("x").put("y", "x is absent")
	insert := f.prepared(f.txn(2, 10, 1, 2).put("x", "here"))
	v := f.prepare(reader)
	require.Equal(t, "aborted: conflict with prepared", brief(v))
	require.Equal(t, insert.Attempt, v.Other)
	f.commitTxn(insert)
	v = f.prepare(f.txn(3, 30).readAs("x", 0, 1).put("y", "x is absent"))
	require.Equal(t, "aborted: stale read", brief(v))
	require.Equal(t, insert.Attempt, v.Other, "the writer is named")

	// The other way round: the reader is prepared first, and the insert comes below it.
	f.prepared(f.txn(4, 50, 1, 2).read("z"))
	require.Equal(t, "aborted: read by later", brief(f.prepare(f.txn(5, 40).put("z", "here"))))
}

// T@10 is prepared when a reader at 15 comes: it has to wait, whoever reads, primary or backup.
func TestScheduleReaderAbovePrepared(t *testing.T) {
	f := newShard(t)
	writer := f.prepared(f.txn(1, 10, 1, 2).put("x", "1"))
	require.Equal(t, []txn.Attempt{writer.Attempt}, f.front.BlockersAt([]string{"w", "x"}, 15))
	require.Equal(t, []txn.Attempt{writer.Attempt}, f.front.BlockersAt([]string{"x"}, 10))
	require.Empty(t, f.front.BlockersAt([]string{"x"}, 9))
	require.Empty(t, f.front.BlockersAt([]string{"y"}, 15))
	require.True(t, f.front.Wait(1, f.front.BlockersAt([]string{"x"}, 15)))
	f.commitTxn(writer)
	require.Equal(t, []uint64{1}, f.front.TakeReleased())
	require.Equal(t, "1", f.valueAt("x", 15))
	require.Equal(t, "-", f.valueAt("x", 9))
}

// Collection: a tombstone and the version below it go; whoever read that version must not pass, whoever read
// absence may, and nobody reads below the horizon.
func TestScheduleCollection(t *testing.T) {
	f := newShard(t)
	absent := f.txn(9, 40).read("x").put("z", "x was absent")
	f.commit(f.txn(1, 5).put("x", "1"))
	alive := f.txn(2, 30).read("x").put("y", "x is alive")
	f.commit(f.txn(3, 7).del("x"))
	dead := f.txn(4, 31).read("x").put("y", "x was deleted at 7")
	f.advance(10, 10, 0)
	require.Zero(t, f.Counters().Versions)
	require.Equal(t, Value{}, f.Read("x"))
	require.Equal(t, "aborted: stale read", brief(f.onePhase(alive)))
	require.Equal(t, "aborted: stale read", brief(f.onePhase(dead)), "nobody can tell any more what it read")
	require.Equal(t, "committed", brief(f.onePhase(absent)), "absent then, absent now, and absence is what it read")
	_, err := f.ReadAt("x", 9)
	require.ErrorIs(t, err, ErrSnapshotTooOld)
	_, err = f.ReadAt("x", 10)
	require.NoError(t, err)
}

// A timestamp from nowhere: a View at 2^63 stops the writers of its keys for as long as the Lead lasts. That is
// why the server asks the coordinator how far timestamps have gone before it raises a stamp; what a front can
// see to is that it stops nobody else, and that it ends with the Lead.
func TestScheduleTimestampFromNowhere(t *testing.T) {
	f := newShard(t)
	const nowhere = txn.Timestamp(1) << 63
	f.front.RaiseSnapStamps([]string{"x"}, nowhere)
	_, passed := f.admit(f.txn(1, 100).put("x", "1"))
	require.False(t, passed)
	_, passed = f.admit(f.txn(2, 100).put("y", "1"))
	require.True(t, passed, "other keys are not concerned")
	f.lead(2, 150)
	_, passed = f.admit(f.txn(1, 200).put("x", "1"))
	require.True(t, passed, "stamps end with the Lead: they are nothing that is replicated")
	f.advance(300, nowhere, nowhere)
	require.Equal(t, txn.Timestamp(300), f.VersionHorizon())
	require.Equal(t, txn.Timestamp(300), f.RecordHorizon())
}
