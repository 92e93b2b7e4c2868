package coordinator

import (
	"errors"
	"time"

	"github.com/viewline/viewline/coordinator/state"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// waiter is a request that needs the proof that this replica leads, or is a report of a primary.
type waiter struct {
	count    uint32        // of timestamps; 0 asks for the bound
	primary  state.Primary // of a report, which waits for a change and not for a round
	deadline time.Time
	respond  func(*pb.Response)
}

// answer is what a request gets: a response, or why there is none. It is given when the lock is free.
type answer struct {
	to       *waiter
	response *pb.Response
	failure  failure
}

// refuse answers all with a failure.
func refuse(all []*waiter, why failure) []answer {
	answers := make([]answer, len(all))
	for i, w := range all {
		answers[i] = answer{to: w, failure: why}
	}
	return answers
}

// respond gives answers. The caller does not hold the lock.
func (s *Server) respond(answers []answer) {
	for _, a := range answers {
		if a.response == nil {
			s.counts.refused.Add(1)
			a.response = s.refusal(a.failure)
		}
		a.to.respond(a.response)
	}
}

// expire takes out of a list those whose time is over, and adds them to late.
func expire(list []*waiter, now time.Time, late *[]answer) (rest []*waiter) {
	for _, w := range list {
		if !w.deadline.IsZero() && !now.Before(w.deadline) {
			*late = append(*late, answer{to: w, failure: tooLate})
		} else {
			rest = append(rest, w)
		}
	}
	return rest
}

// enqueue enters a request that needs a round.
func (s *Server) enqueue(w *waiter) {
	s.mu.Lock()
	l := s.lead
	why := taken
	switch {
	case l == nil:
		why = notServing
	case len(l.waiting)+len(l.round) >= s.options.WaitingMax:
		why = overloaded
	default:
		l.waiting = append(l.waiting, w)
	}
	s.mu.Unlock()
	if why != taken {
		s.respond([]answer{{to: w, failure: why}})
		return
	}
	s.advance(l)
}

// advance sends a round for all who wait, unless one is under way: they asked before it begins, so it proves to
// each of them that this replica led after he asked. While it is under way the next ones gather.
func (s *Server) advance(l *lead) {
	s.mu.Lock()
	if s.lead != l || !l.serving || l.underWay || len(l.waiting) == 0 {
		s.mu.Unlock()
		return
	}
	l.round, l.waiting, l.underWay = l.waiting, nil, true
	s.mu.Unlock()
	s.counts.rounds.Add(1)
	s.replicator.ReadBarrier(l.view, func(err error) { s.finish(l, err) })
}

// finish answers those who shared a round. That this replica still leads the view is checked in the step in
// which the timestamps are handed out.
func (s *Server) finish(l *lead, err error) {
	s.mu.Lock()
	if s.lead != l {
		s.mu.Unlock()
		return // they were answered when it ended
	}
	round := l.round
	l.round, l.underWay = nil, false
	var answers []answer
	switch {
	case err == nil:
		answers = s.allocate(l, round)
	case errors.Is(err, replication.ErrOverloaded):
		answers = refuse(round, overloaded)
	default:
		answers = refuse(round, notServing)
	}
	s.mu.Unlock()
	s.respond(answers)
	if err != nil {
		s.poke() // the next round comes from there: a group that refuses at once must not be asked in a circle
		return
	}
	s.advance(l)
}

// allocate hands out what was asked for. Where the mark is too low, the rest waits until it is raised, and then
// for another round. The caller holds the lock.
func (s *Server) allocate(l *lead, round []*waiter) []answer {
	now := s.nowMillis()
	answers := make([]answer, 0, len(round))
	for i, w := range round {
		if w.count == 0 {
			answers = append(answers, answer{to: w, response: boundResponse(uint64(s.state.Mark()))})
			continue
		}
		first, err := s.oracle.Allocate(now, w.count)
		switch {
		case err == nil:
			s.counts.timestamps.Add(uint64(w.count))
			answers = append(answers, answer{to: w, response: timestampsResponse(uint64(first), w.count)})
		case errors.Is(err, state.ErrMark):
			s.counts.lowMarks.Add(1)
			l.serving = false
			l.waiting = append(round[i:], l.waiting...)
			s.poke()
			return answers
		default:
			answers = append(answers, answer{to: w, response: errorResponse(&pb.Error{Code: pb.Code_CODE_INTERNAL, Message: err.Error()})})
		}
	}
	return answers
}
