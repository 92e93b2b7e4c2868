package shardserver

import (
	"context"
	"sync"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// bounds holds requests back whose timestamp lies beyond what this shard knows to have been handed out. All
// that wait share one question to the coordinator that was sent after they came, so a timestamp from nowhere
// can stop nobody's writes and an honest one costs at most one round trip.
type bounds struct {
	server *Server
	wake   chan struct{}

	mu      sync.Mutex
	open    bool // the goroutine runs, or is about to
	waiting []boundWait
}

type boundWait struct {
	call *call
	ts   txn.Timestamp
	// resume takes the request up again; its timestamp is known to be good.
	resume func()
}

func newBounds(s *Server) *bounds {
	return &bounds{server: s, wake: make(chan struct{}, 1)}
}

// check calls resume at once if ts is known to be good; else it keeps the request until that is known.
func (b *bounds) check(c *call, ts txn.Timestamp, resume func()) {
	if ts <= b.server.options.Router.Bound() {
		resume()
		return
	}
	b.mu.Lock()
	open, full := b.open, len(b.waiting) >= b.server.options.WaitsMax
	if open && !full {
		b.waiting = append(b.waiting, boundWait{call: c, ts: ts, resume: resume})
	}
	b.mu.Unlock()
	switch {
	case !open:
		c.failNotServing()
		return
	case full:
		c.failWaits()
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine that asks. It ends with the server's context, and leaves nobody waiting.
func (b *bounds) run() {
	for {
		select {
		case <-b.wake:
		case <-b.server.ctx.Done():
		}
		over := b.server.ctx.Err() != nil
		for waiting := b.take(over); len(waiting) > 0; waiting = b.take(over) {
			b.ask(waiting)
		}
		if over {
			return
		}
	}
}

// start lets requests wait.
func (b *bounds) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = true
}

// take returns those who wait; after the last time nobody waits any more.
func (b *bounds) take(last bool) []boundWait {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := b.waiting
	b.waiting = nil
	b.open = b.open && !last
	return waiting
}

func (b *bounds) ask(waiting []boundWait) {
	s := b.server
	ctx, cancel := context.WithTimeout(s.ctx, s.options.CallTimeout)
	defer cancel()
	s.counts.boundRefreshes.Add(1)
	bound, err := s.options.Router.RefreshBound(ctx)
	if err != nil {
		bound = s.options.Router.Bound() // perhaps somebody else has raised it
	}
	for _, wait := range waiting {
		switch {
		case wait.ts <= bound:
			wait.resume()
		case err != nil:
			wait.call.fail(pb.Code_CODE_UNAVAILABLE, "the coordinator does not say how far its timestamps are: %v", err)
		default:
			s.counts.futureTimestamps.Add(1)
			wait.call.fail(pb.Code_CODE_FUTURE_TIMESTAMP, "timestamp %d was not handed out yet; the last known one is %d", wait.ts, bound)
		}
	}
}
