package clerk

import (
	"context"
	"errors"
	"fmt"

	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/terminate"
)

// Outcome is what became of a transaction, for good.
type Outcome struct {
	Committed bool
	// Attempt is the one that committed, or the last one known; its timestamp is the commit's.
	Attempt txn.Attempt
}

// Outcome finds out what became of a transaction, by the id in an *UnknownError. It decides what was still
// undecided, and sees to it that the answer stays true. ErrOutcomeForgotten when its shards no longer know;
// ErrUnavailable when they could not be asked before ctx ended; txn.ErrMalformedID for an id that names no
// shard of this cluster, or whose timestamp was never handed out; ErrRefused when a shard can make nothing of the
// question. Whoever asks about a transaction that may still be under way ends it if it is not decided.
func (c *Clerk) Outcome(ctx context.Context, attempt txn.Attempt) (Outcome, error) {
	if attempt.Number == 0 || attempt.TS == 0 || !c.router.Map().Has(attempt.ID.Home) {
		return Outcome{}, fmt.Errorf("%w: %v", txn.ErrMalformedID, attempt)
	}
	machine, err := terminate.NewOutcome(terminate.Options{}, attempt)
	if err != nil {
		return Outcome{}, err
	}
	if err := c.enter(ctx); err != nil {
		return Outcome{}, c.unavailable(ctx, err)
	}
	a := &asking{clerk: c, machine: machine, answer: make(chan terminate.Outcome, 1), hopeless: make(chan error, 1)}
	a.loop.handle = func(event terminate.Event) { a.perform(machine.Step(event)) }
	a.loop.start(func() { a.perform(machine.Start()) })
	var refused error
	select {
	case outcome := <-a.answer:
		return c.outcome(ctx, outcome)
	case refused = <-a.hopeless:
	case <-ctx.Done():
	case <-c.router.Done():
	}
	a.loop.post(terminate.Cancelled{})
	outcome := <-a.answer
	if refused != nil && outcome.Kind == terminate.Unknown {
		return Outcome{}, fmt.Errorf("%w (transaction %v)", refused, attempt)
	}
	return c.outcome(ctx, outcome)
}

func (c *Clerk) outcome(ctx context.Context, outcome terminate.Outcome) (Outcome, error) {
	switch outcome.Kind {
	case terminate.Committed:
		return Outcome{Committed: true, Attempt: outcome.Attempt}, nil
	case terminate.Aborted:
		return Outcome{Attempt: outcome.Attempt}, nil
	case terminate.Forgotten:
		return Outcome{}, fmt.Errorf("%w: %v", ErrOutcomeForgotten, outcome.Attempt)
	default:
		return Outcome{}, c.unavailable(ctx, ErrOutcomeUnknown)
	}
}

// asking is to the machine of an outcome what committing is to that of a commit.
type asking struct {
	clerk   *Clerk
	machine *terminate.Machine
	loop    loop[terminate.Event]
	answer  chan terminate.Outcome
	// hopeless gets the first refusal that asking again would not change.
	hopeless chan error
}

func (a *asking) perform(actions []terminate.Action) {
	for _, action := range actions {
		switch action := action.(type) {
		case terminate.Send:
			a.send(action)
		case terminate.WantTimer:
			a.clerk.after(action.Millis, func() { a.loop.post(terminate.Timer{Token: action.Token}) })
		case terminate.Answer:
			a.answer <- action.Outcome
		case terminate.Done:
			if action.Contradiction {
				a.clerk.options.Logger.Error("shards contradict each other about a transaction", "machine", a.machine.String())
			}
			<-a.clerk.background
		}
	}
}

func (a *asking) send(send terminate.Send) {
	request := terminationRequest(send)
	try, deadline := a.clerk.patienceOf(send.Shard).try(0)
	call := route.Call{Group: uint32(send.Shard), Request: request, Deadline: deadline, Resend: true}
	a.clerk.router.Send(call, func(response *pb.Response, err error) {
		try.end(err)
		if send.Kind == terminate.EndTxn {
			return
		}
		if err == nil {
			if verdict, malformed := wire.ParseVerdict(response.GetVerdict(), send.Attempt.ID); malformed == nil {
				a.loop.post(terminate.Reply{Send: send, Verdict: verdict})
				return
			}
		}
		if final := a.clerk.finalAnswer(err); final != nil {
			select {
			case a.hopeless <- final:
			default:
			}
		}
		a.loop.post(terminate.Failed{Send: send})
	})
}

// finalAnswer names a refusal of a question that every other try would meet too; nil if the next one may not. A shard
// calls a timestamp one of the future only after it has asked the coordinator.
func (c *Clerk) finalAnswer(err error) error {
	switch {
	case errors.Is(err, route.ErrFutureTimestamp):
		return fmt.Errorf("%w: its timestamp was never handed out: %w", txn.ErrMalformedID, err)
	case failed(commit.Send{}, err).Hopeless:
		return c.refused(err)
	default:
		return nil
	}
}

func terminationRequest(send terminate.Send) *pb.Request {
	switch send.Kind {
	case terminate.Fence:
		return &pb.Request{Body: &pb.Request_Fence{Fence: &pb.FenceRequest{Attempt: wire.Attempt(send.Attempt), EveryLater: send.EveryLater}}}
	case terminate.CommitTxn:
		return &pb.Request{Body: &pb.Request_CommitTxn{CommitTxn: &pb.CommitTxnRequest{Attempt: wire.Attempt(send.Attempt)}}}
	case terminate.AbortTxn:
		return &pb.Request{Body: &pb.Request_AbortTxn{AbortTxn: &pb.AbortTxnRequest{Attempt: wire.Attempt(send.Attempt)}}}
	default:
		return &pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{Ids: []*pb.TxnID{wire.ID(send.Attempt.ID)}}}}
	}
}
