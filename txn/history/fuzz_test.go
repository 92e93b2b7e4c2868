package history

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// source draws choices from a fuzzer's bytes; when they run out it draws zeros.
type source struct{ data []byte }

func (s *source) done() bool { return len(s.data) == 0 }

// below draws a number below n, which is at most 256.
func (s *source) below(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % n
}

// timestamps are small, so that everything meets; a few are nonsense.
func (s *source) ts() txn.Timestamp {
	switch n := s.below(64); n {
	case 63:
		return txn.Timestamp(^uint64(0))
	case 62:
		return 1 << 63
	default:
		return txn.Timestamp(n)
	}
}

func (s *source) oid() string { return []string{"a", "b", "c", "d", "e"}[s.below(5)] }

func (s *source) attempt() txn.Attempt {
	kind := s.below(256)
	a := txn.Attempt{
		ID:     txn.TxnID{Clerk: txn.ClerkID{byte(kind % 4)}, Sequence: uint64(kind / 4 % 4), Home: txn.ShardID(1 + kind/16%2)},
		Number: uint32(1 + kind/32%3), TS: s.ts(),
	}
	if kind >= 250 {
		a.ID.Home, a.Number, a.TS = txn.ShardID(kind%2), uint32(kind/2%2), txn.Timestamp(kind/4%2)
	}
	return a
}

func (s *source) participants() []txn.ShardID {
	kind := s.below(64)
	if kind < 60 {
		return [][]txn.ShardID{{1}, {1, 2}, {1, 2, 3}}[kind%3]
	}
	return [][]txn.ShardID{{2}, {2, 1}, {0, 1}, nil}[kind%4]
}

func (s *source) transaction() *txn.Transaction {
	nonsense := s.below(32)
	if nonsense == 31 {
		return nil
	}
	t := &txn.Transaction{Attempt: s.attempt(), Participants: s.participants(), MapVersion: uint64(s.below(2))}
	if len(t.Participants) == 1 {
		t.ID.Home = 1
	}
	for range s.below(4) {
		t.Reads = append(t.Reads, txn.ReadEntry{
			OID: s.oid(), Version: s.ts(), At: txn.OpNumber(s.below(80)), Shard: txn.ShardID(1 + s.below(8)/7),
		})
	}
	for range s.below(4) {
		w := txn.WriteEntry{OID: s.oid(), Kind: txn.WriteKind(1 + s.below(32)/16)}
		if w.Kind == txn.Put {
			w.Value = []byte{byte(s.below(256))}
		}
		t.Writes = append(t.Writes, w)
	}
	switch nonsense {
	case 30:
		t.Writes = append(t.Writes, txn.WriteEntry{OID: "", Kind: txn.Put})
	case 29:
		t.Writes = append(t.Writes, txn.WriteEntry{OID: "z", Kind: 9})
	case 28: // neither sorted nor unique
	default:
		slices.SortFunc(t.Reads, func(x, y txn.ReadEntry) int { return cmp.Compare(x.OID, y.OID) })
		t.Reads = slices.CompactFunc(t.Reads, func(x, y txn.ReadEntry) bool { return x.OID == y.OID })
		slices.SortFunc(t.Writes, func(x, y txn.WriteEntry) int { return cmp.Compare(x.OID, y.OID) })
		t.Writes = slices.CompactFunc(t.Writes, func(x, y txn.WriteEntry) bool { return x.OID == y.OID })
	}
	return t
}

func (s *source) slots() []uint16 {
	switch s.below(4) {
	case 0:
		return []uint16{5, 3}
	case 1:
		return []uint16{txn.SlotCount}
	default:
		return allSlots()
	}
}

// operation draws anything at all, nonsense included.
func (s *source) operation(lead uint64) Operation {
	if s.below(16) == 15 {
		lead += uint64(s.below(3)) - 1
	}
	switch s.below(20) {
	case 0:
		return Lead{Number: lead + uint64(s.below(3)), View: uint64(s.below(9)), Floor: txn.Timestamp(s.below(64) / 4)}
	case 1:
		return Own{MapVersion: uint64(1 + s.below(2)), Shard: txn.ShardID(1 + s.below(8)/7), Slots: s.slots()}
	case 2, 3:
		return Advance{Lead: lead, Threshold: txn.Timestamp(s.below(160) / 4), VersionHorizon: s.ts(), RecordHorizon: s.ts()}
	case 4:
		return EndTxn{IDs: []txn.TxnID{s.attempt().ID, s.attempt().ID}}
	case 5:
		return Fence{Attempt: s.attempt(), EveryLater: s.below(2) == 1}
	case 6:
		return AbortTxn{s.attempt()}
	case 7, 8, 9:
		return CommitTxn{s.attempt()}
	case 10, 11, 12:
		return CommitOnePhase{Lead: lead, Txn: s.transaction()}
	case 19:
		return nil
	default:
		return PrepareTxn{Lead: lead, Txn: s.transaction()}
	}
}

