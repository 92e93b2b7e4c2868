package raft

import (
	"context"
	"sync"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// incoming is a call of another replica.
type incoming struct {
	from    peer
	message *pb.RaftMessage
	bytes   int
}

// inbox is a bounded queue of calls for one reader.
type inbox struct {
	max, bytesMax int
	wake          chan struct{} // has a token when something waits

	mu      sync.Mutex // guards what follows
	waiting []incoming
	bytes   int
}

func newInbox(maximum, bytesMax int) *inbox {
	return &inbox{max: maximum, bytesMax: bytesMax, wake: make(chan struct{}, 1)}
}

// put reports whether there was room.
func (b *inbox) put(in incoming) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= b.max || b.bytes > 0 && b.bytes+in.bytes > b.bytesMax {
		return false
	}
	b.waiting = append(b.waiting, in)
	b.bytes += in.bytes
	select {
	case b.wake <- struct{}{}:
	default: // there is one
	}
	return true
}

// load is how many calls wait, and their bytes.
func (b *inbox) load() (calls, bytes uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.waiting)), uint64(b.bytes)
}

// take waits for the oldest; false: ctx has ended.
func (b *inbox) take(ctx context.Context) (incoming, bool) {
	for {
		if in, ok := b.pop(); ok {
			return in, ctx.Err() == nil
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return incoming{}, false
		}
	}
}

func (b *inbox) pop() (incoming, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return incoming{}, false
	}
	in := b.waiting[0]
	b.waiting[0] = incoming{}
	if b.waiting = b.waiting[1:]; len(b.waiting) == 0 {
		b.waiting = nil
	}
	b.bytes -= in.bytes
	return in, true
}
