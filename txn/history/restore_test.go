package history

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// records returns a snapshot's records.
func records(t testing.TB, snap *Snapshot) []Record {
	t.Helper()
	var all []Record
	require.NoError(t, snap.Each(func(r Record) error {
		all = append(all, r)
		return nil
	}))
	return all
}

// from feeds records to Restore.
func from(all []Record) func() (Record, error) {
	next := 0
	return func() (Record, error) {
		if next == len(all) {
			return nil, io.EOF
		}
		next++
		return all[next-1], nil
	}
}

// restore takes a state through a checkpoint.
func restore(t testing.TB, s *State) *State {
	t.Helper()
	restored, err := Restore(s.options, from(records(t, s.Snapshot())))
	require.NoError(t, err)
	return restored
}

// everything is a shard with something of each kind in it.
func everything(t testing.TB) *shard {
	f := newShard(t)
	f.commit(f.txn(1, 5).put("a", "1").put("b", "1").put("c", "1"))
	f.commit(f.txn(2, 7).read("a").del("c"))
	f.commit(f.txn(3, 9).read("b").put("a", "2"))
	f.advance(8, 6, 6)
	f.prepared(f.txn(4, 20, 1, 2).read("a").put("d", "1"))
	f.prepared(f.txn(5, 21, 1, 3).read("b").put("e", "1"))
	f.apply(Fence{Attempt: f.txn(5, 21, 1, 3).Attempt, EveryLater: true})
	f.fence(f.txn(5, 21, 1, 3).again(40).again(50))
	ended, open := f.prepared(f.txn(6, 22, 1, 2).put("f", "1")), f.prepared(f.txn(7, 23, 1, 2).put("g", "1"))
	f.commitTxn(ended)
	f.commitTxn(open)
	f.apply(EndTxn{IDs: []txn.TxnID{ended.ID}})
	f.fence(f.txn(8, 24, 1, 2))
	f.prepared(f.txn(9, 25, 1, 2))
	f.fence(f.txn(9, 25, 1, 2).again(26).again(27))
	f.commitTxn(f.txn(8, 24, 1, 2)) // a contradiction, counted
	return f
}

func TestRestoreIsTheSameState(t *testing.T) {
	f := everything(t)
	check(t, f.State)
	restored := restore(t, f.State)
	check(t, restored)
	require.Equal(t, f.Hash(), restored.Hash())
	require.Equal(t, f.Counters(), restored.Counters())
	require.Equal(t, f.Unended(txn.Attempt{}, 10), restored.Unended(txn.Attempt{}, 10))
	for _, o := range []Operation{
		CommitTxn{f.txn(4, 20, 1, 2).Attempt},
		CommitTxn{f.txn(5, 21, 1, 3).Attempt},
		AbortTxn{f.txn(9, 25, 1, 2).Attempt},
		PrepareTxn{Lead: 1, Txn: f.txn(10, 30, 1, 2).read("a").put("b", "x").Transaction},
		CommitOnePhase{Lead: 1, Txn: f.txn(11, 19).put("a", "below a prepared reader").Transaction},
		Advance{Lead: 1, Threshold: 30, VersionHorizon: 30, RecordHorizon: 30},
	} {
		op := f.Applied() + 1
		require.Equal(t, f.Apply(op, o), restored.Apply(op, o), "%T", o)
		require.Equal(t, f.Hash(), restored.Hash(), "%T", o)
	}
}

