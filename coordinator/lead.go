package coordinator

import (
	"time"

	"github.com/viewline/viewline/coordinator/state"
	"github.com/viewline/viewline/replication"
)

// follow is the goroutine that follows the group: it begins and ends leading, keeps the mark ahead, and lets go
// of what waited too long.
func (s *Server) follow() {
	ticker := time.NewTicker(s.options.TickInterval)
	defer ticker.Stop()
	for {
		select {
		case event, open := <-s.replicator.Events():
			if !open {
				s.turn(replication.Event{})
				return
			}
			s.turn(event)
		case <-ticker.C:
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		s.look()
		s.tend()
	}
}

// turn takes what the group says of this replica.
func (s *Server) turn(event replication.Event) {
	s.mu.Lock()
	leads := event.Leading && !s.closed
	if s.lead != nil && leads && s.lead.view == event.View {
		s.mu.Unlock()
		return
	}
	answers := s.unlead()
	if leads {
		// Everything inherited is applied: whatever earlier primaries handed out lies below the mark.
		s.oracle.Lead(s.state.Mark())
		s.lead = &lead{view: event.View, changing: map[uint32]*changing{}}
		s.counts.leads.Add(1)
		s.options.Logger.Info("the coordinator's primary", "view", event.View, "mark", uint64(s.state.Mark()))
	}
	s.mu.Unlock()
	s.respond(answers)
}

// unlead ends leading, if it was, and returns what to tell those who waited. The caller holds the lock.
func (s *Server) unlead() []answer {
	gone := s.lead
	if gone == nil {
		return nil
	}
	s.lead = nil
	s.oracle.Unlead()
	s.primaries.Forget()
	waiting := append(gone.round, gone.waiting...)
	for _, each := range gone.changing {
		waiting = append(waiting, each.reports...)
	}
	return refuse(waiting, notServing)
}

// look asks the group who is primary and who its members are, for the watchers, and lets go of what waited too long.
func (s *Server) look() {
	status := s.replicator.Status()
	standing := s.membership(status.Replica)
	s.mu.Lock()
	own := state.Primary{Epoch: status.Epoch, View: uint64(status.View), Replica: uint32(status.Primary), Address: s.address(status.Primary)}
	if status.Primary == status.Replica && !status.Leading {
		own.Address = "" // it is not ready yet
	}
	if own != s.own || !standing.equal(s.standing) {
		s.own, s.standing = own, standing
		s.publish()
	}
	var late []answer
	if s.lead != nil {
		now := time.Now()
		s.lead.waiting = expire(s.lead.waiting, now, &late)
		s.lead.round = expire(s.lead.round, now, &late)
		for _, each := range s.lead.changing {
			each.reports = expire(each.reports, now, &late)
		}
	}
	s.mu.Unlock()
	s.respond(late)
}

// tend proposes what the primary has to have: a layout, a mark ahead of the clock, and its own group's members in the
// map. Each is under way once at a time, and tried again at the next tick if it failed.
func (s *Server) tend() {
	s.mu.Lock()
	l := s.lead
	if l == nil {
		s.mu.Unlock()
		return
	}
	bootstrap := s.state.Map() == nil && s.layout != nil && !l.bootstrapping
	mark, raise := s.oracle.NeedMark(s.nowMillis())
	raise = raise && !l.raising
	l.bootstrapping, l.raising = l.bootstrapping || bootstrap, l.raising || raise
	change := s.ownChange(l)
	s.mu.Unlock()
	if bootstrap {
		s.propose(l, func() ([]byte, error) { return encodeBootstrap(s.layout) }, func() []answer { l.bootstrapping = false; return nil })
	}
	if raise {
		s.propose(l, func() ([]byte, error) { return encodeRaiseMark(mark) }, func() []answer { l.raising = false; return nil })
	}
	if change != nil {
		s.change(l, change)
	}
	s.admit(l)
}

// propose has an operation replicated. over, called with the lock held, notes that it is no longer under way, and
// returns what to tell those who waited for that.
func (s *Server) propose(l *lead, encode func() ([]byte, error), over func() []answer) {
	done := func(result replication.Result) {
		s.mu.Lock()
		answers := over()
		s.mu.Unlock()
		s.respond(answers)
		if result.Err != nil {
			// The next tick tries again, or another primary does.
			s.options.Logger.Debug("an operation of the coordinator failed", "view", l.view, "error", result.Err)
			return
		}
		s.poke()
	}
	operation, err := encode()
	if err != nil {
		done(replication.Result{Err: err})
		return
	}
	s.counts.proposals.Add(1)
	s.replicator.Submit(l.view, operation, done)
}

// admit begins to serve as soon as there are a map and room below the mark, and sends the round of those who
// waited for that.
func (s *Server) admit(l *lead) {
	s.mu.Lock()
	if s.lead == l && !l.serving && s.state.Map() != nil && s.oracle.Ready(s.nowMillis()) {
		l.serving = true
	}
	s.mu.Unlock()
	s.advance(l)
}

// poke has the following goroutine look again now.
func (s *Server) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
