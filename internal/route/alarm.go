package route

import (
	"math"
	"sync/atomic"
	"time"
)

// tick is the grain of deadlines and pauses.
const tick = 2 * time.Millisecond

// alarm is the one clock for all deadlines and pauses: the earliest time at which something may have to be
// done. Setting it costs one load unless it is earlier than what is set.
type alarm struct {
	earliest atomic.Int64
	all      atomic.Bool
	wake     chan struct{}
}

func (a *alarm) init() {
	a.earliest.Store(math.MaxInt64)
	a.wake = make(chan struct{}, 1)
}

// at asks for a look at a time. What is to be found then must be in its place already.
func (a *alarm) at(moment int64) {
	for {
		earliest := a.earliest.Load()
		if moment >= earliest {
			return
		}
		if a.earliest.CompareAndSwap(earliest, moment) {
			select {
			case a.wake <- struct{}{}:
			default:
			}
			return
		}
	}
}

// lookAtAll asks for a look at everything now, at what is not due either.
func (a *alarm) lookAtAll() {
	a.all.Store(true)
	a.at(math.MinInt64)
}

// until returns how long to sleep: to the moment set, but never less than a tick.
func (a *alarm) until(now int64) time.Duration {
	earliest := a.earliest.Load()
	if earliest <= now {
		return tick
	}
	return max(time.Duration(earliest-now), tick)
}

// runAlarm looks through what waits whenever something may be due, but not more often than every tick.
func (r *Router) runAlarm() {
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.alarm.wake:
			timer.Reset(r.alarm.until(r.now()))
		case <-timer.C:
			r.alarm.earliest.Store(math.MaxInt64)
			r.alarm.at(r.sweep(r.alarm.all.Swap(false)))
		}
	}
}

// sweep takes up what is due, everywhere, and returns when the next thing will be.
func (r *Router) sweep(all bool) (earliest int64) {
	now := r.now()
	earliest = never
	var awake, late []*pending
	r.mu.Lock()
	nodes := make([]*node, 0, len(r.nodes))
	for _, n := range r.nodes {
		nodes = append(nodes, n)
	}
	for _, g := range r.groups {
		kept := g.parked[:0]
		for _, p := range g.parked {
			switch deadline := p.deadline.Load(); {
			case deadline <= now:
				late = append(late, p)
			case p.wake <= now:
				awake = append(awake, p)
			default:
				kept = append(kept, p)
				earliest = min(earliest, p.wake, deadline)
			}
		}
		clear(g.parked[len(kept):])
		g.parked = kept
	}
	r.mu.Unlock()
	for _, p := range late {
		r.settle(settled{call: p, event: event{kind: expired}, err: ErrDeadline})
	}
	for _, p := range awake {
		r.dispatch(p)
	}
	for _, n := range nodes {
		earliest = min(earliest, n.sweep(now, all))
	}
	return earliest
}
