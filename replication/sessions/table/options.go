package table

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/internal/omit"
)

// Errors of Validate and Apply.
var (
	// ErrOptions: a bound is out of its range.
	ErrOptions = errors.New("sessions: bad options")
	// ErrInvariant: what stands around the table broke its contract. The table applies nothing from then on.
	ErrInvariant = errors.New("sessions: broken invariant")
)

// The values that stand for fields of Options that are 0.
const (
	SessionsDefault          = 10_000
	WindowDefault            = 64
	SessionReplyBytesDefault = 1 << 20
	ReplyBytesDefault        = 64 << 20
)

// The largest values of Options.
const (
	SessionsLimit          = 1 << 20
	WindowLimit            = 1 << 10
	SessionReplyBytesLimit = 1 << 30
	ReplyBytesLimit        = 1 << 40
)

// Options are a table's bounds. They decide what becomes of a request: they are the same on all replicas of a
// group and do not change during its life.
type Options struct {
	// SessionsMax is how many sessions there may be, up to SessionsLimit.
	SessionsMax int
	// WindowMax is how many request numbers of one session are open at once, up to WindowLimit.
	WindowMax int
	// SessionReplyBytesMax and ReplyBytesMax bound the replies that are kept, with 10 bytes for each, of one
	// session and of all, up to SessionReplyBytesLimit and ReplyBytesLimit. The first is at most the second.
	SessionReplyBytesMax, ReplyBytesMax int

	// Omit leaves rules out, in tests only.
	Omit omit.Set
}

// WithDefaults puts a value into each field that is 0.
func (o Options) WithDefaults() Options {
	setDefault(&o.SessionsMax, SessionsDefault)
	setDefault(&o.WindowMax, WindowDefault)
	setDefault(&o.SessionReplyBytesMax, SessionReplyBytesDefault)
	if o.ReplyBytesMax == 0 {
		o.ReplyBytesMax = max(ReplyBytesDefault, o.SessionReplyBytesMax)
	}
	return o
}

func setDefault(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

// Validate returns an ErrOptions that names what is wrong, or nil.
func (o Options) Validate() error {
	o = o.WithDefaults()
	for _, field := range []struct {
		name         string
		value, limit int
	}{
		{"SessionsMax", o.SessionsMax, SessionsLimit},
		{"WindowMax", o.WindowMax, WindowLimit},
		{"ReplyBytesMax", o.ReplyBytesMax, ReplyBytesLimit},
		{"SessionReplyBytesMax", o.SessionReplyBytesMax, min(o.ReplyBytesMax, SessionReplyBytesLimit)},
	} {
		if field.value < 1 || field.value > field.limit {
			return fmt.Errorf("%w: %s is %d, not 1 to %d", ErrOptions, field.name, field.value, field.limit)
		}
	}
	return nil
}
