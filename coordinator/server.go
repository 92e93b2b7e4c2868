package coordinator

import (
	"context"
	"sync"

	"github.com/viewline/viewline/coordinator/state"
	"github.com/viewline/viewline/replication"
)

// Server serves one replica of the coordinator. Create it with New, give StateMachine to the group's Replicator
// and the Replicator to Attach.
type Server struct {
	options Options
	layout  *state.Map
	counts  counts

	ctx    context.Context // over when the Server is closed
	cancel context.CancelFunc
	work   sync.WaitGroup // the goroutine that follows the group, and all watchers'
	wake   chan struct{}  // tells the former that there is something to do

	mu sync.Mutex // guards all below
	// closed: nothing is served any more.
	closed bool
	// replicator is nil before Attach.
	replicator replication.Replicator
	state      *state.State
	applied    replication.OpNumber
	oracle     *state.Oracle
	primaries  state.Primaries
	// own is the coordinator's primary, and standing who its members are, as the group last said.
	own      state.Primary
	standing standing
	// lead is the view that this replica leads; nil when it leads none.
	lead *lead
	// watchers counts those who watch; changed is closed, and another one made, when there is news for them.
	watchers int
	changed  chan struct{}
}

// lead is one stretch of leading one view. Two are the same only if the pointers are: whatever comes back from
// the group for another one is too late.
type lead struct {
	view replication.ViewNumber
	// bootstrapping and raising: such an operation is under way.
	bootstrapping, raising bool
	// serving: there is a map, and a mark with room below it.
	serving bool
	// waiting is who waits for a round; round is who shares the one that is under way, if one is.
	waiting  []*waiter
	round    []*waiter
	underWay bool
	// changing are the changes of members that are under way, by group, one at most of each.
	changing map[uint32]*changing
}

// New makes the server of an empty replica; Attach starts it. Every error is an ErrOptions.
func New(options Options) (*Server, error) {
	layout, err := options.layout()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: options.withDefaults(), layout: layout, wake: make(chan struct{}, 1), changed: make(chan struct{}),
		state: state.New(state.Options{}), oracle: state.NewOracle(state.Options{}), primaries: state.NewPrimaries(state.Options{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// StateMachine returns what the coordinator's group replicates. It works before Attach.
func (s *Server) StateMachine() replication.StateMachine { return machine{server: s} }

// Attach gives the server its group and starts it. It is called once; the server does not close the Replicator.
func (s *Server) Attach(replicator replication.Replicator) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.replicator != nil {
		return
	}
	s.replicator = replicator
	s.work.Go(s.follow)
}

// Close ends the service: whoever waits is told that nobody serves here, watchers' streams end, and Close returns
// when all goroutines are gone. A watcher that does not read holds it up until its connection is closed, so the
// gRPC server is to be stopped first. Closing twice is harmless.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	answers := s.unlead()
	s.mu.Unlock()
	s.cancel()
	s.respond(answers)
	s.work.Wait()
	return nil
}

// address is where a member of the coordinator's group is reached; empty if it is not known. The caller holds
// the lock.
func (s *Server) address(replica replication.ReplicaID) string {
	if s.options.AddressOf != nil {
		return s.options.AddressOf(replica)
	}
	current := s.state.Map()
	if current == nil {
		current = s.layout
	}
	if current == nil {
		return ""
	}
	member, _ := current.Coordinator.Member(uint32(replica))
	return member.Address
}

// nowMillis is the clock in milliseconds since the Unix epoch, not before it.
func (s *Server) nowMillis() uint64 { return uint64(max(s.options.Now().UnixMilli(), 0)) }
