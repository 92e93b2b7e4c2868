package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// changer is a replica whose reconfigurations a test ends.
type changer struct {
	replicator
	membership replication.Membership
	report     replication.Report
	asked      chan replication.Change
	ends       chan error
}

func (r *changer) Membership() replication.Membership { return r.membership }

func (r *changer) Reconfigure(ctx context.Context, change replication.Change) (replication.Report, error) {
	r.asked <- change
	select {
	case err := <-r.ends:
		return r.report, err
	case <-ctx.Done():
		return replication.Report{}, fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, context.Cause(ctx))
	}
}

// errTooMany is what the cluster of these tests says of more than three members.
var errTooMany = errors.New("too many")

// changing starts a node that hosts such a replica as group 6, beside group 5 whose members cannot be changed.
func changing(t *testing.T) (pb.AdminServiceClient, *changer, *host) {
	t.Helper()
	h := start(t, nil)
	r := &changer{
		asked: make(chan replication.Change, 10), ends: make(chan error, 10),
		membership: replication.Membership{
			Epoch: 4, LargestID: 7, Members: []replication.Member{{ID: 1}, {ID: 2}, {ID: 7, Incarnation: 9, Address: "seven:1", Witness: true}},
		},
	}
	require.NoError(t, h.AddReplica(node.Replica{
		Group: 6, Replica: 1, Incarnation: 3, Handler: h.handler, Replicator: r, AddressOf: known(map[replication.ReplicaID]string{1: h.Addr(), 2: "two:1", 7: "elsewhere:1"}),
		Common: node.Common{Placement: "hash", Leases: true, Check: func(members []replication.Member) error {
			if len(members) > 3 {
				return errTooMany
			}
			return nil
		}},
	}))
	return pb.NewAdminServiceClient(connect(t, h.Addr())), r, h
}

func TestMembership(t *testing.T) {
	admin, r, h := changing(t)
	r.set(replication.Status{Backend: "vr", Durability: "async", Log: "wal"})
	response, err := admin.Membership(t.Context(), &pb.MembershipRequest{Group: 6})
	require.NoError(t, err)
	want := &pb.MembershipResponse{
		Epoch: 4, LargestReplica: 7, Cluster: clusterOne[:], Placement: "hash", Backend: "vr", Durability: "async", Log: "wal", Leases: true,
		Members: []*pb.GroupMember{
			{Replica: 1, Address: h.Addr(), Incarnation: 1},
			{Replica: 2, Address: "two:1", Incarnation: 1},
			{Replica: 7, Address: "seven:1", Incarnation: 10, Witness: true},
		},
		Self: &pb.GroupMember{Replica: 1, Address: h.Addr(), Incarnation: 3},
	}
	require.True(t, proto.Equal(want, response), "%v", response)

	r.set(replication.Status{Role: replication.RoleWitness})
	response, err = admin.Membership(t.Context(), &pb.MembershipRequest{Group: 6})
	require.NoError(t, err)
	require.True(t, response.GetSelf().GetWitness())
	for group, code := range map[uint32]pb.Code{9: pb.Code_CODE_UNKNOWN_GROUP, 5: pb.Code_CODE_INVALID_ARGUMENT} {
		response, err := admin.Membership(t.Context(), &pb.MembershipRequest{Group: group})
		require.NoError(t, err)
		require.Equal(t, code, response.GetError().GetCode())
		changed, err := admin.Reconfigure(t.Context(), &pb.ReconfigureRequest{Group: group})
		require.NoError(t, err)
		require.Equal(t, code, changed.GetError().GetCode())
	}
}

