package shardserver

import (
	"sync/atomic"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// counts are totals since the process started. They describe this replica, not the shard.
type counts struct {
	prepared, committed, aborted atomic.Uint64
	abortedFor, refusedFor       [txn.Invariant + 1]atomic.Uint64
	ended                        [terminate.Unknown + 1]atomic.Uint64

	updateReads, latestReads, snapshotReads, snapshotsTooOld atomic.Uint64
	waits, overloaded, deadlines, wrongShard                 atomic.Uint64
	boundRefreshes, futureTimestamps                         atomic.Uint64
	leads, terminations, contradictions                      atomic.Uint64
}

// applied counts what an operation of the log did.
func (c *counts) applied(operation history.Operation, result history.Result) {
	switch operation.(type) {
	case history.PrepareTxn, history.CommitOnePhase, history.CommitTxn, history.AbortTxn, history.Fence:
	default:
		return
	}
	if !result.TookEffect {
		return
	}
	switch result.Verdict.Status {
	case txn.StatusPrepared:
		c.prepared.Add(1)
	case txn.StatusCommitted:
		c.committed.Add(1)
	case txn.StatusAborted:
		c.aborted.Add(1)
		c.abortedFor[min(result.Verdict.Reason, txn.Invariant)].Add(1)
	case txn.StatusUnknown, txn.StatusRefused, txn.StatusForgotten:
	}
}

// refused counts what pre-validation did not let into the log.
func (c *counts) refused(verdict txn.Verdict) {
	if verdict.Status == txn.StatusRefused {
		c.refusedFor[min(verdict.Reason, txn.Invariant)].Add(1)
	}
}

func (c *counts) terminated(outcome terminate.OutcomeKind) {
	c.ended[min(outcome, terminate.Unknown)].Add(1)
}

// describe adds every count to a map.
func (c *counts) describe(into map[string]uint64) {
	for _, count := range []struct {
		name  string
		value *atomic.Uint64
	}{
		{"txn_prepared", &c.prepared},
		{"txn_committed", &c.committed},
		{"txn_aborted", &c.aborted},
		{"reads_update", &c.updateReads},
		{"reads_latest", &c.latestReads},
		{"reads_snapshot", &c.snapshotReads},
		{"snapshots_too_old", &c.snapshotsTooOld},
		{"waits", &c.waits},
		{"overloaded", &c.overloaded},
		{"deadlines", &c.deadlines},
		{"wrong_shard", &c.wrongShard},
		{"bound_refreshes", &c.boundRefreshes},
		{"future_timestamps", &c.futureTimestamps},
		{"leads", &c.leads},
		{"terminations", &c.terminations},
		{"contradictions", &c.contradictions},
	} {
		into[count.name] = count.value.Load()
	}
	for reason := txn.TooOld; reason <= txn.Invariant; reason++ {
		name := pb.Reason(reason).String()
		into["txn_aborted."+reasonName(name)] = c.abortedFor[reason].Load()
		into["txn_refused."+reasonName(name)] = c.refusedFor[reason].Load()
	}
	for outcome := terminate.Committed; outcome <= terminate.Unknown; outcome++ {
		into["terminations."+outcome.String()] = c.ended[outcome].Load()
	}
}
