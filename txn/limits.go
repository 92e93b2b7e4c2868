package txn

import (
	"errors"
	"fmt"
)

// The one table of limits. Sizes are in bytes.
const (
	OIDBytesMin      = 1
	OIDBytesMax      = 4096
	ValueBytesMax    = 1 << 20
	KeysMax          = 10_000
	TxnBytesMax      = 16 << 20
	MessageBytesMax  = 20 << 20
	ParticipantsMax  = 1024
	SlotCount        = 1024
	TimestampsMax    = 65_536
	WhoServesOIDsMax = 10_000
)

// AttemptSpan is how far apart, at most, the timestamps of one transaction's attempts may be: five seconds. A
// clerk that is slower begins a new transaction. Shards remember every decision for at least so long after
// nothing older can prepare any more, and so what they know of an earlier attempt is still there when a later
// one comes.
const AttemptSpan = Timestamp(5_000 << CounterBits)

// ErrLimit is what every LimitError is.
var ErrLimit = errors.New("txn: limit exceeded")

// LimitError names the limit that a request breaks.
type LimitError struct {
	Name   string // of the limit, as the documentation calls it
	Limit  uint64
	Actual uint64
}

// Error gives name, limit and actual.
func (e *LimitError) Error() string {
	if e.Actual < e.Limit {
		return fmt.Sprintf("txn: %s is %d, the least is %d", e.Name, e.Actual, e.Limit)
	}
	return fmt.Sprintf("txn: %s is %d, the limit is %d", e.Name, e.Actual, e.Limit)
}

// Is makes every LimitError an ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// CheckOID returns a *LimitError unless the oid has 1 to 4096 bytes.
func CheckOID(oid string) error {
	if len(oid) < OIDBytesMin {
		return &LimitError{Name: "oid in bytes", Limit: OIDBytesMin, Actual: uint64(len(oid))}
	}
	if len(oid) > OIDBytesMax {
		return &LimitError{Name: "oid in bytes", Limit: OIDBytesMax, Actual: uint64(len(oid))}
	}
	return nil
}

// CheckValue returns a *LimitError if the value is longer than 1 MiB.
func CheckValue(value []byte) error {
	if len(value) > ValueBytesMax {
		return &LimitError{Name: "value in bytes", Limit: ValueBytesMax, Actual: uint64(len(value))}
	}
	return nil
}
