package history

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// TestVerdictsNameAllThatIsConcerned: rule, every object, the other transaction, shard, view and op-number.
func TestVerdictsNameAllThatIsConcerned(t *testing.T) {
	f := newShard(t)
	writer := f.commit(f.txn(1, 5).put("a", "1").put("b", "1").put("c", "1"))
	stale := f.txn(2, 30).read("a").read("b").read("d").put("z", "1")
	f.commit(f.txn(3, 8).put("a", "2"))
	second := f.commit(f.txn(4, 9).put("b", "2"))
	op := f.Applied() + 1
	require.Equal(t, txn.Verdict{
		Status: txn.StatusAborted, Reason: txn.StaleRead, Attempt: stale.Attempt, OIDs: []string{"a", "b"},
		Other: f.txn(3, 8).Attempt, Shard: 1, View: 10, Op: op,
	}, f.prepare(stale))

	reader := f.prepared(f.txn(5, 40, 1, 2).read("a").read("c"))
	v := f.prepare(f.txn(6, 35, 1, 2).put("a", "3").put("b", "3").put("c", "3"))
	require.Equal(t, []string{"a", "c"}, v.OIDs)
	require.Equal(t, reader.Attempt, v.Other)
	f.commitTxn(reader)
	v = f.prepare(f.txn(7, 35, 1, 2).put("a", "3").put("b", "3").put("c", "3"))
	require.Equal(t, "aborted: read by later", brief(v))
	require.Equal(t, []string{"a", "c"}, v.OIDs)
	require.Equal(t, reader.Attempt, v.Other, "the committed reader, as long as it is remembered")

	line := f.prepared(f.txn(8, 50, 1, 2).put("a", "4").put("c", "4"))
	v = f.prepare(f.txn(9, 60, 1, 2).read("a").read("b").read("c"))
	require.Equal(t, "aborted: conflict with prepared", brief(v))
	require.Equal(t, []string{"a", "c"}, v.OIDs)
	require.Equal(t, line.Attempt, v.Other)

	v = f.prepare(f.txn(10, 7, 1, 2).read("a").read("b").read("c"))
	require.Equal(t, "aborted: needs newer timestamp", brief(v))
	require.Equal(t, []string{"a", "b"}, v.OIDs)
	require.NotEqual(t, writer.Attempt, v.Other)
	require.NotEqual(t, second.Attempt, v.Other)

	f.served[slotOf("b")], f.served[slotOf("q")] = false, false
	v = f.prepare(f.txn(11, 70, 1, 2).read("b").read("a").put("q", "1").put("b", "1"))
	require.Equal(t, "aborted: wrong shard", brief(v))
	require.Equal(t, []string{"b", "q"}, v.OIDs)
}

// TestTheWeightiestReasonIsNamed: what needs the function to run again goes before what a new timestamp heals.
func TestTheWeightiestReasonIsNamed(t *testing.T) {
	f := newShard(t)
	f.commit(f.txn(1, 5).put("stale", "1"))
	b := f.txn(2, 20, 1, 2).read("stale").put("w", "1")
	f.commit(f.txn(3, 6).put("stale", "2"))
	f.commit(f.txn(4, 25).put("newer", "1"))
	f.prepared(f.txn(5, 15, 1, 2).put("prepared", "1"))
	f.commit(f.txn(6, 30).read("w"))
	steps := []struct {
		want string
		oids []string
	}{
		{"aborted: read by later", []string{"w"}},
		{"aborted: needs newer timestamp", []string{"newer"}},
		{"aborted: conflict with prepared", []string{"prepared"}},
		{"aborted: stale read", []string{"stale"}},
	}
	reads := []string{"", "newer", "prepared", "stale"}
	attempt := f.txn(10, 20, 1, 2).put("w", "1")
	for i, step := range steps {
		if reads[i] == "stale" {
			attempt.Reads = append(attempt.Reads, b.Reads...)
		} else if reads[i] != "" {
			attempt.read(reads[i])
		}
		attempt.ID = idOf(10 + i)
		v := f.prepare(attempt)
		require.Equal(t, step.want, brief(v))
		require.Equal(t, step.oids, v.OIDs)
	}
}

