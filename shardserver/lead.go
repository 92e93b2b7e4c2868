package shardserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn/history"
)

// The pause before a primary tries again to get its Lead: it doubles from one to the other.
const (
	leadBackoffMin = 5 * time.Millisecond
	leadBackoffMax = 500 * time.Millisecond
)

// watchEvents is the goroutine that follows the group: while this replica leads a view, one more goroutine
// serves that view.
func (s *Server) watchEvents() {
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case event, open := <-s.replicator.Events():
			if !open {
				s.setView(replication.Event{})
				return
			}
			if !s.setView(event) {
				continue
			}
			stop()
			stop = func() {}
			if event.Leading {
				stop = s.startServing(event.View)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// setView notes what the group says of this replica and reports whether that is news.
func (s *Server) setView(event replication.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	leads := event.Leading && !s.closed
	if leads == s.leads && (!leads || s.view == event.View) {
		return false
	}
	s.leads, s.view = leads, event.View
	s.unlead()
	return true
}

// startServing serves a view until the function that it returns is called, which waits for the end.
func (s *Server) startServing(view replication.ViewNumber) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if lead := s.awaitLead(ctx, view); lead != nil {
				s.keepLead(lead)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// awaitLead tries until it has a Lead in the view, or the view is over.
func (s *Server) awaitLead(ctx context.Context, view replication.ViewNumber) *lead {
	for backoff := leadBackoffMin; ; backoff = min(2*backoff, leadBackoffMax) {
		lead, err := s.tryLead(ctx, view)
		if err == nil {
			s.options.Logger.Info("serving as primary", "shard", s.options.Shard, "view", view, "lead", lead.number)
			return lead
		}
		if !pause(ctx, backoff) {
			return nil
		}
		s.options.Logger.Warn("no lead yet", "shard", s.options.Shard, "view", view, "error", err)
	}
}

// errNoEffect: another Lead was applied first.
var errNoEffect = errors.New("shardserver: the Lead had no effect")

// tryLead opens the service. Everything inherited is applied, so a timestamp that is asked for now lies above
// all that an earlier primary can have answered for from memory; and only when the Lead with that floor is
// applied does anything begin.
func (s *Server) tryLead(ctx context.Context, view replication.ViewNumber) (*lead, error) {
	floor, err := s.fetchTimestamp(ctx)
	if err != nil {
		return nil, fmt.Errorf("no timestamp from the coordinator: %w", err)
	}
	s.mu.Lock()
	number := s.state.LeadNumber() + 1
	s.mu.Unlock()
	result, err := s.propose(ctx, view, leadOperation(history.Lead{Number: number, View: uint64(view), Floor: floor}))
	if err != nil {
		return nil, err
	}
	if !result.GetTookEffect() {
		return nil, errNoEffect
	}
	lead := &lead{number: number, view: view, floor: floor}
	lead.ctx, lead.end = context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leads || s.view != view || !s.front.Lead(number) {
		lead.end()
		return nil, errNoEffect
	}
	s.lead = lead
	s.counts.leads.Add(1)
	return lead, nil
}

// propose replicates one operation of the server's own and waits for its result.
func (s *Server) propose(ctx context.Context, view replication.ViewNumber, operation *pb.ShardOperation) (*pb.OperationResult, error) {
	encoded, err := encodeOperation(operation)
	if err != nil {
		return nil, err
	}
	result := replication.Propose(ctx, s.replicator, view, encoded)
	if result.Err != nil {
		return nil, result.Err
	}
	return decodeResult(result.Value)
}

// keepLead does what a serving primary does from time to time, until the lead is lost.
func (s *Server) keepLead(lead *lead) {
	defer lead.end()
	ticker := time.NewTicker(s.options.ScanInterval)
	defer ticker.Stop()
	advancer := advancer{server: s, lead: lead}
	reported, advanced := time.Time{}, time.Now()
	for {
		s.takeSlots(lead)
		now := time.Now()
		if now.Sub(reported) >= s.options.ReportInterval && s.report(lead) {
			reported = now
		}
		if now.Sub(advanced) >= s.options.AdvanceInterval {
			advancer.advance()
			advanced = now
		}
		select {
		case <-ticker.C:
		case <-lead.ctx.Done():
			return
		}
	}
}

// takeSlots gives the shard the slots that the map has for it, if its log has given it none yet. The log
// decides: of several proposals the first one counts.
func (s *Server) takeSlots(lead *lead) {
	s.mu.Lock()
	_, owned := s.state.Owned()
	s.mu.Unlock()
	if owned {
		return
	}
	mapVersion, slots := s.options.Router.SlotsOf(s.options.Shard)
	if len(slots) == 0 {
		return
	}
	own := history.Own{MapVersion: mapVersion, Shard: s.options.Shard, Slots: slots}
	if _, err := s.propose(lead.ctx, lead.view, ownOperation(own)); err != nil {
		s.options.Logger.Warn("no slots yet", "shard", s.options.Shard, "error", err)
	}
}

// pause waits, and reports whether ctx lasted.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
