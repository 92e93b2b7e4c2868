package commit

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// The defaults of Options.
const (
	DefaultAttemptsMax      = 8
	DefaultCopiesMax        = 1
	DefaultTriesMax         = 20
	DefaultBackoffMillisMin = 10
	DefaultBackoffMillisMax = 1000
)

// Options tune a Machine. The zero value is good.
type Options struct {
	// AttemptsMax bounds the attempts of one transaction; then it is answered Aborted with Rerun. 0 means 8.
	AttemptsMax int
	// AttemptSpan is how far the timestamp of the last attempt may lie above that of the first; a transaction
	// that is slower is answered Aborted with Rerun. No shard may count on less (history.Options.AttemptSpan).
	// 0 means txn.AttemptSpan.
	AttemptSpan txn.Timestamp
	// CopiesMax bounds the copies of one PrepareTxn or CommitOnePhase to one participant; when so many are
	// lost, the participant is fenced. At 2 a transaction rides over a change of primary without a new
	// timestamp. 0 means 1, the maximum is 8.
	CopiesMax int
	// TriesMax bounds the tries of each fence, CommitTxn and AbortTxn once the caller has its answer; what is
	// left is the terminators' work. Before that a fence is repeated until it is answered or the caller gives
	// up. 0 means 20.
	TriesMax int
	// BackoffMillisMin and Max bound the wait before the next try; it doubles. 0 means 10 and 1000.
	BackoffMillisMin uint32
	BackoffMillisMax uint32
	// Omit takes rules out, for tests only.
	Omit omit.Set
}

// ErrOptions is what every error of Validate is.
var ErrOptions = errors.New("commit: bad options")

// Validate reports the first field that is out of range, as an ErrOptions.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case o.AttemptsMax < 1:
		return fmt.Errorf("%w: AttemptsMax is %d, at least 1 is needed", ErrOptions, o.AttemptsMax)
	case o.CopiesMax < 1 || o.CopiesMax > 8:
		return fmt.Errorf("%w: CopiesMax is %d, it must be 1 to 8", ErrOptions, o.CopiesMax)
	case o.TriesMax < 1:
		return fmt.Errorf("%w: TriesMax is %d, at least 1 is needed", ErrOptions, o.TriesMax)
	case o.BackoffMillisMin > o.BackoffMillisMax:
		return fmt.Errorf("%w: BackoffMillisMin %d is above BackoffMillisMax %d", ErrOptions, o.BackoffMillisMin, o.BackoffMillisMax)
	default:
		return nil
	}
}

func (o Options) withDefaults() Options {
	if o.AttemptsMax == 0 {
		o.AttemptsMax = DefaultAttemptsMax
	}
	if o.AttemptSpan == 0 {
		o.AttemptSpan = txn.AttemptSpan
	}
	if o.CopiesMax == 0 {
		o.CopiesMax = DefaultCopiesMax
	}
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

// Part is what one participant has to do with the transaction: reads and writes ascending by OID, either or
// both of them possibly empty.
type Part struct {
	Shard  txn.ShardID
	Reads  []txn.ReadEntry
	Writes []txn.WriteEntry
}

// ErrParts says that the participants do not make a transaction.
var ErrParts = errors.New("commit: bad participants")

// checkParts wants the participants ascending and the home shard among them: its record answers for the
// transaction, so it takes part in every attempt even if it has nothing to read or write.
func checkParts(home txn.ShardID, parts []Part) error {
	if len(parts) == 0 || len(parts) > txn.ParticipantsMax {
		return fmt.Errorf("%w: there are %d, 1 to %d are allowed", ErrParts, len(parts), txn.ParticipantsMax)
	}
	homeTakesPart := false
	for i, part := range parts {
		if i > 0 && parts[i-1].Shard >= part.Shard {
			return fmt.Errorf("%w: shard %d after shard %d", ErrParts, part.Shard, parts[i-1].Shard)
		}
		homeTakesPart = homeTakesPart || part.Shard == home
	}
	if !homeTakesPart {
		return fmt.Errorf("%w: the home shard %d is not among them", ErrParts, home)
	}
	return nil
}
