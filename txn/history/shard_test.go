package history

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// shard is a state with its front and a log, for tests: shard 1, which serves every slot and leads under
// Lead 1 unless a test says otherwise.
type shard struct {
	*State
	front *Front
	t     testing.TB
	log   []Operation
}

// slotOf spreads names over the slots by their bytes.
func slotOf(oid string) uint16 {
	sum := uint32(2166136261)
	for i := range len(oid) {
		sum = (sum ^ uint32(oid[i])) * 16777619
	}
	return uint16(sum % txn.SlotCount)
}

func allSlots() []uint16 {
	slots := make([]uint16, txn.SlotCount)
	for i := range slots {
		slots[i] = uint16(i)
	}
	return slots
}

func newShard(t testing.TB, omitted ...omit.Rule) *shard { return newShardNamed(t, 1, omitted...) }

func newShardNamed(t testing.TB, name txn.ShardID, omitted ...omit.Rule) *shard {
	t.Helper()
	return newShardWith(t, Options{Shard: name, SlotOf: slotOf, Omit: omit.Of(omitted...)})
}

func newShardWith(t testing.TB, options Options) *shard {
	t.Helper()
	if options.AttemptSpan == 0 {
		options.AttemptSpan = AttemptSpanNone // tests count in small timestamps
	}
	state, err := New(options)
	require.NoError(t, err)
	front, err := NewFront(state, FrontOptions{Omit: options.Omit})
	require.NoError(t, err)
	f := &shard{State: state, front: front, t: t}
	f.apply(Own{MapVersion: 1, Shard: options.Shard, Slots: allSlots()})
	f.lead(1, 0)
	return f
}

func (f *shard) apply(o Operation) Result {
	f.log = append(f.log, o)
	return f.Apply(f.Applied()+1, o)
}

// lead applies a Lead and begins to serve under it.
func (f *shard) lead(number uint64, floor txn.Timestamp) {
	f.apply(Lead{Number: number, View: 10 * number, Floor: floor})
	f.front.Lead(f.LeadNumber())
}

func (f *shard) prepare(b *builder) txn.Verdict {
	return f.apply(PrepareTxn{Lead: f.LeadNumber(), Txn: b.Transaction}).Verdict
}

func (f *shard) onePhase(b *builder) txn.Verdict {
	return f.apply(CommitOnePhase{Lead: f.LeadNumber(), Txn: b.Transaction}).Verdict
}

// commit commits in one operation and fails the test if that does not work.
func (f *shard) commit(b *builder) *builder {
	f.t.Helper()
	verdict := f.onePhase(b)
	require.Equal(f.t, txn.StatusCommitted, verdict.Status, "%+v", verdict)
	return b
}

// prepared prepares and fails the test if that does not work.
func (f *shard) prepared(b *builder) *builder {
	f.t.Helper()
	verdict := f.prepare(b)
	require.Equal(f.t, txn.StatusPrepared, verdict.Status, "%+v", verdict)
	return b
}

func (f *shard) commitTxn(b *builder) txn.Verdict { return f.apply(CommitTxn{b.Attempt}).Verdict }

func (f *shard) abortTxn(b *builder) txn.Verdict { return f.apply(AbortTxn{b.Attempt}).Verdict }

func (f *shard) fence(b *builder) txn.Verdict { return f.apply(Fence{Attempt: b.Attempt}).Verdict }

func (f *shard) advance(threshold, versions, records txn.Timestamp) {
	f.apply(Advance{Lead: f.LeadNumber(), Threshold: threshold, VersionHorizon: versions, RecordHorizon: records})
}

// admit pre-validates; passed says whether the transaction may be proposed.
func (f *shard) admit(b *builder) (verdict txn.Verdict, passed bool) {
	return f.front.Admit(b.Transaction, b.OnePhase())
}

// value reads the newest value, "-" if there is none.
func (f *shard) value(oid string) string { return text(f.Read(oid)) }

// valueAt reads a snapshot.
func (f *shard) valueAt(oid string, ts txn.Timestamp) string {
	value, err := f.ReadAt(oid, ts)
	if err != nil {
		return err.Error()
	}
	return text(value)
}

func text(v Value) string {
	if !v.Present {
		return "-"
	}
	return string(v.Value)
}

// brief tells a verdict in a word or two.
func brief(v txn.Verdict) string {
	if v.Reason == txn.ReasonNone {
		return v.Status.String()
	}
	return v.Status.String() + ": " + v.Reason.String()
}

// builder makes a transaction.
type builder struct {
	*txn.Transaction
	shard *shard
}

func idOf(number int) txn.TxnID {
	return txn.TxnID{Clerk: txn.ClerkID{byte(number), byte(number >> 8)}, Sequence: uint64(number), Home: 1}
}

// txn begins attempt 1 of a transaction of this shard alone, or of the given shards.
func (f *shard) txn(number int, ts txn.Timestamp, participants ...txn.ShardID) *builder {
	if len(participants) == 0 {
		participants = []txn.ShardID{f.options.Shard}
	}
	id := idOf(number)
	id.Home = participants[0]
	return &builder{shard: f, Transaction: &txn.Transaction{
		Attempt: txn.Attempt{ID: id, Number: 1, TS: ts}, Participants: participants,
	}}
}

// again is the next attempt, with the same reads and writes.
func (b *builder) again(ts txn.Timestamp) *builder {
	next := *b.Transaction
	next.Number++
	next.TS = ts
	return &builder{shard: b.shard, Transaction: &next}
}

// read reads the newest version here and now.
func (b *builder) read(oid string) *builder {
	return b.readAs(oid, b.shard.Read(oid).Version, b.shard.Applied())
}

// readAs claims to have read a version.
func (b *builder) readAs(oid string, version txn.Timestamp, at txn.OpNumber) *builder {
	return b.readElsewhere(oid, version, at, b.shard.options.Shard)
}

func (b *builder) readElsewhere(oid string, version txn.Timestamp, at txn.OpNumber, where txn.ShardID) *builder {
	b.Reads = slices.DeleteFunc(b.Reads, func(r txn.ReadEntry) bool { return r.OID == oid })
	b.Reads = append(b.Reads, txn.ReadEntry{OID: oid, Version: version, At: at, Shard: where})
	slices.SortFunc(b.Reads, func(x, y txn.ReadEntry) int { return cmp.Compare(x.OID, y.OID) })
	return b
}

func (b *builder) put(oid, value string) *builder {
	return b.write(txn.WriteEntry{OID: oid, Kind: txn.Put, Value: []byte(value)})
}

func (b *builder) del(oid string) *builder {
	return b.write(txn.WriteEntry{OID: oid, Kind: txn.Delete})
}

func (b *builder) write(w txn.WriteEntry) *builder {
	b.Writes = slices.DeleteFunc(b.Writes, func(other txn.WriteEntry) bool { return other.OID == w.OID })
	b.Writes = append(b.Writes, w)
	slices.SortFunc(b.Writes, func(x, y txn.WriteEntry) int { return cmp.Compare(x.OID, y.OID) })
	return b
}