func TestReconfigureAnswers(t *testing.T) {
	admin, r, _ := changing(t)
	notPrimary := replication.NotPrimaryError{View: 7, Primary: 7}
	r.report = replication.Report{Epoch: 5, Replicas: []replication.ReplicaReport{
		{Member: replication.Member{ID: 2}, Was: true, Heard: true, Op: 90, Lag: 10, Ready: true},
		{Member: replication.Member{ID: 8, Incarnation: 1, Address: "eight:1"}, Will: true},
	}}
	for _, test := range []struct {
		err  error
		code pb.Code
	}{
		{nil, pb.Code_CODE_UNSPECIFIED},
		{&notPrimary, pb.Code_CODE_NOT_PRIMARY},
		{&replication.NotMemberError{NotPrimaryError: notPrimary}, pb.Code_CODE_NOT_PRIMARY},
		{fmt.Errorf("x: %w", replication.ErrMembership), pb.Code_CODE_INVALID_ARGUMENT},
		{replication.ErrNewcomer, pb.Code_CODE_UNAVAILABLE},
		{replication.ErrQuorum, pb.Code_CODE_UNAVAILABLE},
		{replication.ErrReconfiguring, pb.Code_CODE_OVERLOADED},
		{replication.ErrTransferUnderWay, pb.Code_CODE_OVERLOADED},
		{replication.ErrOverloaded, pb.Code_CODE_OVERLOADED},
		{replication.ErrClosed, pb.Code_CODE_UNAVAILABLE},
		{fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, replication.ErrClosed), pb.Code_CODE_OUTCOME_UNKNOWN},
		{fmt.Errorf("x: %w", context.Canceled), pb.Code_CODE_DEADLINE},
		{errors.New("x"), pb.Code_CODE_INTERNAL},
	} {
		r.set(replication.Status{View: 7, Primary: 7})
		r.ends <- test.err
		response, err := admin.Reconfigure(t.Context(), &pb.ReconfigureRequest{Group: 6, Epoch: 5, DryRun: true, Members: []*pb.GroupMember{
			{Replica: 1, Incarnation: 1}, {Replica: 8, Incarnation: 2, Address: "eight:1", Witness: true},
		}})
		require.NoError(t, err)
		require.Equal(t, replication.Change{Epoch: 5, DryRun: true, Members: []replication.Member{
			{ID: 1}, {ID: 8, Incarnation: 1, Address: "eight:1", Witness: true},
		}}, <-r.asked)
		require.Equal(t, test.code, response.GetError().GetCode(), "%v", test.err)
		if test.code == pb.Code_CODE_NOT_PRIMARY {
			require.Equal(t, "elsewhere:1", response.GetError().GetPrimaryAddress())
			require.EqualValues(t, 7, response.GetError().GetView())
		}
		require.True(t, proto.Equal(&pb.ReconfigureResponse{Error: response.GetError(), Epoch: 5, Replicas: []*pb.ReplicaReport{
			{Member: &pb.GroupMember{Replica: 2, Address: "two:1", Incarnation: 1}, Was: true, Heard: true, Op: 90, Lag: 10, Ready: true},
			{Member: &pb.GroupMember{Replica: 8, Address: "eight:1", Incarnation: 2}, Will: true},
		}}, response), "%v", response)
	}
}

// What makes no sense never reaches the replica.
func TestReconfigureRefusesWhatNobodyMeans(t *testing.T) {
	admin, r, _ := changing(t)
	member := func(replica uint32) *pb.GroupMember { return &pb.GroupMember{Replica: replica, Incarnation: 1} }
	crowd := make([]*pb.GroupMember, 100)
	for i := range crowd {
		crowd[i] = member(uint32(i + 1))
	}
	for name, members := range map[string][]*pb.GroupMember{
		"replica 0": {member(0)}, "incarnation 0": {{Replica: 1}}, "nobody said": {nil}, "a crowd": crowd,
		"what the cluster's rules refuse": {member(1), member(2), member(3), member(4)},
	} {
		response, err := admin.Reconfigure(t.Context(), &pb.ReconfigureRequest{Group: 6, Members: members})
		require.NoError(t, err, name)
		require.Equal(t, pb.Code_CODE_INVALID_ARGUMENT, response.GetError().GetCode(), name)
		require.Empty(t, r.asked, name)
	}
}

// A caller that gives up has its call end, and the replica is told.
func TestReconfigureEndsWithItsCaller(t *testing.T) {
	admin, r, _ := changing(t)
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := admin.Reconfigure(ctx, &pb.ReconfigureRequest{Group: 6, Members: []*pb.GroupMember{{Replica: 1, Incarnation: 1}}})
		answered <- err
	}()
	<-r.asked
	cancel()
	require.Error(t, <-answered)
}
