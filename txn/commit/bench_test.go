package commit

import (
	"testing"

	"github.com/viewline/viewline/txn"
)

// BenchmarkTwoShards is a transaction in which nothing goes wrong, with all its requests and answers.
func BenchmarkTwoShards(b *testing.B) {
	parts := []Part{{Shard: 1}, {Shard: 2}}
	b.ReportAllocs()
	for b.Loop() {
		machine, err := New(Options{}, txn.TxnID{Home: 1}, parts, 1)
		if err != nil {
			b.Fatal(err)
		}
		machine.Start()
		status := txn.StatusPrepared
		queue := append([]Action(nil), machine.Step(Timestamp{TS: 10})...)
		for len(queue) > 0 {
			action := queue[0]
			queue = queue[1:]
			send, ok := action.(Send)
			if !ok || send.Kind == EndTxn {
				continue
			}
			if send.Kind == CommitTxn {
				status = txn.StatusCommitted
			}
			queue = append(queue, machine.Step(Reply{Send: send, Verdict: txn.Verdict{Status: status, Attempt: send.Attempt}})...)
		}
	}
}
