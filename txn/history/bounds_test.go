package history

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/viewline/viewline/txn"
)

func TestOptionsAreValidated(t *testing.T) {
	for name, options := range map[string]Options{
		"no shard":              {SlotOf: slotOf},
		"no slots":              {Shard: 1},
		"negative read stamps":  {Shard: 1, SlotOf: slotOf, ReadStampsMax: -1},
		"negative decisions":    {Shard: 1, SlotOf: slotOf, DecisionsMax: -1},
		"negative history line": {Shard: 1, SlotOf: slotOf, PreparedMax: -1},
	} {
		_, err := New(options)
		require.ErrorIs(t, err, ErrOptions, name)
	}
	s, err := New(Options{Shard: 1, SlotOf: slotOf})
	require.NoError(t, err)
	for _, options := range []FrontOptions{{InFlightMax: -1}, {SnapStampsMax: -1}, {WaitsMax: -1}} {
		_, err := NewFront(s, options)
		require.ErrorIs(t, err, ErrOptions)
	}
}

// TestReadStampsAreBounded: when there are too many the smallest go, and everything without a stamp of its own
// counts as read at the largest that went.
func TestReadStampsAreBounded(t *testing.T) {
	f := newShardWith(t, Options{Shard: 1, SlotOf: slotOf, ReadStampsMax: 4})
	for i := range 10 {
		f.commit(f.txn(i+1, txn.Timestamp(10+2*i)).read(fmt.Sprintf("k%d", i)))
	}
	require.Equal(t, 4, f.Counters().ReadStamps)
	require.Equal(t, txn.Timestamp(20), f.readStamps.low)
	require.Equal(t, "aborted: read by later", brief(f.onePhase(f.txn(20, 15).put("k3", "read at 16"))))
	require.Equal(t, "aborted: read by later", brief(f.onePhase(f.txn(21, 19).put("never read", "who knows"))))
	require.Equal(t, "aborted: read by later", brief(f.onePhase(f.txn(22, 27).put("k9", "read at 28"))))
	require.Equal(t, "committed", brief(f.onePhase(f.txn(23, 30).put("k9", "1"))))
	check(t, f.State)
}

// TestStampTableAgainstAMap: a bounded table never says less than an unbounded one, and the same above low.
func TestStampTableAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newStampTable(rapid.IntRange(1, 6).Draw(t, "max"))
		model := map[string]txn.Timestamp{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			oid := rapid.StringMatching("[a-h]").Draw(t, "oid")
			ts := txn.Timestamp(rapid.IntRange(1, 30).Draw(t, "ts"))
			table.raise(oid, ts)
			model[oid] = max(model[oid], ts)
			for oid, want := range model {
				if got := table.of(oid); got != max(want, table.low) {
					t.Fatalf("%s was read at %d, the table says %d, low is %d", oid, want, got, table.low)
				}
			}
			if table.byOID.Len() > table.max || table.byTS.Len() != table.byOID.Len() {
				t.Fatalf("%d and %d stamps, at most %d", table.byOID.Len(), table.byTS.Len(), table.max)
			}
		}
	})
}

// TestDecisionsAreBounded: what is oldest is forgotten early, never above the threshold; then new work waits.
func TestDecisionsAreBounded(t *testing.T) {
	f := newShardWith(t, Options{Shard: 1, SlotOf: slotOf, DecisionsMax: 4})
	for i := range 4 {
		f.commit(f.txn(i+1, txn.Timestamp(10+i)).put("x", "1"))
	}
	fresh := f.txn(5, 20).put("x", "1")
	require.Equal(t, "refused: limit", brief(f.onePhase(fresh)))
	require.Equal(t, "refused: limit", brief(f.prepare(fresh)))
	require.Equal(t, "refused: limit", brief(f.fence(fresh)), "a fence that is not remembered is none")
	v, passed := f.admit(fresh)
	require.False(t, passed)
	require.Equal(t, "refused: limit", brief(v))
	require.Equal(t, "committed", brief(f.onePhase(f.txn(1, 10).put("x", "1"))), "what is known is answered")

	f.advance(11, 0, 0)
	_, passed = f.admit(fresh)
	require.True(t, passed)
	require.Equal(t, "committed", brief(f.onePhase(fresh)))
	require.Equal(t, txn.Timestamp(10), f.RecordHorizon(), "as little as it takes")
	require.Equal(t, "forgotten: forgotten", brief(f.fence(f.txn(1, 10))))
	require.Equal(t, "committed", brief(f.fence(f.txn(2, 11))))
	require.Equal(t, "committed", brief(f.onePhase(f.txn(6, 21).put("x", "1"))))
	require.Equal(t, "refused: limit", brief(f.onePhase(f.txn(7, 22).put("x", "1"))), "12 is above the threshold")
	require.Equal(t, 4, f.Counters().Decisions)
	check(t, f.State)
}

