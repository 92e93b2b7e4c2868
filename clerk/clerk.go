package clerk

import (
	"context"
	crypto "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// Clerk is a client of one cluster. Create it with Dial, end it with Close.
type Clerk struct {
	options  Options
	router   *route.Router
	id       txn.ClerkID
	sequence atomic.Uint64
	// patiences holds a *patience for each txn.ShardID.
	patiences sync.Map

	// background holds a token for each transaction whose machine still runs.
	background chan struct{}
	closed     chan struct{}
	closeOnce  sync.Once
	closeErr   error
}

// Dial connects to a cluster and returns once it knows the cluster's map. ctx bounds that, not the clerk's
// life: pass one with a deadline. Errors are ErrOptions and ErrUnavailable.
func Dial(ctx context.Context, options Options) (*Clerk, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options.setDefaults()
	router, err := route.Open(ctx, route.Options{
		Coordinators: options.Coordinators, Cluster: options.Cluster, Dial: options.DialOptions, Logger: options.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c := &Clerk{
		options: options, router: router, background: make(chan struct{}, options.BackgroundMax), closed: make(chan struct{}),
	}
	if _, err := crypto.Read(c.id[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("clerk: dial: %w", err), router.Close())
	}
	return c, nil
}

// Close waits, for at most Options.DrainTimeout, until the shards know of every commit that was answered, and
// closes all connections. What they do not know by then they find out by themselves. Closing twice is harmless.
func (c *Clerk) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		patience := time.NewTimer(c.options.DrainTimeout)
		defer patience.Stop()
		for range cap(c.background) {
			select {
			case c.background <- struct{}{}:
				continue
			case <-patience.C:
			}
			break
		}
		c.closeErr = c.router.Close()
	})
	return c.closeErr
}

// ShardOf tells which shard serves an object, by the newest map that the clerk has seen: the number by which
// package cluster and `viewline status` name its group.
func (c *Clerk) ShardOf(oid string) uint32 { return uint32(c.router.Map().Locate(oid)) }

// timestamp fetches a timestamp that is larger than every one used before the call.
func (c *Clerk) timestamp(ctx context.Context) (txn.Timestamp, error) {
	if c.isClosed() {
		return 0, ErrClosed
	}
	timestamp, err := c.router.Timestamp(ctx)
	if err != nil {
		return 0, c.unavailable(ctx, err)
	}
	return timestamp, nil
}

func (c *Clerk) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *Clerk) unavailable(ctx context.Context, err error) error {
	if c.isClosed() {
		return ErrClosed
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w (last: %w)", ErrUnavailable, cause, named(err))
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, named(err))
}

// named gives a lack of room the clerk's own name.
func named(err error) error {
	if errors.Is(err, route.ErrOverloaded) {
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	}
	return err
}

// part is what one shard is asked of a read, and its answer.
type part struct {
	shard    txn.ShardID
	oids     []string
	sent     route.Sent
	response *pb.Response
	err      error
}

// readAll asks every shard concerned for its objects, all at once, and hands each answer to take, in the
// caller's goroutine. Parts whose primary moved, or that lie on another shard by now, are asked again until ctx
// ends.
func (c *Clerk) readAll(ctx context.Context, oids []string, request func([]string) *pb.Request,
	take func(txn.ShardID, []string, *pb.Response) error,
) error {
	pause := c.options.BackoffMin
	for len(oids) > 0 {
		if c.isClosed() {
			return ErrClosed
		}
		var again []string
		var reason error
		for _, p := range c.askAll(ctx, c.split(oids), request) {
			switch {
			case p.err == nil:
				if err := take(p.shard, p.oids, p.response); err != nil {
					return err
				}
			case askAgain(p.err):
				again, reason = append(again, p.oids...), p.err
			default:
				return c.refused(p.err)
			}
		}
		if oids = again; len(oids) > 0 {
			if err := sleep(ctx, rand.N(pause)+1); err != nil {
				return c.unavailable(ctx, reason)
			}
			pause = min(2*pause, c.options.BackoffMax)
		}
	}
	return nil
}

func (c *Clerk) split(oids []string) []*part {
	current := c.router.Map()
	var parts []*part
	byShard := map[txn.ShardID]*part{}
	for _, oid := range oids {
		shard := current.Locate(oid)
		if byShard[shard] == nil {
			byShard[shard] = &part{shard: shard}
			parts = append(parts, byShard[shard])
		}
		byShard[shard].oids = append(byShard[shard].oids, oid)
	}
	return parts
}

// askAll sends all parts and waits for their answers, as long as the clerk's patience lasts and ctx does.
func (c *Clerk) askAll(ctx context.Context, parts []*part, request func([]string) *pb.Request) []*part {
	answered := make(chan struct{}, len(parts))
	end, ends := ctx.Deadline()
	for _, p := range parts {
		try, deadline := c.patienceOf(p.shard).try(0)
		if ends && end.Before(deadline) {
			deadline = end
		}
		p.sent = c.router.Send(route.Call{Group: uint32(p.shard), Request: request(p.oids), Deadline: deadline, Resend: true},
			func(response *pb.Response, err error) {
				if ctx.Err() == nil {
					try.end(err)
				}
				p.response, p.err = response, err
				answered <- struct{}{}
			})
	}
	over := ctx.Done()
	for waiting := len(parts); waiting > 0; {
		select {
		case <-answered:
			waiting--
		case <-over:
			over = nil // the answers come soon now, and say what is known
			for _, p := range parts {
				p.sent.GiveUp()
			}
		}
	}
	return parts
}

// askAgain reports whether a read may succeed if it is asked again, perhaps elsewhere.
func askAgain(err error) bool {
	var refusal *route.Error
	if !errors.As(err, &refusal) {
		return !errors.Is(err, route.ErrClosed)
	}
	switch refusal.Code {
	case pb.Code_CODE_INVALID_ARGUMENT, pb.Code_CODE_LIMIT, pb.Code_CODE_WRONG_CLUSTER, pb.Code_CODE_VERSION,
		pb.Code_CODE_SNAPSHOT_TOO_OLD, pb.Code_CODE_INTERNAL:
		return false
	default:
		return true
	}
}

// refused gives a final refusal the clerk's own name.
func (c *Clerk) refused(err error) error {
	var refusal *route.Error
	switch {
	case errors.Is(err, route.ErrClosed):
		return ErrClosed
	case !errors.As(err, &refusal):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case refusal.Code == pb.Code_CODE_SNAPSHOT_TOO_OLD:
		return fmt.Errorf("%w: %w", ErrSnapshotTooOld, err)
	case refusal.Code == pb.Code_CODE_LIMIT:
		return &txn.LimitError{Name: refusal.LimitName, Limit: refusal.Limit, Actual: refusal.Actual}
	default:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
}
