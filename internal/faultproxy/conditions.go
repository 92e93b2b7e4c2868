package faultproxy

import (
	"math/rand/v2"
	"time"
)

// Conditions are those of a link. The zero value carries everything at once.
type Conditions struct {
	// Cut: every connection is reset, and each new one as soon as it was made.
	Cut bool
	// Forward is the way from who connected to the target, Backward the way of the answers.
	Forward, Backward Condition
}

// Condition is that of one direction of a link.
type Condition struct {
	// Delay is how late everything arrives, and Jitter how much later it may be: drawn for each piece, but what was
	// sent first arrives first.
	Delay, Jitter time.Duration
	// BytesPerSecond bounds what each connection carries; 0: without bound.
	BytesPerSecond int
	// Hold: nothing is carried, and nothing lost. It goes on where it stood.
	Hold bool
	// Swallow: nothing arrives, and who sends it does not learn that. A connection that has lost something is reset
	// when it ends.
	Swallow bool
	// CorruptEvery is about after how many bytes one is altered; 0: none is. A connection that carried an altered byte
	// is reset when it ends.
	CorruptEvery int
}

// damages reports whether a connection may have carried something else than was sent.
func (c Condition) damages() bool { return c.Swallow || c.CorruptEvery > 0 }

// Ranges of Slow, which leave a protocol with time-outs of about a second alive.
const (
	slowDelayMax     = 60 * time.Millisecond
	slowJitterMax    = 40 * time.Millisecond
	slowBytesMin     = 64 << 10
	slowBytesMax     = 1 << 20
	corruptEveryMin  = 256
	corruptEveryMax  = 16 << 10
	slowOneWayChance = 3 // one in so many
)

// Slow draws a link that is slow, at times in one direction only.
func Slow(random *rand.Rand) Conditions {
	draw := func() Condition {
		return Condition{
			Delay:          time.Millisecond + time.Duration(random.Int64N(int64(slowDelayMax))),
			Jitter:         time.Duration(random.Int64N(int64(slowJitterMax))),
			BytesPerSecond: slowBytesMin + random.IntN(slowBytesMax-slowBytesMin),
		}
	}
	if random.IntN(slowOneWayChance) == 0 {
		return Conditions{Forward: draw()}
	}
	return Conditions{Forward: draw(), Backward: draw()}
}

// Corrupting draws a link that alters a byte now and then, in both directions.
func Corrupting(random *rand.Rand) Conditions {
	draw := func() Condition {
		return Condition{CorruptEvery: corruptEveryMin + random.IntN(corruptEveryMax-corruptEveryMin)}
	}
	return Conditions{Forward: draw(), Backward: draw()}
}
