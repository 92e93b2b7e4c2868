package route

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// runWatch listens to the coordinator until the Router is closed.
func (r *Router) runWatch() {
	w := &watch{}
	w.know(nil, r.options.Coordinators)
	for r.ctx.Err() == nil {
		address := w.next(time.Since(r.start))
		moved, err := r.listen(w, address)
		if !moved && r.ctx.Err() == nil {
			r.options.Logger.Debug("the coordinator's news ended", "node", address, "error", err)
			if !r.missed(err) {
				return
			}
		}
		select {
		case <-time.After(w.ended(address, moved, time.Since(r.start), r.redial, r.random())):
		case <-r.ctx.Done():
		}
	}
}

// missed takes why there is no news. It returns false when there never will be: before the first map, a
// coordinator of another cluster means that this is not the cluster that was meant.
func (r *Router) missed(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
	if status.Code(err) != codes.FailedPrecondition || r.current.Load() != nil {
		return true
	}
	r.failure, r.fatal = fmt.Errorf("%w: %w", ErrWrongCluster, err), true
	r.once.Do(func() { close(r.arrived) })
	return false
}

// listen takes the news of one replica of the coordinator until the stream ends, or is silent for too long, or
// another one is to be listened to instead (moved).
func (r *Router) listen(w *watch, address string) (moved bool, err error) {
	connection, err := r.connect(address)
	if err != nil {
		return false, err
	}
	defer connection.Close() //nolint:errcheck // it can only fail by being closed already
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	silence := time.AfterFunc(r.options.ConnectTimeout, func() { cancel(errStalled) })
	defer silence.Stop()
	stream, err := pb.NewMapServiceClient(connection).WatchMap(ctx, &pb.WatchMapRequest{Version: version, Cluster: r.clusterBytes()})
	for err == nil {
		var news *pb.WatchMapResponse
		if news, err = stream.Recv(); err != nil {
			break
		}
		silence.Reset(r.options.StallTimeout)
		if err = r.take(w, news); err == nil && w.heard(address, r.coordinatorPrimary(news), !news.GetNotMember(), time.Since(r.start)) {
			return true, nil
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return false, err
}

// coordinatorPrimary is the best that is known of it. A primary that was left behind may go on telling of itself
// for a while; requests find out earlier where its successor is.
func (r *Router) coordinatorPrimary(news *pb.WatchMapResponse) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if g := r.groups[CoordinatorGroup]; g.settled() {
		return g.primary.Address
	}
	return news.GetCoordinatorPrimary()
}

// take takes one message of news.
func (r *Router) take(w *watch, news *pb.WatchMapResponse) error {
	cluster, err := r.meetCluster(news.GetCluster())
	if err != nil {
		return err
	}
	if news.GetMap() != nil {
		m, err := newMap(cluster, news.GetMap())
		if err != nil {
			return err
		}
		r.adopt(m)
	}
	if news.GetCoordinator() != nil {
		known, err := newMembership(news.GetCoordinator())
		if err != nil {
			return err
		}
		r.adoptCoordinator(known)
	}
	epoch, coordinators := r.coordinators()
	w.know(coordinators, r.options.Coordinators)
	if r.options.KeepCoordinators != nil {
		r.options.KeepCoordinators(epoch, coordinators)
	}
	r.learn(news.GetPrimaries())
	r.raise(txn.Timestamp(news.GetBound()))
	return nil
}

// meetCluster checks the cluster of whoever answers against what is known, or takes it for known from now on.
func (r *Router) meetCluster(got []byte) ([16]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(got) != len(r.cluster) {
		return r.cluster, fmt.Errorf("route: a coordinator names a cluster of %d bytes", len(got))
	}
	if r.cluster == [16]byte{} {
		r.cluster = [16]byte(got)
	}
	if r.cluster != [16]byte(got) {
		return r.cluster, status.Error(codes.FailedPrecondition, fmt.Sprintf("the coordinator belongs to cluster %x", got))
	}
	return r.cluster, nil
}

// clusterBytes is the cluster's id as it goes over the wire: empty while it is not known.
func (r *Router) clusterBytes() []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.cluster == [16]byte{} {
		return nil
	}
	return slices.Clone(r.cluster[:])
}
