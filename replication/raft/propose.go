package raft

import (
	"errors"
	"fmt"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// flightsMax is how many operations may be in hashicorp/raft at a time.
const flightsMax = 4096

// taken is an operation that hashicorp/raft has.
type taken struct {
	proposal proposal
	future   hraft.ApplyFuture
}

// Submit implements replication.Replicator.
func (r *Replica) Submit(view replication.ViewNumber, operation []byte, done func(replication.Result)) {
	if len(operation) > r.options.OperationBytesMax {
		done(replication.Result{Err: fmt.Errorf("%w: %d bytes, at most %d", replication.ErrTooLarge, len(operation), r.options.OperationBytesMax)})
		return
	}
	if err := r.leads(view); err != nil {
		done(replication.Result{Err: err})
		return
	}
	if err := r.queue.put(proposal{view: view, operation: operation, done: done}); err != nil {
		r.countRefusal(err)
		done(replication.Result{Err: err})
	}
}

func (r *Replica) countRefusal(err error) {
	if errors.Is(err, replication.ErrOverloaded) {
		r.counters.overloads.Add(1)
	}
}

// propose gives operations to the library, in the order in which they came. It ends with the queue.
func (r *Replica) propose() {
	defer close(r.flights)
	var batch []proposal
	for {
		var ok bool
		if batch, ok = r.queue.take(batch); !ok {
			return
		}
		for _, p := range batch {
			if err := r.leads(p.view); err != nil {
				r.queue.answer(p, replication.Result{Err: err})
				continue
			}
			future := r.raft.ApplyLog(hraft.Log{Data: p.operation, Extensions: extension(p.view)}, 0)
			r.flights <- taken{proposal: p, future: future}
		}
	}
}

// answer gives operations their outcomes. The library answers in the order of its log, but for those that it refuses.
func (r *Replica) answer() {
	for t := range r.flights {
		r.queue.answer(t.proposal, r.result(t))
	}
}

// result waits for an outcome.
func (r *Replica) result(t taken) replication.Result {
	err := t.future.Error()
	switch {
	case err == nil:
	case errors.Is(err, errHalted):
		return replication.Result{Err: r.closedError()} // nothing was written
	case errors.Is(err, hraft.ErrNotLeader), errors.Is(err, hraft.ErrLeadershipTransferInProgress):
		return replication.Result{Err: r.notPrimary()}
	default:
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, err)}
	}
	switch o, ok := t.future.Response().(outcome); {
	case !ok:
		return replication.Result{Err: fmt.Errorf("%w: not applied here", replication.ErrOutcomeUnknown)}
	case o.failed != nil:
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, o.failed)}
	case o.stale:
		return replication.Result{Err: r.notPrimary()}
	default:
		return replication.Result{Op: replication.OpNumber(t.future.Index()), Value: o.value}
	}
}