// TestACopyIsAnsweredFromTheRecord with where it was decided, under any Lead.
func TestACopyIsAnsweredFromTheRecord(t *testing.T) {
	f := newShard(t)
	b := f.prepared(f.txn(1, 10, 1, 2).put("x", "1"))
	first := f.Applied()
	f.lead(2, 50)
	v := f.apply(PrepareTxn{Lead: 1, Txn: b.Transaction}).Verdict
	require.Equal(t, "prepared", brief(v))
	require.Equal(t, first, v.Op)
	require.Nil(t, v.Participants, "whoever prepares knows them")
	v, passed := f.admit(b)
	require.False(t, passed)
	require.Equal(t, "prepared", brief(v))
	f.commitTxn(b)
	require.Equal(t, "committed", brief(f.commitTxn(b)))
	v, _ = f.admit(b)
	require.Equal(t, "committed", brief(v))

	refused := f.txn(2, 30, 1, 2).put("x", "1")
	require.Equal(t, "aborted: too old", brief(f.prepare(refused)))
	v = f.prepare(refused)
	require.Equal(t, "aborted: too old", brief(v))
	require.Equal(t, f.Applied()-1, v.Op)
	v, _ = f.admit(refused)
	require.Equal(t, "aborted: too old", brief(v))
	require.True(t, v.Logged())
}

// TestContradictionsAreCountedAndHaveNoEffect.
func TestContradictionsAreCountedAndHaveNoEffect(t *testing.T) {
	f := newShard(t)
	done, gone := f.commit(f.txn(1, 10).put("x", "1")), f.txn(2, 11, 1, 2).put("y", "1")
	line := f.prepared(f.txn(3, 12, 1, 2).put("z", "1"))
	f.fence(gone)
	moved := *line.Transaction
	moved.TS = 13
	doneElsewhere := done.Attempt
	doneElsewhere.TS = 14
	operations := []Operation{
		AbortTxn{done.Attempt},
		CommitTxn{gone.Attempt},
		CommitTxn{f.txn(4, 15, 1, 2).Attempt},
		CommitTxn{line.again(20).Attempt},
		CommitTxn{moved.Attempt},
		AbortTxn{moved.Attempt},
		PrepareTxn{Lead: 1, Txn: &moved},
		CommitTxn{doneElsewhere},
		CommitOnePhase{Lead: 1, Txn: done.again(20).Transaction},
		Own{MapVersion: 2, Shard: 1, Slots: allSlots()[1:]},
		Own{MapVersion: 1, Shard: 2, Slots: allSlots()},
		Own{MapVersion: 1, Shard: 1, Slots: []uint16{2, 1}},
		nil,
		PrepareTxn{Lead: 1},
		CommitOnePhase{Lead: 1, Txn: f.txn(5, 30, 1, 2).put("x", "2").Transaction},
		PrepareTxn{Lead: 1, Txn: f.txn(5, 30, 2, 3).put("x", "2").Transaction},
		PrepareTxn{Lead: 1, Txn: f.txn(5, 30).put("", "2").Transaction},
		CommitTxn{},
		AbortTxn{},
		Fence{},
	}
	for i, o := range operations {
		before := f.contents()
		r := f.apply(o)
		require.False(t, r.TookEffect, "%T", o)
		require.Equal(t, uint64(i+1), f.Counters().InvariantBreaks, "%T %+v", o, o)
		after := f.contents()
		after.header.Applied, after.header.InvariantBreaks = before.header.Applied, before.header.InvariantBreaks
		require.Equal(t, before.hash(), after.hash(), "%T", o)
	}
	require.Equal(t, "prepared", brief(f.fence(line)))
	r := f.apply(Own{MapVersion: 1, Shard: 1, Slots: allSlots()})
	require.False(t, r.TookEffect)
	require.Equal(t, uint64(len(operations)), f.Counters().InvariantBreaks, "the same Own again is harmless")
	before := f.contents()
	r = f.apply(Own{MapVersion: 2, Shard: 1, Slots: allSlots()})
	require.False(t, r.TookEffect)
	require.Equal(t, uint64(len(operations)), f.Counters().InvariantBreaks,
		"the members of a group changed between what two primaries proposed; the slots did not")
	after := f.contents()
	after.header.Applied = before.header.Applied
	require.Equal(t, before.hash(), after.hash())
}

