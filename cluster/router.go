package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/shardserver"
	"github.com/viewline/viewline/txn"
)

// routerRetry is the pause after the coordinator could not be reached at all.
const routerRetry = time.Second

// errNoMap says that the coordinator has not been reached yet; nothing was sent.
var errNoMap = errors.New("cluster: the coordinator has not been reached yet")

// lateRouter is a shard's way to the coordinator and to the other shards. A node must start, vote and catch up
// while the coordinator is still away, so it is connected in the background.
type lateRouter struct {
	ready  chan struct{} // closed once router is set
	router *route.Router // read only after ready is closed
	cancel context.CancelFunc
	opener sync.WaitGroup
}

var _ shardserver.Router = (*lateRouter)(nil)

func openLateRouter(options route.Options) *lateRouter {
	ctx, cancel := context.WithCancel(context.Background())
	r := &lateRouter{ready: make(chan struct{}), cancel: cancel}
	r.opener.Go(func() {
		for ctx.Err() == nil {
			router, err := route.Open(ctx, options)
			if err == nil {
				r.router = router
				close(r.ready)
				return
			}
			if ctx.Err() == nil {
				options.Logger.Warn("the coordinator cannot be reached; trying again", "error", err)
				wait(ctx, routerRetry)
			}
		}
	})
	return r
}

func wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *lateRouter) connected() *route.Router {
	select {
	case <-r.ready:
		return r.router
	default:
		return nil
	}
}

func (r *lateRouter) await(ctx context.Context) (*route.Router, error) {
	select {
	case <-r.ready:
		return r.router, nil
	case <-ctx.Done():
		return nil, errors.Join(errNoMap, context.Cause(ctx))
	}
}

// Timestamp returns a timestamp that was asked for after the call.
func (r *lateRouter) Timestamp(ctx context.Context) (txn.Timestamp, error) {
	router, err := r.await(ctx)
	if err != nil {
		return 0, err
	}
	return router.Timestamp(ctx)
}

// Bound returns the newest known bound, zero before the coordinator was reached.
func (r *lateRouter) Bound() txn.Timestamp {
	if router := r.connected(); router != nil {
		return router.Bound()
	}
	return 0
}

// RefreshBound raises the bound and returns it.
func (r *lateRouter) RefreshBound(ctx context.Context) (txn.Timestamp, error) {
	router, err := r.await(ctx)
	if err != nil {
		return 0, err
	}
	return router.RefreshBound(ctx)
}

// SlotsOf returns a shard's slots by the newest map; none before the coordinator was reached.
func (r *lateRouter) SlotsOf(shard txn.ShardID) (uint64, []uint16) {
	router := r.connected()
	if router == nil {
		return 0, nil
	}
	return shardserver.OverRoute(router).SlotsOf(shard)
}

// ReportPrimary tells the coordinator who is primary of a group, and who its members are.
func (r *lateRouter) ReportPrimary(ctx context.Context, primary route.Primary, members []route.Member) error {
	router, err := r.await(ctx)
	if err != nil {
		return err
	}
	return router.ReportPrimary(ctx, primary, members)
}

// Send brings a request to the primary of another shard.
func (r *lateRouter) Send(shard txn.ShardID, request *pb.Request, deadline time.Time, done func(*pb.Response, error)) {
	router := r.connected()
	if router == nil {
		done(nil, errNoMap)
		return
	}
	shardserver.OverRoute(router).Send(shard, request, deadline, done)
}

// close ends the connections; whoever waits is answered.
func (r *lateRouter) close() error {
	r.cancel()
	r.opener.Wait()
	if router := r.connected(); router != nil {
		return router.Close()
	}
	return nil
}
