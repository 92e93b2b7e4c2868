package clerk

import (
	"sync"
	"time"
)

// loop runs a machine that belongs to no goroutine of its own. Events come from the router's goroutines, from
// timers and from the caller; whoever finds the machine idle runs it until no event is left.
type loop[E any] struct {
	handle func(E)

	mu      sync.Mutex
	running bool
	events  []E // bounded by what the machine has asked for
}

// start runs begin as the machine's first step; events that it causes come after it.
func (l *loop[E]) start(begin func()) {
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
	begin()
	l.mu.Lock()
	l.drain()
}

func (l *loop[E]) post(event E) {
	l.mu.Lock()
	l.events = append(l.events, event)
	if l.running {
		l.mu.Unlock()
		return
	}
	l.running = true
	l.drain()
}

// drain is entered with the lock held and leaves without it.
func (l *loop[E]) drain() {
	for len(l.events) > 0 {
		next := l.events[0]
		l.events = l.events[1:]
		l.mu.Unlock()
		l.handle(next)
		l.mu.Lock()
	}
	l.running = false
	l.mu.Unlock()
}

// after calls a function when some milliseconds are over, unless the clerk's connections are closed by then: what a
// machine still wants is the shards' to finish then.
func (c *Clerk) after(millis uint32, do func()) {
	time.AfterFunc(time.Duration(millis)*time.Millisecond, func() {
		select {
		case <-c.router.Done():
		default:
			do()
		}
	})
}
