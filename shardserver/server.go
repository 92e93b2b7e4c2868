package shardserver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// Server serves one replica of one shard. Create it with New, give Machine to the group's Replicator and the
// Replicator to Attach.
type Server struct {
	options    Options
	bounds     *bounds
	terminator *terminator
	counts     counts
	hashes     hashes
	// underWay is the size of all requests that wait for anything.
	underWay atomic.Int64

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup // the goroutines that Attach starts

	mu     sync.Mutex // guards all below
	closed bool
	// replicator is nil before Attach.
	replicator replication.Replicator
	state      *history.State
	front      *history.Front
	// view is the one that this replica leads, as its last event said, and leads whether it does.
	view  replication.ViewNumber
	leads bool
	// lead is the Lead under which the front serves; nil when it does not.
	lead *lead
	// parked is who waits for transactions to be decided.
	parked parking
}

// lead is a Lead of this replica that was applied. Two are the same only if the pointers are.
type lead struct {
	number uint64
	view   replication.ViewNumber
	floor  txn.Timestamp
	// ctx ends, by end, when the lead is no longer the server's.
	ctx context.Context
	end context.CancelFunc
}

// New makes the server of an empty replica; Attach starts it. Every error is an ErrOptions.
func New(options Options) (*Server, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	s := &Server{options: options}
	state, err := history.New(s.historyOptions())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if err := s.install(state); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.parked = newParking()
	s.bounds = newBounds(s)
	s.terminator = newTerminator(s)
	return s, nil
}

// install replaces the whole history. Called with mu held, or before anybody else knows the server.
func (s *Server) install(state *history.State) error {
	front, err := history.NewFront(state, history.FrontOptions{
		InFlightMax: s.options.InFlightMax, WaitsMax: s.options.WaitsMax,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	s.state, s.front = state, front
	return nil
}

func (s *Server) historyOptions() history.Options {
	return history.Options{
		Shard: s.options.Shard, SlotOf: placement.Slot, ReadStampsMax: s.options.ReadStampsMax,
		DecisionsMax: s.options.DecisionsMax, PreparedMax: s.options.PreparedMax,
	}
}

// Machine returns the state machine that the shard's group replicates. It works before Attach.
func (s *Server) Machine() replication.StateMachine { return &machine{server: s} }

// Attach gives the server its group and starts its goroutines. It is called once, before the first Handle that
// is to be served; the server does not close the Replicator.
func (s *Server) Attach(replicator replication.Replicator) {
	s.mu.Lock()
	attached := s.closed || s.replicator != nil
	if !attached {
		s.replicator = replicator
	}
	s.mu.Unlock()
	if attached {
		return
	}
	s.bounds.start()
	for _, run := range []func(){s.watchEvents, s.keepParked, s.bounds.run, s.terminator.run} {
		s.done.Go(run)
	}
}

// Close ends the service: whoever waits is answered that there is no primary here, and Close returns when all
// goroutines are gone. Operations that the Replicator still has are answered when it is done with them.
// Closing twice is harmless.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.leads = false
	s.unlead()
	s.mu.Unlock()
	s.cancel()
	s.done.Wait()
	s.answerReady()
	return nil
}

// unlead ends the service under the current lead, if there is one, and releases everybody who waits under it.
// Called with mu held.
func (s *Server) unlead() {
	if s.lead == nil {
		return
	}
	s.lead.end()
	s.lead = nil
	s.front.Unlead()
	s.release()
}

// loseLead ends the service under one lead.
func (s *Server) loseLead(lead *lead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lead == lead {
		s.unlead()
	}
}

// serving returns the current lead if the server serves under it. Called with mu held.
func (s *Server) serving() (*lead, bool) {
	return s.lead, s.lead != nil && s.front.Leading()
}
