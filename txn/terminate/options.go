package terminate

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// The defaults of Options.
const (
	DefaultTriesMax         = 10
	DefaultBackoffMillisMin = 20
	DefaultBackoffMillisMax = 1000
)

// Options tune a Machine. The zero value is good.
type Options struct {
	// TriesMax bounds the tries of each request. What is given up is taken up again by the next terminator, as
	// long as a shard holds the attempt or remembers a commit without an END. The fences of an Outcome are
	// repeated until they are answered or the caller gives up. 0 means 10.
	TriesMax int
	// BackoffMillisMin and Max bound the wait before the next try; it doubles. 0 means 20 and 1000.
	BackoffMillisMin uint32
	BackoffMillisMax uint32
	// Omit takes rules out, for tests only.
	Omit omit.Set
}

// ErrOptions is what every error of Validate is.
var ErrOptions = errors.New("terminate: bad options")

// Validate reports the first field that is out of range, as an ErrOptions.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case o.TriesMax < 1:
		return fmt.Errorf("%w: TriesMax is %d, at least 1 is needed", ErrOptions, o.TriesMax)
	case o.BackoffMillisMin > o.BackoffMillisMax:
		return fmt.Errorf("%w: BackoffMillisMin %d is above BackoffMillisMax %d", ErrOptions, o.BackoffMillisMin, o.BackoffMillisMax)
	default:
		return nil
	}
}

func (o Options) withDefaults() Options {
	if o.TriesMax == 0 {
		o.TriesMax = DefaultTriesMax
	}
	if o.BackoffMillisMin == 0 {
		o.BackoffMillisMin = DefaultBackoffMillisMin
	}
	if o.BackoffMillisMax == 0 {
		o.BackoffMillisMax = max(DefaultBackoffMillisMax, o.BackoffMillisMin)
	}
	return o
}

// ErrParticipants says that the participants do not make a transaction.
var ErrParticipants = errors.New("terminate: bad participants")

func checkParticipants(self txn.ShardID, participants []txn.ShardID) error {
	if len(participants) == 0 || len(participants) > txn.ParticipantsMax {
		return fmt.Errorf("%w: there are %d, 1 to %d are allowed", ErrParticipants, len(participants), txn.ParticipantsMax)
	}
	found := false
	for i, shard := range participants {
		if i > 0 && participants[i-1] >= shard {
			return fmt.Errorf("%w: shard %d after shard %d", ErrParticipants, shard, participants[i-1])
		}
		found = found || shard == self
	}
	if !found {
		return fmt.Errorf("%w: the shard's own number %d is not among them", ErrParticipants, self)
	}
	return nil
}
