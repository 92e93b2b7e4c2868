package route

import (
	"errors"
	"fmt"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// ErrOptions is what every error of Options.Validate is.
var ErrOptions = errors.New("route: bad options")

// Errors of a request. For all but ErrOutcomeUnknown, Certain holds; an error that is ErrOutcomeUnknown may be
// one of the others too, which then says why it is not known.
var (
	// ErrOutcomeUnknown: the request may have had an effect, or may have one later.
	ErrOutcomeUnknown = errors.New("route: outcome unknown")
	// ErrClosed: the Router is closed.
	ErrClosed = errors.New("route: closed")
	// ErrDeadline: the request's time was used up.
	ErrDeadline = errors.New("route: deadline exceeded")
	// ErrOverloaded: too much waits, here or at the server.
	ErrOverloaded = errors.New("route: overloaded")
	// ErrUnavailable: nobody serves the group at the moment.
	ErrUnavailable = errors.New("route: unavailable")
	// ErrNotPrimary: the replica asked does not lead its group.
	ErrNotPrimary = errors.New("route: not the primary")
	// ErrNotConnected: the node was not reached, so the request was not written.
	ErrNotConnected = errors.New("route: not connected")
	// ErrUnknownGroup: there is no such group in the map, or the node asked has no replica of it.
	ErrUnknownGroup = errors.New("route: unknown group")
	// ErrWrongShard: the shard does not serve a slot of the request.
	ErrWrongShard = errors.New("route: wrong shard")
	// ErrWrongCluster: the server belongs to another cluster.
	ErrWrongCluster = errors.New("route: wrong cluster")
	// ErrFutureTimestamp: the shard does not know yet that the timestamp was handed out.
	ErrFutureTimestamp = errors.New("route: future timestamp")
	// ErrSnapshotTooOld: the snapshot lies below the shard's version horizon.
	ErrSnapshotTooOld = errors.New("route: snapshot too old")
	// ErrInvalidArgument: the server could make no sense of the request.
	ErrInvalidArgument = errors.New("route: invalid argument")
	// ErrLimit: the request breaks a limit; *Error names it.
	ErrLimit = errors.New("route: limit exceeded")
	// ErrVersion: the server does not speak this version of the wire format.
	ErrVersion = errors.New("route: wire version not spoken")
	// ErrInternal: the server failed in a way that it could not explain.
	ErrInternal = errors.New("route: internal error of the server")
)

// Error is a refusal by a server.
type Error struct {
	Code    pb.Code
	Message string
	// PrimaryAddress, Epoch and View are the refusing replica's belief about its group; the address may be empty.
	PrimaryAddress string
	Epoch          uint64
	View           uint64
	// MapVersion is the server's, with CODE_WRONG_SHARD.
	MapVersion uint64
	// LimitName, Limit and Actual name a broken limit, with CODE_LIMIT.
	LimitName string
	Limit     uint64
	Actual    uint64
}

// Error gives the code's meaning and the server's own words.
func (e *Error) Error() string {
	text := fmt.Sprintf("route: refused: %v", e.Code)
	if sentinel := e.sentinel(); sentinel != nil {
		text = sentinel.Error()
	}
	if e.LimitName != "" {
		text += fmt.Sprintf(": %s is %d, the limit is %d", e.LimitName, e.Actual, e.Limit)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Is makes an Error the sentinel of its code. CODE_INTERNAL is both ErrInternal and ErrOutcomeUnknown.
func (e *Error) Is(target error) bool {
	if target == ErrOutcomeUnknown && e.Code == pb.Code_CODE_INTERNAL {
		return true
	}
	sentinel := e.sentinel()
	return sentinel != nil && target == sentinel
}

// sentinel returns the error that stands for the code. A code that is not known here may mean anything, so its
// outcome counts as unknown.
func (e *Error) sentinel() error {
	switch e.Code {
	case pb.Code_CODE_NOT_PRIMARY:
		return ErrNotPrimary
	case pb.Code_CODE_OVERLOADED:
		return ErrOverloaded
	case pb.Code_CODE_WRONG_SHARD:
		return ErrWrongShard
	case pb.Code_CODE_WRONG_CLUSTER:
		return ErrWrongCluster
	case pb.Code_CODE_FUTURE_TIMESTAMP:
		return ErrFutureTimestamp
	case pb.Code_CODE_SNAPSHOT_TOO_OLD:
		return ErrSnapshotTooOld
	case pb.Code_CODE_INVALID_ARGUMENT:
		return ErrInvalidArgument
	case pb.Code_CODE_LIMIT:
		return ErrLimit
	case pb.Code_CODE_UNAVAILABLE:
		return ErrUnavailable
	case pb.Code_CODE_DEADLINE:
		return ErrDeadline
	case pb.Code_CODE_INTERNAL:
		return ErrInternal
	case pb.Code_CODE_VERSION:
		return ErrVersion
	case pb.Code_CODE_UNKNOWN_GROUP:
		return ErrUnknownGroup
	default:
		return ErrOutcomeUnknown
	}
}

// Certain reports whether an error of Send or Do says that the request had no effect and never will have one.
// It does not hold for nil.
func Certain(err error) bool {
	return err != nil && !errors.Is(err, ErrOutcomeUnknown)
}

// refusal turns an error of the wire into an *Error.
func refusal(e *pb.Error) *Error {
	return &Error{
		Code: e.GetCode(), Message: e.GetMessage(), PrimaryAddress: e.GetPrimaryAddress(), Epoch: e.GetEpoch(), View: e.GetView(),
		MapVersion: e.GetMapVersion(), LimitName: e.GetLimitName(), Limit: e.GetLimit(), Actual: e.GetActual(),
	}
}

// unknown marks an error as one after which the outcome is not known.
func unknown(err error) error {
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}
