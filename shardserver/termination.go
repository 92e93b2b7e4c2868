package shardserver

import (
	"container/heap"
	"time"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/terminate"
)

// termination is one machine at work.
type termination struct {
	attempt  txn.Attempt
	machine  *terminate.Machine
	redrives bool // it counts as one of the redriver's
}

type newMachine func(terminate.Options, txn.ShardID, txn.Attempt, []txn.ShardID) (*terminate.Machine, error)

// begin starts a machine.
func (t *terminator) begin(work *termination, participants []txn.ShardID, create newMachine) {
	s, attempt := t.server, work.attempt
	machine, err := create(terminate.Options{}, s.options.Shard, attempt, participants)
	if err != nil {
		s.options.Logger.Error("a transaction cannot be terminated", "shard", s.options.Shard, "transaction", attempt.String(), "error", err)
		return
	}
	s.counts.terminations.Add(1)
	s.options.Logger.Debug("terminating", "shard", s.options.Shard, "transaction", attempt.String())
	work.machine = machine
	t.running[attempt] = work
	if work.redrives {
		t.redriver.running++
	}
	t.act(work, machine.Start())
}

// act carries a machine's actions out. Answers come through the mailbox, never from within: the machine's slice
// of actions is good only until its next step.
func (t *terminator) act(work *termination, actions []terminate.Action) {
	s := t.server
	for _, action := range actions {
		switch action := action.(type) {
		case terminate.Send:
			t.send(work, action)
		case terminate.WantTimer:
			heap.Push(&t.timers, timer{
				at: time.Now().Add(time.Duration(action.Millis) * time.Millisecond), to: work, token: action.Token,
			})
		case terminate.Answer:
			s.counts.terminated(action.Outcome.Kind)
		case terminate.Done:
			delete(t.running, work.attempt)
			if work.redrives {
				t.redriver.running--
			}
			if action.Contradiction {
				s.counts.contradictions.Add(1)
				s.options.Logger.Error("shards contradict each other about a transaction", "shard", s.options.Shard,
					"transaction", work.attempt.String())
			}
		}
	}
}

// send brings a request to a shard; to the server's own through the same door as everybody's, and so through
// its log.
func (t *terminator) send(work *termination, send terminate.Send) {
	s := t.server
	deadline := time.Now().Add(s.options.CallTimeout)
	answered := func(response *pb.Response, err error) {
		if send.Kind == terminate.EndTxn {
			return
		}
		event := terminate.Event(terminate.Failed{Send: send})
		if verdict := response.GetVerdict(); err == nil && verdict != nil {
			if parsed, err := wire.ParseVerdict(verdict, send.Attempt.ID); err == nil {
				event = terminate.Reply{Send: send, Verdict: parsed}
			}
		}
		t.deliver(work, event)
	}
	request := terminationRequest(send)
	if send.Shard == s.options.Shard {
		s.Handle(request, deadline, func(response *pb.Response) { answered(response, nil) })
		return
	}
	s.options.Router.Send(send.Shard, request, deadline, answered)
}

func terminationRequest(send terminate.Send) *pb.Request {
	request := &pb.Request{Group: uint32(send.Shard)}
	switch send.Kind {
	case terminate.Fence:
		request.Body = &pb.Request_Fence{Fence: &pb.FenceRequest{Attempt: wire.Attempt(send.Attempt), EveryLater: send.EveryLater}}
	case terminate.CommitTxn:
		request.Body = &pb.Request_CommitTxn{CommitTxn: &pb.CommitTxnRequest{Attempt: wire.Attempt(send.Attempt)}}
	case terminate.AbortTxn:
		request.Body = &pb.Request_AbortTxn{AbortTxn: &pb.AbortTxnRequest{Attempt: wire.Attempt(send.Attempt)}}
	case terminate.EndTxn:
		request.Body = &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{Ids: []*pb.TxnID{wire.ID(send.Attempt.ID)}}}
	}
	return request
}

// timer is a WantTimer of a machine.
type timer struct {
	at    time.Time
	to    *termination
	token uint64
}

// timerHeap orders timers by time.
type timerHeap []timer

// wait is how long until the first is due.
func (h timerHeap) wait(now time.Time) time.Duration {
	if len(h) == 0 {
		return time.Hour
	}
	return max(0, h[0].at.Sub(now))
}

// take removes one that is due.
func (h *timerHeap) take(now time.Time) (timer, bool) {
	if len(*h) == 0 || (*h)[0].at.After(now) {
		return timer{}, false
	}
	return heap.Pop(h).(timer), true
}

// Len is heap.Interface's.
func (h timerHeap) Len() int { return len(h) }

// Less is heap.Interface's.
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap is heap.Interface's.
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's.
func (h *timerHeap) Push(t any) { *h = append(*h, t.(timer)) }

// Pop is heap.Interface's.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	return t
}
