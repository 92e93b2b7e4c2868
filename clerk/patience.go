package clerk

import (
	"errors"
	"sync"
	"time"

	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/txn"
)

// A primary that is stopped but not dead answers nothing and breaks no connection; a loaded one answers late. How
// long one try of a request waits before the clerk asks whoever is primary by then follows the shard's answers, as
// TCP's retransmission timer follows acknowledgements (RFC 6298): otherwise a shard that is slower than a fixed time
// would be asked everything again and again, and never be heard.
const (
	patienceMin = 500 * time.Millisecond
	patienceMax = 16 * time.Second
	// patiencePerMiB is added for what a try carries: it is marshalled, sent and made durable several times.
	patiencePerMiB = 250 * time.Millisecond
	// sampleBytesMax is the largest request whose answer says how fast the shard is.
	sampleBytesMax = 64 << 10
)

// patience is what the clerk knows about the speed of one shard.
type patience struct {
	mu               sync.Mutex
	smoothed, jitter time.Duration // of answers; 0 before the first
	current          time.Duration // what is below patienceMin stands for that
	raised           time.Time     // when current was last doubled
}

// try is one request to a shard, from its sending to its answer.
type try struct {
	patience *patience
	began    time.Time
	bytes    int
}

// patienceOf returns what is known about a shard.
func (c *Clerk) patienceOf(shard txn.ShardID) *patience {
	if known, ok := c.patiences.Load(shard); ok {
		return known.(*patience)
	}
	known, _ := c.patiences.LoadOrStore(shard, &patience{})
	return known.(*patience)
}

// try begins one, and says when it is given up.
func (p *patience) try(bytes int) (*try, time.Time) {
	t := &try{patience: p, began: time.Now(), bytes: bytes}
	p.mu.Lock()
	defer p.mu.Unlock()
	return t, t.began.Add(max(p.current, patienceMin) + time.Duration(bytes)*patiencePerMiB/(1<<20))
}

// end learns from how a try ended.
func (t *try) end(err error) {
	p := t.patience
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && t.bytes <= sampleBytesMax:
		p.answered(time.Since(t.began))
	case errors.Is(err, route.ErrDeadline) && errors.Is(err, route.ErrOutcomeUnknown) && t.began.After(p.raised):
		// Those that were under way when the time was last doubled say nothing about the new one.
		p.current = min(2*max(p.current, patienceMin), patienceMax)
		p.raised = time.Now()
	}
}

func (p *patience) answered(took time.Duration) {
	if p.smoothed == 0 {
		p.smoothed, p.jitter = took, took/2
	} else {
		p.jitter += ((p.smoothed - took).Abs() - p.jitter) / 4
		p.smoothed += (took - p.smoothed) / 8
	}
	p.current = min(p.smoothed+4*p.jitter, patienceMax)
}
