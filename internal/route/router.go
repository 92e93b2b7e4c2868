package route

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// nodesMax bounds the nodes that a Router knows; addresses come from servers.
const nodesMax = 4096

// Call is one request to a group.
type Call struct {
	// Group is whose primary is asked: 0 the coordinator's, n shard n's.
	Group uint32
	// Request carries the body; id, group and remaining time are the Router's business. It is never changed,
	// and must not be changed by anyone afterwards.
	Request *pb.Request
	// Deadline ends the attempts; zero: only Close does.
	Deadline time.Time
	// Resend allows another copy after one that may have had an effect. Without it a request whose stream breaks
	// after it was written ends with ErrOutcomeUnknown.
	Resend bool
}

// Primary is what is known of a group's primary.
type Primary struct {
	Group   uint32
	Epoch   uint64
	View    uint64
	Replica uint32
	Address string
}

// Router is the way to a cluster. Create it with Open, end it with Close.
type Router struct {
	options Options
	start   time.Time
	pause   backoff // between copies of a request
	redial  backoff // between attempts to connect

	current  atomic.Pointer[Map]
	bound    atomic.Uint64
	calls    atomic.Int64 // requests taken and not answered
	bytes    atomic.Int64 // of them
	alarm    alarm
	stamps   *shared
	bounds   *shared
	lastSeen atomic.Uint64 // the largest timestamp handed out to this Router

	ctx     context.Context // over when the Router is closed
	cancel  context.CancelFunc
	work    sync.WaitGroup
	arrived chan struct{} // closed when the first map is there, or never will be
	once    sync.Once     // guards the closing of arrived

	mu     sync.RWMutex
	groups map[uint32]*groupState
	nodes  map[string]*node
	// named are the addresses of all groups' members; strays: there may be nodes at other addresses.
	named   map[string]bool
	strays  bool
	cluster [16]byte // all zero until it is known
	failure error    // why there never will be a map, or the last failure to get one
	fatal   bool
	closed  bool
}

// groupState is a group and the requests that pause before they go there again.
type groupState struct {
	group
	parked []*pending
}

// Open connects to a cluster and returns once it has the first map. ctx bounds that, not the Router's life.
// Errors are ErrOptions, ErrWrongCluster, or the context's cause together with the last failure.
func Open(ctx context.Context, options Options) (*Router, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	r := &Router{
		options: options, start: time.Now(), cluster: options.Cluster,
		pause:   backoff{min: options.BackoffMin, max: options.BackoffMax},
		redial:  backoff{min: options.BackoffMin, max: options.ReconnectMax},
		arrived: make(chan struct{}),
		groups: map[uint32]*groupState{CoordinatorGroup: {group: group{
			epoch: options.CoordinatorsEpoch, members: slices.Clone(options.Coordinators),
		}}},
		nodes: map[string]*node{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.alarm.init()
	r.stamps = newShared(r, timestampsKind())
	r.bounds = newShared(r, boundKind())
	r.work.Go(r.runAlarm)
	r.work.Go(r.runWatch)
	select {
	case <-r.arrived:
	case <-ctx.Done():
	}
	if r.current.Load() != nil {
		return r, nil
	}
	failure := r.watchFailure(ctx)
	return nil, errors.Join(fmt.Errorf("route: open: %w", failure), r.Close())
}

func (r *Router) watchFailure(ctx context.Context) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch cause := context.Cause(ctx); {
	case r.fatal || cause == nil:
		return r.failure
	case r.failure == nil:
		return cause
	default:
		return fmt.Errorf("%w: %w", cause, r.failure)
	}
}

// Map returns the newest map; never nil.
func (r *Router) Map() *Map { return r.current.Load() }

// Cluster returns the id of the cluster.
func (r *Router) Cluster() [16]byte { return r.current.Load().Cluster }

// Primaries returns the primaries that are known, ascending by group.
func (r *Router) Primaries() []Primary {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var primaries []Primary
	for id, g := range r.groups {
		if g.settled() {
			primary := g.primary
			primary.Group = id
			primaries = append(primaries, primary)
		}
	}
	slices.SortFunc(primaries, func(a, b Primary) int { return int(int64(a.Group) - int64(b.Group)) })
	return primaries
}

// Send sends a request to the primary of its group. It follows redirects, and sends again after refusals that
// are certain, until the deadline. done is called exactly once, possibly before Send returns, from any
// goroutine, and must not block; it gets a response without an error in it, or an error: see Certain.
//
// Requests to one node arrive in the order in which one goroutine sent them, but that those which end a
// transaction may overtake others that wait for their turn, and that what is sent again loses its place.
func (r *Router) Send(call Call, done func(*pb.Response, error)) Sent {
	p := newPending(call, r.moment(call.Deadline), done)
	r.send(p)
	return Sent{router: r, pending: p}
}

// Sent is a request that was given to Send.
type Sent struct {
	router  *Router
	pending *pending
}

// GiveUp says that the request's time is over now: done is called soon, if it was not yet, and is told what is known
// by then. It does not block.
func (s Sent) GiveUp() {
	s.pending.deadline.Store(s.router.now())
	s.router.alarm.lookAtAll()
}

// moment is a time in nanoseconds since the Router's start; the zero time never comes.
func (r *Router) moment(at time.Time) int64 {
	if at.IsZero() {
		return never
	}
	return int64(at.Sub(r.start))
}

func (r *Router) send(p *pending) {
	if p.size > messageBytesMax {
		p.done(nil, &Error{
			Code: pb.Code_CODE_LIMIT, LimitName: "longest message in bytes", Limit: messageBytesMax, Actual: uint64(p.size),
		})
		return
	}
	calls, bytes := r.calls.Add(1), r.bytes.Add(int64(p.size))
	switch {
	case calls > int64(r.options.CallsMax) || bytes > int64(r.options.CallBytesMax):
		r.finish(p, nil, fmt.Errorf("%w: %d requests of %d bytes are waiting here", ErrOverloaded, calls, bytes))
	case p.deadline.Load() <= r.now():
		r.finish(p, nil, ErrDeadline)
	default:
		r.dispatch(p)
	}
}

// Do is Send for a caller that waits. When ctx ends first, the error is the context's cause as well.
func (r *Router) Do(ctx context.Context, call Call) (*pb.Response, error) {
	if until, ok := ctx.Deadline(); ok && (call.Deadline.IsZero() || until.Before(call.Deadline)) {
		call.Deadline = until
	}
	type outcome struct {
		response *pb.Response
		err      error
	}
	outcomes := make(chan outcome, 1)
	sent := r.Send(call, func(response *pb.Response, err error) { outcomes <- outcome{response, err} })
	select {
	case o := <-outcomes:
		return o.response, o.err
	case <-ctx.Done():
	}
	sent.GiveUp()
	o := <-outcomes
	if o.err != nil {
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), o.err)
	}
	return o.response, nil
}

