package vr

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// Why an outcome is not known.
var (
	errDropped = errors.New("vr: no longer primary")
	errClosing = errors.New("vr: replica is closing")
)

// pendingProposal is an operation that the core has taken and that is not answered.
type pendingProposal struct {
	view core.ViewNumber
	op   core.OpNumber
	size int
	done func(replication.Result)
}

// before reports whether the proposal came to the log before the entry of that view and op-number.
func (p *pendingProposal) before(view core.ViewNumber, op core.OpNumber) bool {
	return p.view < view || p.view == view && p.op < op
}

// pendings is a queue in ascending order of view and op-number: views rise, and within one the primary numbers
// its proposals in turn.
type pendings struct {
	queue []pendingProposal
	head  int
}

func (q *pendings) push(p pendingProposal) {
	// Moved only when at least half of it is free: a long queue that gives one and takes one is not moved each time.
	if q.head > 0 && q.head >= len(q.queue)/2 && len(q.queue) == cap(q.queue) {
		moved := copy(q.queue, q.queue[q.head:])
		clear(q.queue[moved:])
		q.queue, q.head = q.queue[:moved], 0
	}
	q.queue = append(q.queue, p)
}

// first returns the oldest, or nil.
func (q *pendings) first() *pendingProposal {
	if q.head == len(q.queue) {
		return nil
	}
	return &q.queue[q.head]
}

func (q *pendings) pop() pendingProposal {
	p := q.queue[q.head]
	q.queue[q.head] = pendingProposal{}
	if q.head++; q.head == len(q.queue) {
		q.queue, q.head = q.queue[:0], 0
	}
	return p
}

// takeRange removes the proposals with op-numbers in a range.
func (q *pendings) takeRange(first, last core.OpNumber) []pendingProposal {
	var taken, kept []pendingProposal
	for _, p := range q.queue[q.head:] {
		if p.op >= first && p.op <= last {
			taken = append(taken, p)
		} else {
			kept = append(kept, p)
		}
	}
	if len(taken) > 0 {
		q.queue, q.head = kept, 0
	}
	return taken
}

func (q *pendings) takeAll() []pendingProposal {
	taken := q.queue[q.head:]
	q.queue, q.head = nil, 0
	return taken
}

// propose gives the core all operations of one view at once: together they are one batch.
func (o *owner) propose(proposals []proposal) {
	for len(proposals) > 0 {
		view, n := proposals[0].view, 1
		for n < len(proposals) && proposals[n].view == view {
			n++
		}
		o.proposeBatch(view, proposals[:n])
		proposals = proposals[n:]
	}
}

func (o *owner) proposeBatch(view core.ViewNumber, batch []proposal) {
	o.payloads = o.payloads[:0]
	for i := range batch {
		o.payloads = append(o.payloads, batch[i].operation)
	}
	first, err := o.core.Propose(view, o.payloads)
	clear(o.payloads)
	if err == nil {
		for i := range batch {
			o.pending.push(pendingProposal{
				view: view, op: first + core.OpNumber(i), size: len(batch[i].operation), done: batch[i].done,
			})
		}
		return
	}
	size := 0
	for i := range batch {
		size += len(batch[i].operation)
	}
	o.mailbox.release(len(batch), size, 0)
	refusal := o.translate(err)
	for i := range batch {
		o.countRefusal(refusal)
		batch[i].done(replication.Result{Err: refusal})
	}
}

// translate makes an error of the core, all of which are certain, into one of the contract.
func (o *owner) translate(err error) error {
	switch {
	case errors.Is(err, core.ErrNotPrimary):
		return o.notPrimary()
	case errors.Is(err, core.ErrOverloaded):
		return fmt.Errorf("%w: %w", replication.ErrOverloaded, err)
	case errors.Is(err, core.ErrNoMember):
		return fmt.Errorf("%w: %w", replication.ErrNoMember, err)
	case errors.Is(err, core.ErrHandingOver):
		return fmt.Errorf("%w: %w", replication.ErrTransferUnderWay, err)
	case errors.Is(err, core.ErrReconfiguring):
		return fmt.Errorf("%w: %w", replication.ErrReconfiguring, err)
	case errors.Is(err, core.ErrMembership):
		return fmt.Errorf("%w: %w", replication.ErrMembership, err)
	case errors.Is(err, core.ErrNewcomer):
		return fmt.Errorf("%w: %w", replication.ErrNewcomer, err)
	case errors.Is(err, core.ErrQuorum):
		return fmt.Errorf("%w: %w", replication.ErrQuorum, err)
	default:
		return stoppedBy(err)
	}
}

func (o *owner) notPrimary() error {
	view, primary := o.core.Redirect()
	refusal := replication.NotPrimaryError{View: replication.ViewNumber(view), Primary: replication.ReplicaID(primary)}
	if !o.core.Status().Member {
		return &replication.NotMemberError{NotPrimaryError: refusal, Membership: describeMembership(o.core.Membership())}
	}
	return &refusal
}

// answer is a callback with what it is to be called with.
type answer struct {
	done   func(replication.Result)
	result replication.Result
}

// answerApplied answers the proposals among the entries that were applied, in their order. An entry is a proposal
// of this replica only if view and op-number are those: another primary may have given the op-number to another
// operation.
func (o *owner) answerApplied(entries []core.Entry, results [][]byte) {
	size := 0
	for i := range entries {
		e := &entries[i]
		for p := o.pending.first(); p != nil && p.before(e.View, e.Op+1); p = o.pending.first() {
			result := replication.Result{Op: replication.OpNumber(e.Op), Value: results[i]}
			if p.view != e.View || p.op != e.Op {
				result = unknown(errDropped)
			}
			taken := o.pending.pop()
			o.answers, size = append(o.answers, answer{done: taken.done, result: result}), size+taken.size
		}
	}
	// Out of the account first: who is answered may submit again at once.
	o.mailbox.release(len(o.answers), size, 0)
	for i := range o.answers {
		o.answers[i].done(o.answers[i].result)
	}
	clear(o.answers)
	o.answers = o.answers[:0]
}

// answerUnknown answers proposals that may be committed by another primary.
func (o *owner) answerUnknown(proposals []pendingProposal, reason error) {
	size := 0
	for i := range proposals {
		size += proposals[i].size
	}
	o.mailbox.release(len(proposals), size, 0)
	for i := range proposals {
		proposals[i].done(unknown(reason))
	}
}

func unknown(reason error) replication.Result {
	return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, reason)}
}

// askReads lets all reads of one view that waited share one token, and so one round.
func (o *owner) askReads(reads []read) {
	for len(reads) > 0 {
		view, n := reads[0].view, 1
		for n < len(reads) && reads[n].view == view {
			n++
		}
		o.token++
		if err := o.core.ReadBarrier(view, o.token); err != nil {
			o.finishReads(reads[:n], o.translate(err))
		} else {
			o.reads[o.token] = append([]read(nil), reads[:n]...)
		}
		reads = reads[n:]
	}
}

// answerReads answers by token; the token's reads are all the core's answer concerns.
func (o *owner) answerReads(answers []core.Read) {
	for _, answer := range answers {
		waiting := o.reads[answer.Token]
		delete(o.reads, answer.Token)
		o.counters.countReads(answer, len(waiting))
		var err error
		if !answer.OK {
			err = o.notPrimary()
		}
		o.finishReads(waiting, err)
	}
}

func (o *owner) finishReads(reads []read, err error) {
	o.mailbox.release(0, 0, len(reads))
	for i := range reads {
		if err != nil {
			o.countRefusal(err)
		}
		reads[i].done(err)
	}
}
