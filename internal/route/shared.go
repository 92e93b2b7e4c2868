package route

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// shared lets all who ask the coordinator the same thing at the same time share one request.
type shared struct {
	router *Router
	kind   sharedKind

	mu    sync.Mutex
	turns turns
	next  *round // those who wait in turns
}

// sharedKind is what is asked: request makes the message for so many, read checks its answer and returns the
// number in it.
type sharedKind struct {
	request func(count int) *pb.Request
	read    func(r *Router, response *pb.Response, count int) (uint64, error)
}

// round is one shared request and its answer.
type round struct {
	ready  chan struct{} // closed when answer and err are set
	answer uint64
	err    error

	taken atomic.Int64 // places given to those who waited
}

func newShared(r *Router, kind sharedKind) *shared {
	return &shared{router: r, kind: kind, next: &round{ready: make(chan struct{})}}
}

// ask returns the answer to a request that is sent after the call, and a place among those who share it that
// nobody else gets.
func (s *shared) ask(ctx context.Context) (answer uint64, place int, err error) {
	var last error
	for {
		mine, err := s.join(ctx)
		if err != nil {
			return 0, 0, err
		}
		select {
		case <-mine.ready:
		case <-ctx.Done():
			s.leave(mine)
			return 0, 0, s.router.unanswered(ctx, last)
		}
		if mine.err == nil {
			return mine.answer, int(mine.taken.Add(1)) - 1, nil
		}
		if ctx.Err() != nil {
			return 0, 0, fmt.Errorf("%w: %w", context.Cause(ctx), mine.err)
		}
		if !worthAnother(mine.err) {
			return 0, 0, mine.err
		}
		last = mine.err
	}
}

// unanswered is the error of a caller who gives up waiting for the coordinator.
func (r *Router) unanswered(ctx context.Context, last error) error {
	if last != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), last)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fmt.Errorf("%w: no answer yet from the %s", context.Cause(ctx), at(groupName(CoordinatorGroup), r.groups[CoordinatorGroup].choose()))
}

func (s *shared) join(ctx context.Context) (*round, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	begin, ok := s.turns.join()
	mine := s.next
	if !ok {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: %d are waiting for the coordinator", ErrOverloaded, txn.TimestampsMax)
	}
	if !begin {
		s.mu.Unlock()
		return mine, nil
	}
	count := s.begin()
	s.mu.Unlock()
	s.send(mine, count)
	return mine, nil
}

// leave takes a waiter out of a round that was not sent. One that was sent asks for a number too many.
func (s *shared) leave(mine *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == mine {
		s.turns.leave()
	}
}

// begin closes the round to newcomers; the caller holds the lock.
func (s *shared) begin() int {
	s.next = &round{ready: make(chan struct{})}
	return s.turns.begin()
}

// send sends a round's request. Another copy of it is as good as the first: what the lost one brought is thrown
// away.
func (s *shared) send(b *round, count int) {
	deadline := s.router.now() + int64(s.router.options.SharedTimeout)
	call := Call{Group: CoordinatorGroup, Request: s.kind.request(count), Resend: true}
	s.router.send(newPending(call, deadline, func(response *pb.Response, err error) {
		if err == nil {
			b.answer, err = s.kind.read(s.router, response, count)
		}
		b.err = err
		s.mu.Lock()
		mine, more := s.next, 0
		if s.turns.end() {
			more = s.begin()
		}
		s.mu.Unlock()
		close(b.ready)
		if more > 0 {
			s.send(mine, more)
		}
	}))
}

// malformed is the error of an answer that makes no sense.
func malformed(format string, arguments ...any) error {
	return &Error{Code: pb.Code_CODE_INTERNAL, Message: fmt.Sprintf(format, arguments...)}
}
