package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// giver is a replica whose transfers a test ends.
type giver struct {
	replicator
	asked chan replication.ReplicaID
	ends  chan error
}

func newGiver() *giver {
	return &giver{asked: make(chan replication.ReplicaID, 10), ends: make(chan error, 10)}
}

func (r *giver) TransferPrimary(ctx context.Context, to replication.ReplicaID) error {
	r.asked <- to
	select {
	case err := <-r.ends:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// transferring starts a node that hosts such a replica as group 6, beside group 5 that knows no transfers.
func transferring(t *testing.T) (*host, *giver) {
	t.Helper()
	h, r := start(t, nil), newGiver()
	require.NoError(t, h.AddReplica(node.Replica{
		Group: 6, Replica: 1, Handler: h.handler, Replicator: r, AddressOf: known(map[replication.ReplicaID]string{1: h.Addr(), 2: "two:1"}),
	}))
	return h, r
}

func TestTransferPrimaryAnswers(t *testing.T) {
	h, r := transferring(t)
	admin := pb.NewAdminServiceClient(connect(t, h.Addr()))
	for _, test := range []struct {
		err  error
		code pb.Code
	}{
		{nil, pb.Code_CODE_UNSPECIFIED},
		{&replication.NotPrimaryError{View: 7, Primary: 2}, pb.Code_CODE_NOT_PRIMARY},
		{fmt.Errorf("x: %w", replication.ErrNoMember), pb.Code_CODE_INVALID_ARGUMENT},
		{fmt.Errorf("x: %w", replication.ErrBehind), pb.Code_CODE_UNAVAILABLE},
		{replication.ErrTransferUnderWay, pb.Code_CODE_OVERLOADED},
		{replication.ErrClosed, pb.Code_CODE_UNAVAILABLE},
		{fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, context.Canceled), pb.Code_CODE_OUTCOME_UNKNOWN},
		{fmt.Errorf("x: %w", context.Canceled), pb.Code_CODE_DEADLINE},
		{errors.New("x"), pb.Code_CODE_INTERNAL},
	} {
		r.set(replication.Status{View: 7, Primary: 2})
		r.ends <- test.err
		response, err := admin.TransferPrimary(t.Context(), &pb.TransferPrimaryRequest{Group: 6, To: 3})
		require.NoError(t, err)
		require.Equal(t, replication.ReplicaID(3), <-r.asked)
		require.Equal(t, test.code, response.GetError().GetCode(), "%v", test.err)
		require.Equal(t, []uint64{2, 7}, []uint64{uint64(response.GetPrimary()), response.GetView()})
		if test.code == pb.Code_CODE_NOT_PRIMARY {
			require.Equal(t, "two:1", response.GetError().GetPrimaryAddress())
		}
	}
	for group, code := range map[uint32]pb.Code{9: pb.Code_CODE_UNKNOWN_GROUP, 5: pb.Code_CODE_INVALID_ARGUMENT} {
		response, err := admin.TransferPrimary(t.Context(), &pb.TransferPrimaryRequest{Group: group})
		require.NoError(t, err)
		require.Equal(t, code, response.GetError().GetCode())
	}
}

// TestDrainHandsOverFirst: while the role is on its way requests are still taken, since who asks is told where to go.
func TestDrainHandsOverFirst(t *testing.T) {
	h, r := transferring(t)
	r.set(replication.Status{View: 7, Primary: 1, Leading: true})
	c := h.session(t)
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	require.Equal(t, replication.ReplicaID(0), <-r.asked)
	c.send(bound(1))
	h.handler.take(1)[0].respond(boundAnswer(1))
	require.EqualValues(t, 1, c.next().GetId())
	require.Empty(t, drained)
	r.ends <- nil
	require.NoError(t, <-drained)
}

// TestDrainGoesOnWithoutAHandover when it fails, or does not end before the drain's own time.
func TestDrainGoesOnWithoutAHandover(t *testing.T) {
	h, r := transferring(t)
	r.set(replication.Status{Leading: true})
	r.ends <- replication.ErrBehind
	require.NoError(t, h.Drain(t.Context()))

	h, r = transferring(t)
	r.set(replication.Status{Leading: true})
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(ctx) }()
	<-r.asked
	cancel()
	require.NoError(t, <-drained, "nothing else was under way")

	h, r = transferring(t)
	require.NoError(t, h.Drain(t.Context()))
	require.Empty(t, r.asked, "who does not lead has nothing to hand over")
}
