package route

import (
	"context"
	"sync/atomic"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

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
	current atomic.Pointer[Map]
	bound   atomic.Uint64
	done    chan struct{}
}

// Open connects to a cluster and returns once it has the first map. ctx bounds that, not the Router's life.
// Errors are ErrOptions, ErrWrongCluster, or the context's cause together with the last failure.
func Open(ctx context.Context, options Options) (*Router, error) { return nil, ErrClosed }

// Map returns the newest map; never nil.
func (r *Router) Map() *Map { return r.current.Load() }

// Cluster returns the id of the cluster.
func (r *Router) Cluster() [16]byte { return r.current.Load().Cluster }

// Primaries returns the primaries that are known, ascending by group.
func (r *Router) Primaries() []Primary { return nil }

// Send sends a request to the primary of its group. It follows redirects, and sends again after refusals that
// are certain, until the deadline. done is called exactly once, possibly before Send returns, from any
// goroutine, and must not block; it gets a response without an error in it, or an error: see Certain.
//
// Requests to one node arrive in the order in which one goroutine sent them, but that those which end a
// transaction may overtake others that wait for their turn, and that what is sent again loses its place.
func (r *Router) Send(call Call, done func(*pb.Response, error)) { done(nil, ErrClosed) }

// Do is Send for a caller that waits. When ctx ends first the error is the context's cause, and
// ErrOutcomeUnknown too unless the request was certainly not written.
func (r *Router) Do(ctx context.Context, call Call) (*pb.Response, error) { return nil, ErrClosed }

// Timestamp returns a timestamp that the coordinator hands out after the call and that nobody else gets. All
// who wait share a request. It tries until ctx ends; errors are ErrClosed and the context's cause.
func (r *Router) Timestamp(ctx context.Context) (txn.Timestamp, error) { return 0, ErrClosed }

// Bound returns the largest bound seen: every timestamp that was handed out before some moment in the past is at
// or below it, and so is every one that will be handed out before the coordinator raises it.
func (r *Router) Bound() txn.Timestamp { return txn.Timestamp(r.bound.Load()) }

// RefreshBound asks the coordinator, in a request sent after the call and shared by all who wait, and returns a
// bound that no timestamp handed out before the call exceeds. Errors are those of Timestamp.
func (r *Router) RefreshBound(ctx context.Context) (txn.Timestamp, error) { return 0, ErrClosed }

// ReportPrimary tells the coordinator who is primary of a shard.
func (r *Router) ReportPrimary(ctx context.Context, primary Primary) error { return ErrClosed }

// Done is closed when the Router is closed.
func (r *Router) Done() <-chan struct{} { return r.done }

// Close ends everything: requests that wait end with ErrClosed, and with ErrOutcomeUnknown too where they may
// have had an effect. Every done has been called when it returns. Closing twice is harmless.
func (r *Router) Close() error { return nil }
