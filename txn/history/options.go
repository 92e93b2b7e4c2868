package history

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// Bounds that hold when the options leave them at zero.
const (
	ReadStampsMaxDefault = 1 << 17
	DecisionsMaxDefault  = 1 << 22
	PreparedMaxDefault   = 1 << 16
	InFlightMaxDefault   = 1 << 14
	SnapStampsMaxDefault = 1 << 17
	WaitsMaxDefault      = 1 << 14
)

// AttemptSpanNone is an Options.AttemptSpan for transactions of one attempt.
const AttemptSpanNone = ^txn.Timestamp(0)

// ErrOptions is what every refusal of options is.
var ErrOptions = errors.New("history: invalid options")

// Options configure a State. The bounds decide verdicts, so they must be the same on all replicas of a
// group and stay the same while its log lives.
type Options struct {
	// Shard is the one whose state this is; never 0.
	Shard txn.ShardID
	// SlotOf maps an object to its slot, below txn.SlotCount; the same function everywhere, for ever.
	SlotOf func(oid string) uint16
	// ReadStampsMax bounds the objects that have a read stamp of their own; 0 means ReadStampsMaxDefault.
	ReadStampsMax int
	// DecisionsMax bounds the transactions that are remembered, prepared ones included, at some 240 bytes each; 0
	// means DecisionsMaxDefault.
	DecisionsMax int
	// PreparedMax bounds the history line; 0 means PreparedMaxDefault.
	PreparedMax int
	// AttemptSpan is how far apart the timestamps of one transaction's attempts may be; the record horizon stays
	// so far below the threshold. No clerk may allow itself more (commit.Options.AttemptSpan). 0 means
	// txn.AttemptSpan.
	AttemptSpan txn.Timestamp
	// Omit takes rules out, in tests only; see rules.go.
	Omit omit.Set
}

// Validate returns an ErrOptions unless the options can be used.
func (o Options) Validate() error {
	switch {
	case o.Shard == 0:
		return fmt.Errorf("%w: Shard is 0, which is the coordinator's group", ErrOptions)
	case o.SlotOf == nil:
		return fmt.Errorf("%w: SlotOf is missing", ErrOptions)
	case o.ReadStampsMax < 0 || o.DecisionsMax < 0 || o.PreparedMax < 0:
		return fmt.Errorf("%w: a negative bound: ReadStampsMax %d, DecisionsMax %d, PreparedMax %d",
			ErrOptions, o.ReadStampsMax, o.DecisionsMax, o.PreparedMax)
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.ReadStampsMax = orDefault(o.ReadStampsMax, ReadStampsMaxDefault)
	o.DecisionsMax = orDefault(o.DecisionsMax, DecisionsMaxDefault)
	o.PreparedMax = orDefault(o.PreparedMax, PreparedMaxDefault)
	if o.AttemptSpan == 0 {
		o.AttemptSpan = txn.AttemptSpan
	}
	return o
}

// FrontOptions configure a Front. They concern one primary only and may differ between replicas.
type FrontOptions struct {
	// InFlightMax bounds the operations between pre-validation and Apply; 0 means InFlightMaxDefault.
	InFlightMax int
	// SnapStampsMax bounds the objects that have a snapshot stamp of their own; 0 means SnapStampsMaxDefault.
	SnapStampsMax int
	// WaitsMax bounds those who wait for a decision; 0 means WaitsMaxDefault.
	WaitsMax int
	// Omit takes rules out, in tests only; see rules.go.
	Omit omit.Set
}

// Validate returns an ErrOptions unless the options can be used.
func (o FrontOptions) Validate() error {
	if o.InFlightMax < 0 || o.SnapStampsMax < 0 || o.WaitsMax < 0 {
		return fmt.Errorf("%w: a negative bound: InFlightMax %d, SnapStampsMax %d, WaitsMax %d",
			ErrOptions, o.InFlightMax, o.SnapStampsMax, o.WaitsMax)
	}
	return nil
}

func (o FrontOptions) withDefaults() FrontOptions {
	o.InFlightMax = orDefault(o.InFlightMax, InFlightMaxDefault)
	o.SnapStampsMax = orDefault(o.SnapStampsMax, SnapStampsMaxDefault)
	o.WaitsMax = orDefault(o.WaitsMax, WaitsMaxDefault)
	return o
}

func orDefault(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}
