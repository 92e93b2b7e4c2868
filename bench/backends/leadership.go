package backends

import (
	"context"
	"sync"

	"github.com/viewline/viewline/replication"
)

// leadership is what a replica's events have said last.
type leadership struct {
	mu      sync.Mutex
	event   replication.Event
	changed chan struct{} // closed with the next event
}

func newLeadership() *leadership { return &leadership{changed: make(chan struct{})} }

// follow reads the events to their end.
func (l *leadership) follow(events <-chan replication.Event) {
	for event := range events {
		l.mu.Lock()
		l.event = event
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

func (l *leadership) now() (event replication.Event, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.event, l.changed
}

// await waits until this replica leads, and returns the view; false: ctx has ended.
func (l *leadership) await(ctx context.Context) (replication.ViewNumber, bool) {
	for ctx.Err() == nil {
		event, changed := l.now()
		if event.Leading {
			return event.View, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return 0, false
}
