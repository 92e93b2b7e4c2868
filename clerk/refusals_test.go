package clerk

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/terminate"
)

// TestEveryRefusalIsSorted goes through all codes of the wire: whether a read is asked again, what its error is if
// not, and what the machine of a commit is told about a copy.
func TestEveryRefusalIsSorted(t *testing.T) {
	type sorted struct {
		again             bool
		final             error
		certain, hopeless bool
	}
	want := map[pb.Code]sorted{
		pb.Code_CODE_NOT_PRIMARY:      {again: true, certain: true},
		pb.Code_CODE_OVERLOADED:       {again: true, certain: true},
		pb.Code_CODE_OUTCOME_UNKNOWN:  {again: true},
		pb.Code_CODE_WRONG_SHARD:      {again: true, certain: true},
		pb.Code_CODE_FUTURE_TIMESTAMP: {again: true, certain: true},
		pb.Code_CODE_UNAVAILABLE:      {again: true, certain: true},
		pb.Code_CODE_DEADLINE:         {again: true, certain: true},
		pb.Code_CODE_UNKNOWN_GROUP:    {again: true, certain: true},
		pb.Code_CODE_UNSPECIFIED:      {again: true},
		pb.Code_CODE_SNAPSHOT_TOO_OLD: {final: ErrSnapshotTooOld, certain: true},
		pb.Code_CODE_INTERNAL:         {final: ErrRefused},
		pb.Code_CODE_WRONG_CLUSTER:    {final: ErrRefused, certain: true, hopeless: true},
		pb.Code_CODE_INVALID_ARGUMENT: {final: ErrRefused, certain: true, hopeless: true},
		pb.Code_CODE_LIMIT:            {final: txn.ErrLimit, certain: true, hopeless: true},
		pb.Code_CODE_VERSION:          {final: ErrRefused, certain: true, hopeless: true},
	}
	require.Len(t, want, len(pb.Code_name))
	for code, expected := range want {
		t.Run(code.String(), func(t *testing.T) {
			err := fmt.Errorf("wrapped: %w", &route.Error{Code: code, LimitName: "size", Limit: 1, Actual: 2})
			require.Equal(t, expected.again, askAgain(err))
			if !expected.again {
				require.ErrorIs(t, new(Clerk).refused(err), expected.final)
			}
			event := failed(commit.Send{}, err)
			require.Equal(t, []bool{expected.certain, expected.hopeless, code == pb.Code_CODE_WRONG_SHARD},
				[]bool{event.Certain, event.Hopeless, event.WrongShard})
		})
	}
	require.False(t, askAgain(route.ErrClosed))
	require.ErrorIs(t, new(Clerk).refused(route.ErrClosed), ErrClosed)
	require.True(t, askAgain(route.ErrNotConnected))
	require.True(t, failed(commit.Send{}, route.ErrNotConnected).Certain)
	require.False(t, failed(commit.Send{}, errors.Join(route.ErrClosed, route.ErrOutcomeUnknown)).Certain)
	require.ErrorIs(t, new(Clerk).refused(errors.New("else")), ErrUnavailable)
	var limit *txn.LimitError
	require.ErrorAs(t, new(Clerk).refused(&route.Error{Code: pb.Code_CODE_LIMIT, LimitName: "size", Limit: 1, Actual: 2}), &limit)
	require.Equal(t, txn.LimitError{Name: "size", Limit: 1, Actual: 2}, *limit)
}

// TestEveryRequestIsMade: every kind of both machines becomes the request of the same name.
func TestEveryRequestIsMade(t *testing.T) {
	attempt := txn.Attempt{ID: txn.TxnID{Home: 1}, Number: 2, TS: 3}
	part := &txn.Transaction{Attempt: attempt, Participants: []txn.ShardID{1}}
	for kind := commit.PrepareTxn; kind <= commit.EndTxn; kind++ {
		body := commitRequest(commit.Send{Kind: kind, Attempt: attempt, Txn: part}).GetBody()
		require.Equal(t, "*viewlinev1.Request_"+kind.String(), fmt.Sprintf("%T", body))
	}
	for kind := terminate.Fence; kind <= terminate.EndTxn; kind++ {
		body := terminationRequest(terminate.Send{Kind: kind, Attempt: attempt}).GetBody()
		require.Equal(t, "*viewlinev1.Request_"+kind.String(), fmt.Sprintf("%T", body))
	}
	require.True(t, terminationRequest(terminate.Send{Kind: terminate.Fence, Attempt: attempt, EveryLater: true}).GetFence().GetEveryLater())
}
