package survey

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// Errors of Transfer beside those of the context.
var (
	// ErrNotTransferred: the role certainly was not transferred; the text says why.
	ErrNotTransferred = errors.New("survey: the primary's role was not transferred")
	// ErrTransferUnknown: nobody can tell whether it was; the status of the replicas will.
	ErrTransferUnknown = errors.New("survey: it is not known whether the primary's role was transferred")
	// ErrNoReplica: the group has no such replica.
	ErrNoReplica = errors.New("survey: no such replica")
)

// Transferred is what a transfer came to.
type Transferred struct {
	Group   uint32 `json:"group"`
	From    uint32 `json:"from"`
	Primary uint32 `json:"primary"`
	View    uint64 `json:"view"`
}

// Transfer waits until a replica of a group serves, and has it hand its role over to another replica; 0: the one that
// is most caught up. Where the role has moved on meanwhile, it asks the next primary, until ctx ends.
func Transfer(ctx context.Context, group Group, to uint32, dial ...grpc.DialOption) (Transferred, error) {
	addresses := map[uint32]string{}
	for _, member := range group.Members {
		addresses[member.Replica] = member.Address
	}
	if to != 0 && addresses[to] == "" {
		return Transferred{}, fmt.Errorf("%w: group %d has no replica %d", ErrNoReplica, group.ID, to)
	}
	var done Transferred
	err := Poll(ctx, func() error {
		from, err := AwaitPrimary(ctx, group)
		if err != nil {
			return Final{err}
		}
		response, err := askAdmin(addresses[from], dial, func(client pb.AdminServiceClient) (*pb.TransferPrimaryResponse, error) {
			return client.TransferPrimary(ctx, &pb.TransferPrimaryRequest{Group: group.ID, To: to})
		})
		if err != nil {
			return Final{fmt.Errorf("%w: %w", ErrTransferUnknown, err)}
		}
		done = Transferred{Group: group.ID, From: from, Primary: response.GetPrimary(), View: response.GetView()}
		return judge(response.GetError())
	})
	return done, err
}

// judge makes an error of what a node answered; only one that is not primary any more is no end.
func judge(refusal *pb.Error) error {
	switch refusal.GetCode() {
	case pb.Code_CODE_UNSPECIFIED:
		return nil
	case pb.Code_CODE_NOT_PRIMARY:
		return fmt.Errorf("%w: %s", ErrNotTransferred, refusal.GetMessage())
	case pb.Code_CODE_OUTCOME_UNKNOWN, pb.Code_CODE_INTERNAL:
		return Final{fmt.Errorf("%w: %s", ErrTransferUnknown, refusal.GetMessage())}
	default:
		return Final{fmt.Errorf("%w: %s", ErrNotTransferred, refusal.GetMessage())}
	}
}
