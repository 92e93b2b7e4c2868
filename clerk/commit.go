package clerk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
)

// Commit commits what the transaction read and wrote, and returns its timestamp: its place in the order of all
// transactions. See Update for the errors; an *AbortedError without a Cause means that the caller may begin
// again. A transaction that neither read nor wrote commits at timestamp zero.
func (t *Txn) Commit(ctx context.Context) (txn.Timestamp, error) {
	if t.done {
		return 0, ErrTxnDone
	}
	t.done = true
	reads, writes, err := t.sets()
	if err != nil || len(reads)+len(writes) == 0 {
		return 0, err
	}
	outcome, why, err := t.clerk.commit(ctx, reads, writes)
	if err != nil {
		return 0, err
	}
	hooks := t.clerk.options.Hooks
	switch outcome.Kind {
	case commit.Committed:
		if hooks.Committed != nil {
			hooks.Committed(Committed{Attempt: outcome.Attempt, Reads: t.seen(reads), Writes: writes, Began: t.began, Answered: time.Now()})
		}
		return outcome.Attempt.TS, nil
	case commit.Aborted:
		if hooks.Aborted != nil {
			hooks.Aborted(outcome.Verdict)
		}
		return 0, &AbortedError{Attempt: outcome.Attempt, Verdict: outcome.Verdict, Cause: why.cause, Last: why.last}
	default:
		return 0, &UnknownError{Attempt: outcome.Attempt, Cause: why.cause, Last: why.last}
	}
}

// commit drives the machine of one transaction until it has an answer. What is left to do then goes on in the
// background. why says why there is no commit.
func (c *Clerk) commit(ctx context.Context, reads []txn.ReadEntry, writes []txn.WriteEntry) (outcome commit.Outcome, why reasons, err error) {
	if err := c.enter(ctx); err != nil {
		if !errors.Is(err, ErrClosed) {
			err = &AbortedError{Cause: err}
		}
		return outcome, why, err
	}
	current := c.router.Map()
	parts := splitParts(current, reads, writes)
	id := txn.TxnID{Clerk: c.id, Sequence: c.sequence.Add(1), Home: parts[0].Shard}
	machine, err := commit.New(commit.Options{}, id, parts, current.Version)
	if err != nil {
		<-c.background
		return outcome, why, err
	}
	d := &committing{clerk: c, machine: machine, answer: make(chan commit.Outcome, 1), timestamps: make(chan struct{}, 1)}
	d.loop.handle = func(event commit.Event) { d.perform(machine.Step(event)) }
	d.loop.start(func() { d.perform(machine.Start()) })
	outcome = d.wait(ctx)
	return outcome, d.reasons(ctx, outcome), nil
}