// TestHashCoversEverything: no record can change without the hash.
func TestHashCoversEverything(t *testing.T) {
	f := everything(t)
	base := f.Hash()
	all := records(t, f.Snapshot())
	kinds := map[string]bool{}
	for i := range all {
		changed := slices.Clone(all)
		switch r := all[i].(type) {
		case Header:
			kinds["header"] = true
			for _, change := range []func(h *Header){
				func(h *Header) { h.Applied++ }, func(h *Header) { h.LeadNumber++ }, func(h *Header) { h.LeadView++ },
				func(h *Header) { h.Floor++ }, func(h *Header) { h.Threshold++ }, func(h *Header) { h.VersionHorizon-- },
				func(h *Header) { h.ReadStampLow++ }, func(h *Header) { h.MapVersion++ }, func(h *Header) { h.Slots = h.Slots[1:] },
				func(h *Header) { h.InvariantBreaks++ },
			} {
				h := r
				change(&h)
				changed[0] = h
				requireOtherHash(t, f, base, changed)
			}
			continue
		case Object:
			kinds["object"] = true
			r.Versions = slices.Clone(r.Versions)
			r.Versions[0].Value = append(slices.Clone(r.Versions[0].Value), 'x')
			changed[i] = r
		case Prepared:
			kinds["prepared"] = true
			r.Op--
			changed[i] = r
		case Decision:
			kinds["decision"] = true
			if r.Status == txn.StatusPrepared {
				continue
			}
			r.Closed = !r.Closed
			changed[i] = r
		case ReadStamp:
			kinds["read stamp"] = true
			r.TS++
			changed[i] = r
		}
		requireOtherHash(t, f, base, changed)
	}
	require.Len(t, kinds, 5)
}

func requireOtherHash(t *testing.T, f *shard, base [32]byte, changed []Record) {
	t.Helper()
	s, err := Restore(f.options, from(changed))
	require.NoError(t, err)
	require.NotEqual(t, base, s.Hash())
}

// TestSnapshotStaysAsItWas while the state goes on, read beside it.
func TestSnapshotStaysAsItWas(t *testing.T) {
	f := everything(t)
	snap, hash := f.Snapshot(), f.Hash()
	require.Equal(t, f.Applied(), snap.Applied())
	type outcome struct {
		hash [32]byte
		all  []Record
	}
	read := make(chan outcome)
	go func() {
		var all []Record
		_ = snap.Each(func(r Record) error {
			all = append(all, r)
			return nil
		})
		read <- outcome{snap.Hash(), all}
	}()
	for i := range 500 {
		f.onePhase(f.txn(100+i, txn.Timestamp(1000+i)).read("a").put("a", "x").put("new", "y"))
		if i%50 == 0 {
			f.advance(txn.Timestamp(990+i), txn.Timestamp(990+i), txn.Timestamp(990+i))
		}
	}
	f.commitTxn(f.txn(4, 20, 1, 2))
	got := <-read
	require.Equal(t, hash, got.hash)
	require.NotEqual(t, hash, f.Hash())
	s, err := Restore(f.options, from(got.all))
	require.NoError(t, err)
	require.Equal(t, hash, s.Hash())
	check(t, f.State)
}

func TestEachStopsAtAnError(t *testing.T) {
	snap := everything(t).Snapshot()
	stop := errors.New("the disk is full")
	total := len(records(t, snap))
	for after := range total {
		seen := 0
		err := snap.Each(func(Record) error {
			seen++
			if seen > after {
				return stop
			}
			return nil
		})
		require.ErrorIs(t, err, stop)
		require.Equal(t, after+1, seen)
	}
}

// TestAnObjectOfManyVersions is told in records of bounded size.
func TestAnObjectOfManyVersions(t *testing.T) {
	f := newShard(t)
	for i := range 600 {
		f.commit(f.txn(i+1, txn.Timestamp(10+i)).put("hot", "x"))
	}
	large := strings.Repeat("x", 400<<10)
	for i := range 4 {
		f.commit(f.txn(700+i, txn.Timestamp(700+i)).put("large", large))
	}
	var sizes []int
	for _, r := range records(t, f.Snapshot()) {
		if o, ok := r.(Object); ok {
			sizes = append(sizes, len(o.Versions))
		}
	}
	require.Equal(t, []int{256, 256, 88, 2, 2}, sizes)
	require.Equal(t, f.Hash(), restore(t, f.State).Hash())
}