// TestAMangledFenceHarmsNobody: a caller may ask for the outcome of an attempt that never was.
func TestAMangledFenceHarmsNobody(t *testing.T) {
	f := newShard(t)
	real := f.prepared(f.txn(1, 10, 1, 2).put("x", "1"))
	mangled := real.again(10_000)
	mangled.Number = 7
	require.Equal(t, "aborted: fenced", brief(f.fence(mangled)))
	require.True(t, f.IsPrepared(real.Attempt), "it may be prepared everywhere")
	v := f.fence(real)
	require.Equal(t, "prepared", brief(v))
	stamped := real.Attempt
	stamped.TS = 11
	v = f.apply(Fence{Attempt: stamped}).Verdict
	require.Equal(t, "prepared", brief(v))
	require.Equal(t, real.Attempt, v.Attempt, "the answer has the right timestamp")
	require.Equal(t, "committed", brief(f.commitTxn(real)))
	require.Equal(t, "1", f.value("x"))
	require.Zero(t, f.Counters().InvariantBreaks)
}

func TestLeadAndOwn(t *testing.T) {
	s, err := New(Options{Shard: 3, SlotOf: slotOf})
	require.NoError(t, err)
	require.False(t, s.Owns("x"))
	_, owned := s.Owned()
	require.False(t, owned)
	r := s.Apply(1, Own{MapVersion: 4, Shard: 3, Slots: []uint16{slotOf("x")}})
	require.True(t, r.TookEffect)
	require.Equal(t, txn.Verdict{Shard: 3, Op: 1}, r.Verdict)
	version, owned := s.Owned()
	require.True(t, owned)
	require.Equal(t, uint64(4), version)
	require.True(t, s.Owns("x"))
	require.False(t, s.Owns("y"))

	require.False(t, s.Apply(2, Lead{Number: 2, View: 9, Floor: 90}).TookEffect, "not the last plus one")
	require.True(t, s.Apply(3, Lead{Number: 1, View: 5, Floor: 50}).TookEffect)
	require.False(t, s.Apply(4, Lead{Number: 1, View: 6, Floor: 60}).TookEffect)
	require.True(t, s.Apply(5, Lead{Number: 2, View: 7, Floor: 40}).TookEffect)
	require.Equal(t, uint64(2), s.LeadNumber())
	require.Equal(t, uint64(7), s.LeadView())
	require.Equal(t, txn.Timestamp(50), s.Floor(), "it only rises")
	require.Equal(t, txn.OpNumber(5), s.Applied())
	require.False(t, s.Apply(6, Advance{Lead: 1, Threshold: 60}).TookEffect, "another Lead's")
	require.True(t, s.Apply(7, Advance{Lead: 2, Threshold: 60, VersionHorizon: 70, RecordHorizon: 55}).TookEffect)
	require.False(t, s.Apply(8, Advance{Lead: 2, Threshold: 59, VersionHorizon: 30, RecordHorizon: 54}).TookEffect, "they only rise")
	require.Equal(t, []txn.Timestamp{60, 60}, []txn.Timestamp{s.Threshold(), s.VersionHorizon()})
}

// TestThresholdMayPassAPreparedTransaction, which stays and can still commit.
func TestThresholdMayPassAPreparedTransaction(t *testing.T) {
	f := newShard(t)
	b := f.prepared(f.txn(1, 10, 1, 2).read("y").put("x", "1"))
	f.advance(100, 100, 100)
	require.Equal(t, txn.Timestamp(9), f.VersionHorizon())
	require.Equal(t, txn.Timestamp(100), f.RecordHorizon())
	require.Equal(t, "prepared", brief(f.fence(b)))
	require.Equal(t, "committed", brief(f.commitTxn(b)))
	require.Equal(t, "1", f.valueAt("x", 10))
	require.Equal(t, "committed", brief(f.fence(b)), "kept until END")
	f.advance(100, 100, 100)
	require.Equal(t, txn.Timestamp(100), f.VersionHorizon())
	aborted := f.prepared(f.txn(2, 110, 1, 2).put("x", "2"))
	f.advance(200, 0, 200)
	require.Equal(t, "aborted: fenced", brief(f.abortTxn(aborted)))
	require.Equal(t, "forgotten: forgotten", brief(f.abortTxn(aborted)), "nothing to remember it for")
	check(t, f.State)
}
