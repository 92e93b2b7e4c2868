package survey

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

func (a *admin) TransferPrimary(ctx context.Context, request *pb.TransferPrimaryRequest) (*pb.TransferPrimaryResponse, error) {
	select {
	case response := <-a.transfers:
		response.Primary = request.GetTo()
		return response, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestTransfer(t *testing.T) {
	a := &admin{
		replicas: []*pb.ReplicaStatus{
			{Group: 1, Replica: 1, Role: "primary", Status: "normal", Serving: true, View: 3},
			{Group: 1, Replica: 2, Role: "backup", Status: "normal", View: 3},
		},
		transfers: make(chan *pb.TransferPrimaryResponse, 2),
	}
	address := a.serve(t)
	group := Group{ID: 1, Members: []Member{{Replica: 1, Address: address}, {Replica: 2, Address: address}}}
	refusal := func(code pb.Code) *pb.TransferPrimaryResponse {
		return &pb.TransferPrimaryResponse{View: 4, Error: &pb.Error{Code: code, Message: "because"}}
	}

	// The role had moved on when the first answer came.
	a.transfers <- refusal(pb.Code_CODE_NOT_PRIMARY)
	a.transfers <- &pb.TransferPrimaryResponse{View: 5}
	done, err := Transfer(t.Context(), group, 2)
	require.NoError(t, err)
	require.Equal(t, Transferred{Group: 1, From: 1, Primary: 2, View: 5}, done)

	for code, want := range map[pb.Code]error{
		pb.Code_CODE_UNAVAILABLE: ErrNotTransferred, pb.Code_CODE_OVERLOADED: ErrNotTransferred, pb.Code_CODE_INVALID_ARGUMENT: ErrNotTransferred,
		pb.Code_CODE_DEADLINE: ErrNotTransferred, pb.Code_CODE_OUTCOME_UNKNOWN: ErrTransferUnknown, pb.Code_CODE_INTERNAL: ErrTransferUnknown,
	} {
		a.transfers <- refusal(code)
		_, err = Transfer(t.Context(), group, 0)
		require.ErrorIs(t, err, want, "%v", code)
		require.ErrorContains(t, err, "because")
	}
	_, err = Transfer(t.Context(), group, 9)
	require.ErrorIs(t, err, ErrNoReplica)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = Transfer(short, group, 2)
	require.ErrorIs(t, err, ErrTransferUnknown, "the node did not answer in time")
}