func TestRestoreRefusesWhatIsNoCheckpoint(t *testing.T) {
	f := everything(t)
	all := records(t, f.Snapshot())
	at := func(match func(Record) bool) int { return slices.IndexFunc(all, match) }
	object := at(func(r Record) bool { _, ok := r.(Object); return ok })
	prepared := at(func(r Record) bool { _, ok := r.(Prepared); return ok })
	decision := at(func(r Record) bool { d, ok := r.(Decision); return ok && d.Status == txn.StatusCommitted })
	readStamp := at(func(r Record) bool { _, ok := r.(ReadStamp); return ok })
	change := func(i int, r Record) []Record {
		changed := slices.Clone(all)
		changed[i] = r
		return changed
	}
	header := func(change func(*Header)) Header {
		h := all[0].(Header)
		change(&h)
		return h
	}
	decided := func(change func(*Decision)) Decision {
		d := all[decision].(Decision)
		change(&d)
		return d
	}
	for name, damaged := range map[string][]Record{
		"nothing":                 nil,
		"no header":               all[1:],
		"two headers":             slices.Insert(slices.Clone(all), 1, all[0]),
		"another shard's":         change(0, header(func(h *Header) { h.Shard = 2 })),
		"slots out of order":      change(0, header(func(h *Header) { h.Slots = []uint16{3, 2} })),
		"slots without an owner":  change(0, header(func(h *Header) { h.Owned = false })),
		"a horizon too high":      change(0, header(func(h *Header) { h.RecordHorizon = h.Threshold + 1 })),
		"a tombstone folded away": change(0, header(func(h *Header) { h.VersionHorizon = 7 })),
		"two versions folded":     change(object, Object{OID: "A", Versions: []Version{{TS: 6, Kind: txn.Put}, {TS: 5, Kind: txn.Put}}}),
		"a version before time":   change(object, Object{OID: "A", Versions: []Version{{TS: 0, Kind: txn.Put}}}),
		"prepared below horizon":  change(prepared, Prepared{Txn: f.txn(50, 6, 1, 2).Transaction, Op: 3}),
		"nil":                     change(object, nil),
		"no versions":             change(object, Object{OID: "a"}),
		"no oid":                  change(object, Object{Versions: all[object].(Object).Versions}),
		"an object twice":         slices.Insert(slices.Clone(all), object, all[object]),
		"a version of no kind":    change(object, Object{OID: "A", Versions: []Version{{TS: 5, Installed: 1}}}),
		"a version to come":       change(object, Object{OID: "A", Versions: []Version{{TS: 5, Kind: txn.Put, Installed: 1 << 40}}}),
		"an object too late":      append(slices.Clone(all), Object{OID: "z", Versions: []Version{{TS: 5, Kind: txn.Put}}}),
		"prepared twice":          slices.Insert(slices.Clone(all), prepared, all[prepared]),
		"prepared nothing":        change(prepared, Prepared{}),
		"prepared out of order":   slices.Insert(slices.Clone(all), prepared+1, Record(Prepared{Txn: f.txn(50, 10, 1, 2).Transaction, Op: 3})),
		"decided and prepared":    change(decision, decided(func(d *Decision) { d.Status = txn.StatusPrepared })),
		"decided nothing":         change(decision, decided(func(d *Decision) { d.Status = txn.StatusUnknown })),
		"decided by nobody":       change(decision, decided(func(d *Decision) { d.Attempt.Number = 0 })),
		"decided twice":           slices.Insert(slices.Clone(all), decision, all[decision]),
		"decided long ago":        change(decision, decided(func(d *Decision) { d.Attempt.TS = 1 })),
		"decided in time to come": change(decision, decided(func(d *Decision) { d.Op = 1 << 40 })),
		"a read stamp twice":      slices.Insert(slices.Clone(all), readStamp, all[readStamp]),
		"a read stamp too low":    change(readStamp, ReadStamp{OID: "a", TS: 0}),
	} {
		_, err := Restore(f.options, from(damaged))
		require.ErrorIs(t, err, ErrCheckpoint, name)
	}
	broken := errors.New("the disk is broken")
	_, err := Restore(f.options, func() (Record, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	_, err = Restore(Options{}, from(all))
	require.ErrorIs(t, err, ErrOptions)
}
