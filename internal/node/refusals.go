package node

import (
	"context"
	"errors"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// errUnknownGroup: the node hosts no replica of that group.
var errUnknownGroup = errors.New("node: no replica of that group is here")

// refusalOf is an error of a replicator, or of the node itself, as the wire has it.
func refusalOf(err error) *pb.Error { return &pb.Error{Code: codeOf(err), Message: err.Error()} }

// codeOf is CODE_INTERNAL, which says that the outcome is not known, for what it does not know.
func codeOf(err error) pb.Code {
	for _, known := range []struct {
		err  error
		code pb.Code
	}{
		{replication.ErrOutcomeUnknown, pb.Code_CODE_OUTCOME_UNKNOWN}, // first: others may stand beside it
		{replication.ErrNotPrimary, pb.Code_CODE_NOT_PRIMARY},
		{replication.ErrNoMember, pb.Code_CODE_INVALID_ARGUMENT},
		{replication.ErrMembership, pb.Code_CODE_INVALID_ARGUMENT},
		{replication.ErrBehind, pb.Code_CODE_UNAVAILABLE},
		{replication.ErrNewcomer, pb.Code_CODE_UNAVAILABLE},
		{replication.ErrQuorum, pb.Code_CODE_UNAVAILABLE},
		{replication.ErrTransferUnderWay, pb.Code_CODE_OVERLOADED},
		{replication.ErrReconfiguring, pb.Code_CODE_OVERLOADED},
		{replication.ErrOverloaded, pb.Code_CODE_OVERLOADED},
		{replication.ErrClosed, pb.Code_CODE_UNAVAILABLE},
		{context.DeadlineExceeded, pb.Code_CODE_DEADLINE},
		{context.Canceled, pb.Code_CODE_DEADLINE},
		{errNoTransfers, pb.Code_CODE_INVALID_ARGUMENT},
		{errNoReconfigurations, pb.Code_CODE_INVALID_ARGUMENT},
		{errUnknownGroup, pb.Code_CODE_UNKNOWN_GROUP},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return pb.Code_CODE_INTERNAL
}
