package raft

import (
	"sync"

	"github.com/viewline/viewline/replication"
)

// proposal is an operation that has no answer yet.
type proposal struct {
	view      replication.ViewNumber
	operation []byte
	done      func(replication.Result)
}

// queue holds the operations that hashicorp/raft has not taken, and bounds those that have no answer. Putting never
// blocks.
type queue struct {
	max, bytesMax int
	wake          chan struct{} // has a token when something waits, or after close

	mu                sync.Mutex // guards what follows
	waiting           []proposal
	unanswered, bytes int
	closed            error
	held              bool            // the leadership is being handed over
	drained           []chan struct{} // closed when nothing is unanswered
}

func newQueue(o Options) *queue {
	return &queue{max: o.QueueMax, bytesMax: o.QueueBytesMax, wake: make(chan struct{}, 1)}
}

// put takes an operation. Its error is certain.
func (q *queue) put(p proposal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed != nil:
		return q.closed
	case q.held:
		return &replication.NotPrimaryError{View: p.view}
	case q.unanswered >= q.max || q.bytes+len(p.operation) > q.bytesMax:
		return replication.ErrOverloaded
	}
	q.unanswered++
	q.bytes += len(p.operation)
	q.waiting = append(q.waiting, p)
	q.signal()
	return nil
}

// signal needs mu.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // it has one
	}
}

// take waits for operations and takes all, into the memory of those before; false: there will be none.
func (q *queue) take(before []proposal) ([]proposal, bool) {
	clear(before)
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			taken := q.waiting
			q.waiting = before[:0]
			q.mu.Unlock()
			return taken, true
		}
		over := q.closed != nil
		q.mu.Unlock()
		if over {
			return nil, false
		}
		<-q.wake
	}
}

// load is how many operations wait for their answers, and their bytes.
func (q *queue) load() (operations, bytes uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return uint64(q.unanswered), uint64(q.bytes)
}

// answer gives an operation its outcome.
func (q *queue) answer(p proposal, result replication.Result) {
	p.done(result)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unanswered--
	q.bytes -= len(p.operation)
	q.release()
}

// release needs mu.
func (q *queue) release() {
	if q.unanswered > 0 {
		return
	}
	for _, waiter := range q.drained {
		close(waiter)
	}
	q.drained = nil
}

// hold refuses operations from here on, and returns a channel that is closed when those before have their answers.
func (q *queue) hold() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = true
	drained := make(chan struct{})
	q.drained = append(q.drained, drained)
	q.release()
	return drained
}

// resume takes operations again.
func (q *queue) resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = false
}

// close refuses operations with an error from here on. Those that wait are still given to take's caller.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = why
	}
	q.signal()
}