// Timestamp returns a timestamp that the coordinator hands out after the call and that nobody else gets. All
// who wait share a request. It tries until ctx ends; the errors are ErrClosed, the context's cause, and refusals
// that another try would not change.
func (r *Router) Timestamp(ctx context.Context) (txn.Timestamp, error) {
	answer, place, err := r.stamps.ask(ctx)
	if err != nil {
		return 0, err
	}
	return txn.Timestamp(answer + uint64(place)), nil
}

// Bound returns the largest bound seen: every timestamp that was handed out before some moment in the past is at
// or below it, and so is every one that will be handed out before the coordinator raises it.
func (r *Router) Bound() txn.Timestamp { return txn.Timestamp(r.bound.Load()) }

// RefreshBound asks the coordinator, in a request sent after the call and shared by all who wait, and returns a
// bound that no timestamp handed out before the call exceeds. Errors are those of Timestamp.
func (r *Router) RefreshBound(ctx context.Context) (txn.Timestamp, error) {
	answer, _, err := r.bounds.ask(ctx)
	return txn.Timestamp(answer), err
}

// ReportPrimary tells the coordinator who is primary of a shard, and who the members of its epoch are; nil: whom the
// map has. It returns when the map has them.
func (r *Router) ReportPrimary(ctx context.Context, primary Primary, members []Member) error {
	report := &pb.ReportPrimaryRequest{Primary: &pb.Primary{
		Group: primary.Group, Epoch: primary.Epoch, View: primary.View, Replica: primary.Replica, Address: primary.Address,
	}}
	if members != nil {
		report.Group = &pb.Group{Id: primary.Group, Epoch: primary.Epoch}
		for _, member := range members {
			report.Group.Members = append(report.Group.Members, &pb.Member{
				Replica: member.Replica, Address: member.Address, Witness: member.Witness,
			})
		}
	}
	request := &pb.Request{Body: &pb.Request_ReportPrimary{ReportPrimary: report}}
	_, err := r.Do(ctx, Call{Group: CoordinatorGroup, Request: request, Resend: true})
	return err
}

// Done is closed when the Router is closed.
func (r *Router) Done() <-chan struct{} { return r.ctx.Done() }

// Close ends everything: requests that wait end with ErrClosed, and with ErrOutcomeUnknown too where they may
// have had an effect. Every done of a Send that has returned was called when Close returns. It must not be
// called from a done. Closing twice is harmless.
func (r *Router) Close() error {
	r.mu.Lock()
	r.closed = true
	nodes := make([]*node, 0, len(r.nodes))
	for _, n := range r.nodes {
		nodes = append(nodes, n)
	}
	var parked []*pending
	for _, g := range r.groups {
		parked = append(parked, g.parked...)
		g.parked = nil
	}
	r.mu.Unlock()
	r.cancel()
	for _, p := range parked {
		r.settle(settled{call: p, event: event{kind: ended}, err: ErrClosed})
	}
	for _, n := range nodes {
		n.close()
	}
	r.work.Wait()
	return nil
}

// now is the time since the Router's start, in nanoseconds.
func (r *Router) now() int64 { return int64(time.Since(r.start)) }

func (r *Router) random() uint64 { return rand.Uint64() }