// TestUnendedCommitsAreNotForgottenForRoom.
func TestUnendedCommitsAreNotForgottenForRoom(t *testing.T) {
	f := newShardWith(t, Options{Shard: 1, SlotOf: slotOf, DecisionsMax: 3})
	for i := range 3 {
		b := f.prepared(f.txn(i+1, txn.Timestamp(10+i), 1, 2).put("x", "1"))
		f.commitTxn(b)
	}
	f.advance(50, 0, 0)
	require.Equal(t, "refused: limit", brief(f.onePhase(f.txn(5, 60).put("x", "1"))))
	after := func(ts txn.Timestamp, id, limit int) (found []txn.Timestamp) {
		for _, commit := range f.Unended(txn.Attempt{ID: idOf(id), TS: ts}, limit) {
			found = append(found, commit.Attempt.TS)
		}
		return found
	}
	require.Equal(t, []txn.Timestamp{10, 11, 12}, after(0, 0, 9))
	require.Equal(t, []txn.Timestamp{10, 11}, after(0, 0, 2))
	require.Equal(t, []txn.Timestamp{11, 12}, after(10, 1, 9), "the one it is after is not among them")
	require.Equal(t, []txn.Timestamp{12}, after(11, 7, 9), "it need not be one of them")
	require.Empty(t, after(12, 3, 9))
	require.Empty(t, after(0, 0, 0))
	require.Equal(t, txn.Timestamp(12), f.NewestUnended())
	f.apply(EndTxn{IDs: []txn.TxnID{idOf(2)}})
	require.Equal(t, "committed", brief(f.onePhase(f.txn(5, 60).put("x", "1"))))
	require.Equal(t, []txn.Timestamp{10, 12}, after(0, 0, 9))
	check(t, f.State)
}

func TestTheHistoryLineIsBounded(t *testing.T) {
	f := newShardWith(t, Options{Shard: 1, SlotOf: slotOf, PreparedMax: 2})
	first := f.prepared(f.txn(1, 10, 1, 2).put("a", "1"))
	_, passed := f.admit(f.txn(2, 11, 1, 2).put("b", "1"))
	require.True(t, passed)
	v, passed := f.admit(f.txn(3, 12, 1, 2).put("c", "1"))
	require.False(t, passed, "what is in flight may come to be prepared")
	require.Equal(t, "refused: limit", brief(v))
	_, passed = f.admit(f.txn(4, 13).put("d", "1"))
	require.True(t, passed, "one phase takes no place on the line")
	f.prepared(f.txn(2, 11, 1, 2).put("b", "1"))
	require.Equal(t, "refused: limit", brief(f.prepare(f.txn(3, 12, 1, 2).put("c", "1"))))
	require.Equal(t, "prepared", brief(f.prepare(first.again(20))), "it takes the place of attempt 1")
	require.Equal(t, "committed", brief(f.onePhase(f.txn(5, 14).put("e", "1"))))
	f.abortTxn(first.again(20))
	require.Equal(t, "prepared", brief(f.prepare(f.txn(3, 12, 1, 2).put("c", "1"))), "a limit is not remembered")
}

// TestVersionsAgainstAMap holds the versions against the whole history of every object, kept in a map.
func TestVersionsAgainstAMap(t *testing.T) {
	type model struct {
		ts        txn.Timestamp
		value     string // "-" for a tombstone
		installed txn.OpNumber
	}
	rapid.Check(t, func(t *rapid.T) {
		s := newVersionStore(0)
		all := map[string][]model{} // ascending by timestamp
		var op txn.OpNumber
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			op++
			oid := rapid.StringMatching("[a-c]").Draw(t, "oid")
			ts := s.horizon + txn.Timestamp(rapid.IntRange(1, 12).Draw(t, "ts"))
			if rapid.IntRange(0, 9).Draw(t, "fold") == 0 {
				s.fold(s.horizon + txn.Timestamp(rapid.IntRange(1, 8).Draw(t, "horizon")))
			} else if i := indexAt(len(all[oid]), func(i int) bool { return all[oid][i].ts >= ts }); i == len(all[oid]) || all[oid][i].ts != ts {
				m := model{ts: ts, value: fmt.Sprint(op), installed: op}
				w := &write{installed: op, kind: txn.Put, value: []byte(m.value)}
				if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
					m.value, w = "-", &write{installed: op, kind: txn.Delete}
				}
				s.install(oid, ts, w)
				all[oid] = append(all[oid][:i:i], append([]model{m}, all[oid][i:]...)...)
			}
			for _, oid := range []string{"a", "b", "c"} {
				for ts := s.horizon; ts < s.horizon+14; ts++ {
					want := "-"
					if i := indexAt(len(all[oid]), func(i int) bool { return all[oid][i].ts > ts }); i > 0 {
						want = all[oid][i-1].value
					}
					v, _ := s.at(oid, ts)
					if got := text(v.read()); got != want {
						t.Fatalf("%s@%d is %s, not %s", oid, ts, want, got)
					}
				}
			}
		}
	})
}

// indexAt returns the first index below n for which the condition holds, or n.
func indexAt(n int, holds func(int) bool) int {
	for i := range n {
		if holds(i) {
			return i
		}
	}
	return n
}
