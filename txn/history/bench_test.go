package history

import (
	"fmt"
	"testing"

	"github.com/viewline/viewline/txn"
)

// benchmarkApply applies one-phase or two-phase transactions of two reads and two writes over 100,000 keys.
func benchmarkApply(b *testing.B, onePhase bool) {
	f := newShard(b)
	const keys = 100_000
	oids := make([]string, keys)
	for i := range oids {
		oids[i] = fmt.Sprintf("object-%08d", i)
	}
	value := make([]byte, 64)
	transactions := make([]*txn.Transaction, b.N)
	random := uint64(1)
	next := func() string {
		random = random*6364136223846793005 + 1442695040888963407
		return oids[random>>33%keys]
	}
	for i := range transactions {
		t := f.txn(i+1, txn.Timestamp(1000+i))
		for range 2 {
			oid := next()
			t.readAs(oid, 0, 0).put(oid, string(value))
		}
		transactions[i] = t.Transaction
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i, t := range transactions {
		// As a reader right before would have it.
		for j := range t.Reads {
			t.Reads[j].Version, t.Reads[j].At = f.Read(t.Reads[j].OID).Version, f.Applied()
		}
		if onePhase {
			f.apply(CommitOnePhase{Lead: 1, Txn: t})
		} else {
			f.apply(PrepareTxn{Lead: 1, Txn: t})
			f.apply(CommitTxn{Attempt: t.Attempt})
		}
		if i%10_000 == 0 && i > 20_000 {
			horizon := t.TS - 20_000
			f.apply(Advance{Lead: 1, Threshold: horizon, VersionHorizon: horizon, RecordHorizon: horizon})
		}
	}
}

func BenchmarkApplyOnePhase(b *testing.B) { benchmarkApply(b, true) }

func BenchmarkApplyTwoPhase(b *testing.B) { benchmarkApply(b, false) }

func BenchmarkRead(b *testing.B) {
	f := newShard(b)
	for i := range 100_000 {
		f.commit(f.txn(i+1, txn.Timestamp(1000+i)).put(fmt.Sprintf("object-%08d", i), "value"))
	}
	oids := make([]string, 1024)
	for i := range oids {
		oids[i] = fmt.Sprintf("object-%08d", i*97)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		f.Read(oids[i%len(oids)])
	}
}
