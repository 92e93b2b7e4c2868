package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

const (
	// handoverTimeout bounds how long Drain waits for other nodes to take the roles of this one. It is a courtesy to
	// those who ask: without it they wait until the groups have missed their primaries.
	handoverTimeout = time.Second
	// transferTimeout bounds a TransferPrimary whose caller names no time.
	transferTimeout = 10 * time.Second
)

// handOver has every replica of this node that leads its group hand that role over, all at the same time.
func (n *Node) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	var handing sync.WaitGroup
	defer handing.Wait()
	for group, hosted := range *n.replicas.Load() {
		primary, can := hosted.Replicator.(replication.PrimaryTransferer)
		if !can || !hosted.Replicator.Status().Leading {
			continue
		}
		handing.Go(func() {
			began := time.Now()
			switch err := primary.TransferPrimary(ctx, 0); {
			case err == nil:
				n.options.Logger.Info("handed the primary's role over", "group", group, "after", time.Since(began))
			case !errors.Is(err, replication.ErrNoMember): // a group of one has nobody
				n.options.Logger.Warn("the primary's role was not handed over", "group", group, "error", err)
			}
		})
	}
}

// TransferPrimary has a replica hand its role over. What becomes of it stands in the response; the error is always
// nil.
func (a *adminServer) TransferPrimary(ctx context.Context, request *pb.TransferPrimaryRequest) (*pb.TransferPrimaryResponse, error) {
	hosted := a.node.replica(request.GetGroup())
	if hosted == nil {
		return &pb.TransferPrimaryResponse{Error: refusalOf(fmt.Errorf("%w: group %d", errUnknownGroup, request.GetGroup()))}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	err := errNoTransfers
	if primary, can := hosted.Replicator.(replication.PrimaryTransferer); can {
		err = primary.TransferPrimary(ctx, replication.ReplicaID(request.GetTo()))
	}
	return hosted.transferred(err), nil
}

// errNoTransfers: the backend cannot do it.
var errNoTransfers = errors.New("node: this backend does not transfer the primary's role")

// transferred makes the answer of what became of a transfer.
func (r *Replica) transferred(err error) *pb.TransferPrimaryResponse {
	status := r.Replicator.Status()
	response := &pb.TransferPrimaryResponse{Primary: uint32(status.Primary), View: uint64(status.View)}
	if err != nil {
		response.Error = r.redirect(refusalOf(err))
	}
	return response
}
