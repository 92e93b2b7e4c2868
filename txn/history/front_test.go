package history

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

func TestAFrontServesOnlyUnderItsLead(t *testing.T) {
	f := newShard(t)
	require.True(t, f.front.Leading())
	require.Equal(t, uint64(1), f.front.LeadNumber())
	f.front.Unlead()
	require.False(t, f.front.Leading())
	require.Zero(t, f.front.LeadNumber())
	v, passed := f.admit(f.txn(1, 10).put("x", "1"))
	require.False(t, passed)
	require.Equal(t, "refused: other lead", brief(v))
	require.False(t, f.front.Lead(0))
	require.False(t, f.front.Lead(2))
	require.True(t, f.front.Lead(1))
	f.apply(Lead{Number: 2, View: 2, Floor: 5}) // somebody else's
	require.False(t, f.front.Leading())
	_, passed = f.admit(f.txn(1, 10).put("x", "1"))
	require.False(t, passed)
	_, passed = f.front.Admit(nil, false)
	require.False(t, passed)
	empty, err := New(Options{Shard: 1, SlotOf: slotOf})
	require.NoError(t, err)
	front, err := NewFront(empty, FrontOptions{})
	require.NoError(t, err)
	require.False(t, front.Lead(0), "there is no Lead yet")
	require.False(t, front.Leading())
}

// TestCopiesInFlight: each copy that was admitted stays until it leaves, and leaves under its own Lead.
func TestCopiesInFlight(t *testing.T) {
	f := newShard(t)
	b := f.txn(1, 10, 1, 2).read("r").put("x", "1")
	for range 2 {
		_, passed := f.admit(b)
		require.True(t, passed)
	}
	require.Equal(t, 2, f.front.InFlight())
	require.Equal(t, []txn.Attempt{b.Attempt}, f.front.Blockers([]string{"x", "x"}), "named once")
	f.prepared(b)
	f.abortTxn(b)
	f.front.Leave(1, b.Attempt)
	require.Equal(t, []txn.Attempt{b.Attempt}, f.front.Blockers([]string{"x"}), "a copy is still on its way")
	f.front.Leave(1, b.Attempt)
	require.Empty(t, f.front.Blockers([]string{"x"}))
	f.front.Leave(1, b.Attempt) // once too often
	checkFront(t, f.front)

	// A copy from an earlier Lead leaves no hole in the present one's list.
	again := b.again(60)
	_, passed := f.admit(again)
	require.True(t, passed)
	f.lead(2, 50)
	require.Zero(t, f.front.InFlight())
	_, passed = f.admit(again)
	require.True(t, passed)
	f.front.Leave(1, again.Attempt)
	require.Equal(t, 1, f.front.InFlight())
	f.front.Leave(2, again.Attempt)
	require.Zero(t, f.front.InFlight())
	checkFront(t, f.front)
}

// TestInFlightCountsAsPrepared in all of pre-validation.
func TestInFlightCountsAsPrepared(t *testing.T) {
	f := newShard(t)
	flying := f.txn(1, 20, 1, 2).read("r").put("w", "1")
	_, passed := f.admit(flying)
	require.True(t, passed)
	for want, b := range map[string]*builder{
		"refused: conflict with prepared": f.txn(2, 30).read("w"),
		"refused: read by later":          f.txn(3, 10).put("r", "1"),
		"refused: needs newer timestamp":  f.txn(4, 20).put("other", "1"),
	} {
		v, passed := f.admit(b)
		require.False(t, passed)
		require.Equal(t, want, brief(v))
		require.Equal(t, flying.Attempt, v.Other)
		require.Zero(t, v.Op)
	}
	_, passed = f.admit(f.txn(5, 10).read("w").put("w", "earlier, and blind to nothing"))
	require.True(t, passed)
}

func TestInFlightIsBounded(t *testing.T) {
	f := newShard(t)
	front, err := NewFront(f.State, FrontOptions{InFlightMax: 2})
	require.NoError(t, err)
	f.front = front
	require.True(t, front.Lead(1))
	for i := range 2 {
		_, passed := f.admit(f.txn(i+1, txn.Timestamp(10+i)).put("x", "1"))
		require.True(t, passed)
	}
	v, passed := f.admit(f.txn(3, 12).put("y", "1"))
	require.False(t, passed)
	require.Equal(t, "refused: limit", brief(v))
	front.Leave(1, f.txn(1, 10).Attempt)
	_, passed = f.admit(f.txn(3, 12).put("y", "1"))
	require.True(t, passed)
}