// sensible makes operations that fit the state more likely: what is prepared is decided, what is known is asked
// about again, what is read is what is there.
func (s *source) sensible(state *State) Operation {
	var known []Prepared
	state.Prepared(func(p Prepared) bool {
		known = append(known, p)
		return true
	})
	if len(known) > 0 && s.below(3) == 0 {
		p := known[s.below(len(known))]
		return []Operation{
			CommitTxn{p.Txn.Attempt},
			AbortTxn{p.Txn.Attempt},
			Fence{Attempt: p.Txn.Attempt, EveryLater: s.below(2) == 1},
			EndTxn{IDs: []txn.TxnID{p.Txn.ID}},
			PrepareTxn{Lead: state.LeadNumber(), Txn: p.Txn},
		}[s.below(5)]
	}
	o := s.operation(state.LeadNumber())
	var t *txn.Transaction
	switch o := o.(type) {
	case PrepareTxn:
		t = o.Txn
	case CommitOnePhase:
		t = o.Txn
	default:
	}
	if t != nil && s.below(4) > 0 {
		for i := range t.Reads {
			t.Reads[i].Version, t.Reads[i].At, t.Reads[i].Shard = state.Read(t.Reads[i].OID).Version, state.Applied(), 1
		}
	}
	return o
}

// tiny are options whose bounds are met all the time.
func tiny() Options {
	return Options{Shard: 1, SlotOf: slotOf, ReadStampsMax: 2, DecisionsMax: 8, PreparedMax: 4, AttemptSpan: 3}
}

// playBytes applies what the bytes say to two states, takes a third over from a checkpoint in the middle, and
// holds them against each other and every invariant.
func playBytes(t *testing.T, data []byte) (Counters, map[string]int) {
	answers := map[string]int{}
	first, err := New(tiny())
	require.NoError(t, err)
	second, err := New(tiny())
	require.NoError(t, err)
	var third *State
	random := &source{data: data}
	states := []*State{first, second}
	bare := random.below(8) == 7 // without the beginning that every log has
	for op := txn.OpNumber(1); !random.done(); op++ {
		o := random.sensible(first)
		switch {
		case op == 1 && !bare:
			o = Own{MapVersion: 1, Shard: 1, Slots: allSlots()}
		case op == 2 && !bare:
			o = Lead{Number: 1, View: 1}
		}
		before := first.Hash()
		results := make([]Result, len(states))
		for i, s := range states {
			results[i] = s.Apply(op, o)
			require.Equal(t, results[0], results[i], "%T %+v", o, o)
		}
		check(t, first)
		answers[brief(results[0].Verdict)]++
		checkResult(t, results[0], op, fmt.Sprintf("%T %+v", o, o))
		require.NotEqual(t, before, first.Hash(), "the hash covers the op-number")
		if third == nil && random.below(16) == 15 {
			third = restore(t, first)
			states = append(states, third)
		}
	}
	for _, s := range states {
		require.Equal(t, first.Hash(), s.Hash())
		require.Equal(t, first.Counters(), s.Counters())
		check(t, s)
	}
	return first.Counters(), answers
}

func checkResult(t *testing.T, r Result, op txn.OpNumber, operation string) {
	t.Helper()
	v := r.Verdict
	require.Equal(t, txn.ShardID(1), v.Shard, operation)
	require.LessOrEqual(t, v.Op, op, operation)
	switch v.Status {
	case txn.StatusRefused:
		require.Zero(t, v.Op, operation)
		require.Contains(t, []txn.Reason{txn.OtherLead, txn.Limit, txn.Invariant}, v.Reason, operation)
	case txn.StatusPrepared, txn.StatusCommitted:
		require.NotZero(t, v.Op, operation)
		require.Equal(t, txn.ReasonNone, v.Reason, operation)
	case txn.StatusAborted, txn.StatusForgotten:
		require.NotZero(t, v.Op, operation)
		require.NotEqual(t, txn.ReasonNone, v.Reason, operation)
	case txn.StatusUnknown:
		require.Equal(t, op, v.Op, operation)
	}
}

// FuzzApply: Apply is total and deterministic, and keeps the state's invariants.
func FuzzApply(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomBytes(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= 4096 {
			playBytes(t, data)
		}
	})
}

func randomBytes(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 7))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// TestApplyIsTotalAndDeterministic is FuzzApply over random bytes, and sees to it that they reach every part.
func TestApplyIsTotalAndDeterministic(t *testing.T) {
	var sum Counters
	answered := map[string]int{}
	for seed := range uint64(150) {
		c, answers := playBytes(t, randomBytes(seed, 1500))
		for answer, n := range answers {
			answered[answer] += n
		}
		sum.Versions += c.Versions
		sum.Prepared += c.Prepared
		sum.Decisions += c.Decisions
		sum.Unended += c.Unended
		sum.ReadStamps += c.ReadStamps
		sum.InvariantBreaks += c.InvariantBreaks
	}
	t.Logf("%+v %v", sum, answered)
	for _, answer := range []string{
		"prepared", "committed", "aborted: too old", "aborted: needs newer timestamp", "aborted: stale read",
		"aborted: conflict with prepared", "aborted: read by later", "aborted: fenced", "aborted: superseded",
		"refused: other lead", "refused: limit", "refused: invariant", "aborted: wrong shard", "forgotten: forgotten",
	} {
		require.NotZero(t, answered[answer], "%q was never answered: %v", answer, answered)
	}
	require.NotZero(t, sum.Versions)
	require.NotZero(t, sum.Prepared)
	require.NotZero(t, sum.Decisions)
	require.NotZero(t, sum.Unended)
	require.NotZero(t, sum.ReadStamps)
	require.NotZero(t, sum.InvariantBreaks)
}
