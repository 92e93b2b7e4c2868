package sessions

import (
	"sync"

	"github.com/viewline/viewline/replication/sessions/table"
)

// line is one session of a Client with its numbers, for many goroutines.
type line struct {
	session, nonce uint64

	mu      sync.Mutex // guards what follows
	numbers numbers
	changed chan struct{} // closed when a number is closed or left; nil: nobody waits for that
}

// request is one request that has its number.
type request struct {
	line      *line
	number    uint64
	operation []byte // the bytes of every copy
}

// take gives an operation its number. Without room it returns a channel that is closed when there may be some, or
// nil when there never will be.
func (l *line) take(operation []byte) (r request, wait <-chan struct{}, ok bool) {
	l.mu.Lock()
	number, acknowledged, ok := l.numbers.take()
	if !ok {
		defer l.mu.Unlock()
		if l.numbers.stuck() {
			return request{}, nil, false
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		return request{}, l.changed, false
	}
	l.mu.Unlock()
	encoded := table.Request{Session: l.session, Nonce: l.nonce, Number: number, Acknowledged: acknowledged, Operation: operation}.Encode()
	return request{line: l, number: number, operation: encoded}, nil, true
}

// settle closes the request's number: its outcome is known.
func (r request) settle() {
	if r.line != nil {
		r.line.change(func(n *numbers) { n.settle(r.number) })
	}
}

// leave says that nobody waits for the request's outcome, which is not known.
func (r request) leave() { r.line.change(func(n *numbers) { n.leave(r.number) }) }

func (l *line) change(how func(*numbers)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	how(&l.numbers)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// unknown is the error for the request.
func (r request) unknown(err error) *UnknownError {
	return &UnknownError{Session: r.line.session, Request: r.number, Operation: r.operation, Err: err, line: r.line}
}