func TestSnapStampsAreBounded(t *testing.T) {
	f := newShard(t)
	front, err := NewFront(f.State, FrontOptions{SnapStampsMax: 2})
	require.NoError(t, err)
	f.front = front
	require.True(t, front.Lead(1))
	front.RaiseSnapStamps([]string{"a"}, 20)
	front.RaiseSnapStamps([]string{"b"}, 30)
	front.RaiseSnapStamps([]string{"c"}, 40)
	checkFront(t, front)
	for number, b := range []*builder{f.txn(1, 20).put("a", "1"), f.txn(2, 19).put("never read", "1"), f.txn(3, 30).put("b", "1")} {
		_, passed := f.admit(b)
		require.False(t, passed, "%d", number)
	}
	_, passed := f.admit(f.txn(4, 21).put("a", "1"))
	require.True(t, passed)
}

func TestWaits(t *testing.T) {
	f := newShard(t)
	first, second, third := f.txn(1, 10, 1, 2).put("a", "1"), f.txn(2, 20, 1, 2).put("b", "1"), f.txn(3, 30, 1, 2).put("c", "1")
	f.prepared(first)
	f.prepared(second)
	_, passed := f.admit(third)
	require.True(t, passed)
	all := f.front.Blockers([]string{"a", "b", "c"})
	require.Equal(t, []txn.Attempt{first.Attempt, second.Attempt, third.Attempt}, all)
	require.True(t, f.front.Wait(9, all))
	require.True(t, f.front.Wait(8, all[:1]))
	require.True(t, f.front.Wait(7, all[1:2]))
	require.True(t, f.front.Wait(6, nil), "nothing to wait for")
	require.False(t, f.front.Wait(9, all), "it waits already")
	require.Equal(t, []uint64{6}, f.front.TakeReleased())
	require.Equal(t, 3, f.front.Waiting())
	checkFront(t, f.front)

	f.commitTxn(second)
	f.abortTxn(first)
	checkFront(t, f.front)
	require.Equal(t, []uint64{8, 7}, f.front.TakeReleased(), "in the order they came, not in that of the decisions")
	require.Empty(t, f.front.TakeReleased())
	f.prepared(third)
	f.front.Leave(1, third.Attempt)
	require.Empty(t, f.front.TakeReleased(), "prepared now")
	require.Equal(t, "committed", brief(f.commitTxn(third)))
	require.Equal(t, []uint64{9}, f.front.TakeReleased())
	require.True(t, f.front.Wait(9, all), "all decided: released at once")
	require.Equal(t, []uint64{9}, f.front.TakeReleased())
	require.Zero(t, f.front.Waiting())
	checkFront(t, f.front)
}

func TestWaitsEndWithTheLeadOrWhenDropped(t *testing.T) {
	f := newShard(t)
	front, err := NewFront(f.State, FrontOptions{WaitsMax: 3})
	require.NoError(t, err)
	f.front = front
	require.True(t, front.Lead(1))
	blockers := []txn.Attempt{f.prepared(f.txn(1, 10, 1, 2).put("a", "1")).Attempt}
	for id := range uint64(3) {
		require.True(t, front.Wait(id, blockers))
	}
	require.False(t, front.Wait(3, blockers), "too many")
	front.DropWait(1)
	front.DropWait(1)
	front.DropWait(99)
	checkFront(t, front)
	require.True(t, front.Wait(4, nil))
	require.False(t, front.Wait(5, nil), "released, but not yet taken")
	front.DropWait(4)
	require.Empty(t, front.TakeReleased())
	require.True(t, front.Wait(4, blockers))
	front.Unlead()
	checkFront(t, front)
	require.Equal(t, []uint64{0, 2, 4}, front.TakeReleased())
	require.Zero(t, front.Waiting())
	require.True(t, front.Lead(1))
	require.True(t, front.Wait(5, blockers))
	require.True(t, front.Lead(1), "again")
	require.Equal(t, []uint64{5}, front.TakeReleased())
}

// TestPrevalidationAgreesWithApply: with nothing in flight and no snapshots, what passes the front passes the
// log, and what fails fails for the same reason on the same objects.
func TestPrevalidationAgreesWithApply(t *testing.T) {
	agreed := 0
	for seed := range uint64(300) {
		f := newShard(t)
		random := &source{data: randomBytes(seed, 900)}
		for !random.done() {
			o := random.sensible(f.State)
			prepare, ok := o.(PrepareTxn)
			if !ok || prepare.Lead != f.LeadNumber() || prepare.Txn == nil {
				f.apply(o)
				f.front.Lead(f.LeadNumber())
				continue
			}
			v, passed := f.front.Admit(prepare.Txn, false)
			r := f.apply(o)
			f.front.Leave(f.front.LeadNumber(), prepare.Txn.Attempt)
			f.front.TakeReleased()
			checkFront(t, f.front)
			require.Equal(t, r.Verdict.Status == txn.StatusPrepared, passed || v.Status == txn.StatusPrepared, "%+v %+v", v, r.Verdict)
			if !passed && !v.Logged() {
				require.Equal(t, r.Verdict.Reason, v.Reason)
				require.Equal(t, r.Verdict.OIDs, v.OIDs)
				require.Equal(t, r.Verdict.Other, v.Other)
				agreed++
			}
		}
	}
	require.Greater(t, agreed, 1_000)
}