// enter takes a token for a machine, which gives it back when it is done.
func (c *Clerk) enter(ctx context.Context) error {
	select {
	case c.background <- struct{}{}:
	case <-c.closed:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.isClosed() {
		<-c.background
		return ErrClosed
	}
	return nil
}

// splitParts gives each shard its part of a transaction, ascending by shard.
func splitParts(current *route.Map, reads []txn.ReadEntry, writes []txn.WriteEntry) []commit.Part {
	var parts []commit.Part
	at := func(oid string) *commit.Part {
		shard := current.Locate(oid)
		i, found := slices.BinarySearchFunc(parts, shard, func(p commit.Part, shard txn.ShardID) int { return int(p.Shard) - int(shard) })
		if !found {
			parts = slices.Insert(parts, i, commit.Part{Shard: shard})
		}
		return &parts[i]
	}
	for _, read := range reads {
		part := at(read.OID)
		part.Reads = append(part.Reads, read)
	}
	for _, write := range writes {
		part := at(write.OID)
		part.Writes = append(part.Writes, write)
	}
	return parts
}

// committing is one machine and what it waits for; no goroutine belongs to a transaction.
type committing struct {
	clerk      *Clerk
	machine    *commit.Machine
	loop       loop[commit.Event]
	answer     chan commit.Outcome
	timestamps chan struct{}

	mu       sync.Mutex
	hopeless error // what no other attempt could escape
	untimed  error // how the wait for a timestamp ended with the caller's context
	last     error // what the last copy without a verdict failed with
}

// reasons are why a transaction did not commit, beside its verdict. A conflict that is all there is to say has none.
type reasons struct{ cause, last error }

// wait serves the machine's wish for timestamps, which belongs to the caller's context, until it answers.
func (d *committing) wait(ctx context.Context) commit.Outcome {
	for {
		select {
		case outcome := <-d.answer:
			return outcome
		case <-d.timestamps:
			timestamp, err := d.clerk.router.Timestamp(ctx)
			if err == nil {
				d.loop.post(commit.Timestamp{TS: timestamp})
				continue
			}
			if ctx.Err() == nil {
				d.note(&d.hopeless, d.clerk.unavailable(ctx, err))
			} else {
				d.note(&d.untimed, err)
			}
			d.loop.post(commit.Cancelled{})
		case <-ctx.Done():
			d.loop.post(commit.Cancelled{})
		case <-d.clerk.router.Done():
			d.loop.post(commit.Cancelled{})
		}
		return <-d.answer
	}
}

// note keeps an error for reasons.
func (d *committing) note(field *error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*field = err
}

func (d *committing) reasons(ctx context.Context, outcome commit.Outcome) reasons {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.last
	if outcome.Verdict.Reason != txn.ReasonNone {
		last = nil // the verdict says more
	}
	return reasons{cause: d.cause(ctx, outcome), last: last}
}

// cause says why a transaction that did not commit did not begin again. The caller holds the lock.
func (d *committing) cause(ctx context.Context, outcome commit.Outcome) error {
	switch {
	case outcome.Kind == commit.Committed || outcome.Kind == commit.Aborted && outcome.Rerun:
		return nil
	case outcome.Forgotten:
		return ErrOutcomeForgotten
	case d.hopeless != nil && outcome.Kind == commit.Aborted:
		return d.hopeless
	case d.untimed != nil:
		return d.untimed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case d.clerk.isClosed():
		return ErrClosed
	default:
		return ErrRefused
	}
}

func (d *committing) perform(actions []commit.Action) {
	for _, action := range actions {
		switch action := action.(type) {
		case commit.Send:
			d.send(action)
		case commit.WantTimestamp:
			d.timestamps <- struct{}{}
		case commit.WantTimer:
			d.clerk.after(action.Millis, func() { d.loop.post(commit.Timer{Token: action.Token}) })
		case commit.Answer:
			d.answer <- action.Outcome
		case commit.Done:
			if action.Contradiction {
				d.clerk.options.Logger.Error("shards contradict each other about a transaction", "attempt", d.machine.Attempt().String())
			}
			<-d.clerk.background
		}
	}
}

func (d *committing) send(send commit.Send) {
	try, deadline := d.clerk.patienceOf(send.Shard).try(bytesOf(send.Txn))
	call := route.Call{Group: uint32(send.Shard), Request: commitRequest(send), Deadline: deadline}
	d.clerk.router.Send(call, func(response *pb.Response, err error) {
		try.end(err)
		if send.Kind == commit.EndTxn {
			return // it has no answer that matters: a shard that misses it finds out by itself
		}
		if err == nil {
			verdict, malformed := wire.ParseVerdict(response.GetVerdict(), send.Attempt.ID)
			if malformed == nil {
				d.loop.post(commit.Reply{Send: send, Verdict: verdict})
				return
			}
			err = malformed
		}
		event := failed(send, err)
		if event.Hopeless {
			d.note(&d.hopeless, d.clerk.refused(err))
		} else {
			d.note(&d.last, named(err))
		}
		d.loop.post(event)
	})
}

// bytesOf is about what a request carries.
func bytesOf(part *txn.Transaction) int {
	size := 0
	if part != nil {
		for _, read := range part.Reads {
			size += len(read.OID)
		}
		for _, write := range part.Writes {
			size += len(write.OID) + len(write.Value)
		}
	}
	return size
}

// failed tells the machine what an error says about the copy.
func failed(send commit.Send, err error) commit.Failed {
	event := commit.Failed{Send: send, Certain: route.Certain(err)}
	var refusal *route.Error
	if !errors.As(err, &refusal) {
		return event
	}
	switch refusal.Code {
	case pb.Code_CODE_WRONG_SHARD:
		event.Certain, event.WrongShard = true, true
	case pb.Code_CODE_INVALID_ARGUMENT, pb.Code_CODE_LIMIT, pb.Code_CODE_WRONG_CLUSTER, pb.Code_CODE_VERSION:
		event.Certain, event.Hopeless = true, true
	default:
	}
	return event
}

func commitRequest(send commit.Send) *pb.Request {
	switch send.Kind {
	case commit.PrepareTxn:
		return &pb.Request{Body: &pb.Request_PrepareTxn{PrepareTxn: &pb.PrepareTxnRequest{Transaction: wire.Transaction(send.Txn)}}}
	case commit.CommitOnePhase:
		return &pb.Request{Body: &pb.Request_CommitOnePhase{CommitOnePhase: &pb.CommitOnePhaseRequest{Transaction: wire.Transaction(send.Txn)}}}
	case commit.CommitTxn:
		return &pb.Request{Body: &pb.Request_CommitTxn{CommitTxn: &pb.CommitTxnRequest{Attempt: wire.Attempt(send.Attempt)}}}
	case commit.AbortTxn:
		return &pb.Request{Body: &pb.Request_AbortTxn{AbortTxn: &pb.AbortTxnRequest{Attempt: wire.Attempt(send.Attempt)}}}
	case commit.Fence:
		return &pb.Request{Body: &pb.Request_Fence{Fence: &pb.FenceRequest{Attempt: wire.Attempt(send.Attempt)}}}
	default:
		return &pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{Ids: []*pb.TxnID{wire.ID(send.Attempt.ID)}}}}
	}
}
