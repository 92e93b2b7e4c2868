package sessions

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/viewline/viewline/replication/sessions/table"
)

// The values that stand for fields of Options that are 0.
const (
	SessionsDefault          = table.SessionsDefault
	WindowDefault            = table.WindowDefault
	SessionReplyBytesDefault = table.SessionReplyBytesDefault
	ReplyBytesDefault        = table.ReplyBytesDefault
)

// Options are the bounds of a client-table. They decide what becomes of a request: they are the same on all
// replicas of a group, and a group keeps them for life. Restore refuses a checkpoint that has others.
//
// The table takes about 200 bytes for each session, 32 for each number of its window that was in use at once, and
// the replies.
type Options struct {
	// SessionsMax is how many sessions there may be, up to 2^20. One more drops the one used longest ago.
	SessionsMax int
	// WindowMax is how many requests of one session may be under way at once, up to 1,024.
	WindowMax int
	// SessionReplyBytesMax and ReplyBytesMax bound the replies that are kept, with 10 bytes for each, of one
	// session (up to 1 GiB) and of all (up to 1 TiB). The first is at most the second.
	SessionReplyBytesMax, ReplyBytesMax int

	// Logger is told when the machine or the backend breaks its contract. nil: nobody is.
	Logger *slog.Logger
}

// Validate returns an ErrOptions that names what is wrong, or nil.
func (o Options) Validate() error { return o.table().Validate() }

func (o Options) table() table.Options {
	return table.Options{
		SessionsMax: o.SessionsMax, WindowMax: o.WindowMax, SessionReplyBytesMax: o.SessionReplyBytesMax, ReplyBytesMax: o.ReplyBytesMax,
	}
}

// The values that stand for fields of ClientOptions that are 0.
const (
	InFlightDefault   = 32
	BackoffMinDefault = 5 * time.Millisecond
	BackoffMaxDefault = 500 * time.Millisecond
)

const backoffLimit = time.Hour

// ClientOptions describes a Client.
type ClientOptions struct {
	// InFlightMax is how many requests are under way at once, up to 1,024; more wait. The window of the group's
	// table bounds it too.
	InFlightMax int
	// The pause after a failed attempt begins at BackoffMin and doubles up to BackoffMax, at most an hour; up to
	// half of it, drawn at random, is left out.
	BackoffMin, BackoffMax time.Duration
	// Rand draws nonces and pauses; it is called from many goroutines. nil: math/rand/v2.
	Rand func() uint64
}

// Validate returns an ErrOptions that names what is wrong, or nil.
func (o ClientOptions) Validate() error {
	o = o.withDefaults()
	switch {
	case o.InFlightMax < 1 || o.InFlightMax > table.WindowLimit:
		return fmt.Errorf("%w: InFlightMax is %d, not 1 to %d", ErrOptions, o.InFlightMax, table.WindowLimit)
	case o.BackoffMin < 0:
		return fmt.Errorf("%w: BackoffMin is negative", ErrOptions)
	case o.BackoffMax < o.BackoffMin || o.BackoffMax > backoffLimit:
		return fmt.Errorf("%w: BackoffMax is %v, not BackoffMin %v to %v", ErrOptions, o.BackoffMax, o.BackoffMin, backoffLimit)
	}
	return nil
}

func (o ClientOptions) withDefaults() ClientOptions {
	if o.InFlightMax == 0 {
		o.InFlightMax = InFlightDefault
	}
	if o.BackoffMin == 0 {
		o.BackoffMin = BackoffMinDefault
	}
	if o.BackoffMax == 0 {
		o.BackoffMax = max(BackoffMaxDefault, o.BackoffMin)
	}
	if o.Rand == nil {
		o.Rand = rand.Uint64
	}
	return o
}

// pause is how long to wait after so many failures in a row before this one.
func (o ClientOptions) pause(failures int) time.Duration {
	delay := o.BackoffMin
	for ; failures > 0 && delay < o.BackoffMax; failures-- {
		delay = min(2*delay, o.BackoffMax)
	}
	return delay - time.Duration(o.Rand()%uint64(delay/2+1))
}
