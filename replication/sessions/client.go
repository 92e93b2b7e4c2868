package sessions

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// Proposer has an operation executed by the group, however the primary is reached, and returns when the outcome is
// known or the context ends. It makes one attempt: what it may have sent twice ends with
// replication.ErrOutcomeUnknown, if it does not end well. A Client calls it from many goroutines, and calls it again
// with the same operation after replication.ErrNotPrimary and replication.ErrOutcomeUnknown.
type Proposer func(ctx context.Context, operation []byte) replication.Result

// Client has operations executed exactly once each. It registers its session when it is first needed, and another
// when that was dropped or is of no use any more. It has no goroutine of its own and needs no closing.
type Client struct {
	propose Proposer
	options ClientOptions
	slots   chan struct{} // one element for each request under way
	turn    chan struct{} // has an element while somebody registers

	mu   sync.Mutex // guards line
	line *line      // nil: there is none at present
}

// NewClient makes a client. The error is an ErrOptions.
func NewClient(propose Proposer, options ClientOptions) (*Client, error) {
	if propose == nil {
		return nil, fmt.Errorf("%w: no proposer", ErrOptions)
	}
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	return &Client{
		propose: propose, options: options, slots: make(chan struct{}, options.InFlightMax), turn: make(chan struct{}, 1),
	}, nil
}

// Do has an operation executed once. It proposes until the outcome is known or ctx ends; a context without an end
// makes it try for ever. The operation is copied; the Reply's value must not be changed.
//
// Without an error the operation happened. Otherwise the error is an *UnknownError, which Ask takes, or one for which
// replication.DidNotHappen holds: ErrNotSent, a refusal of the table, or the replicator's last refusal.
func (c *Client) Do(ctx context.Context, operation []byte) (Reply, error) {
	if err := enter(ctx, c.slots); err != nil {
		return Reply{}, err
	}
	defer leave(c.slots)
	for failures := 0; ; failures++ {
		r, err := c.take(ctx, operation)
		if err != nil {
			return Reply{}, err
		}
		verdict, answer, err := c.attempt(ctx, &course{}, table.StatusExecuted, r.operation)
		if verdict == verdictUnknown {
			r.leave()
			return Reply{}, r.unknown(err)
		}
		r.settle()
		if verdict == verdictHappened {
			return replyOf(answer), nil
		}
		if !errors.Is(err, ErrSessionDropped) {
			return Reply{}, err
		}
		// No copy of it happened or will: it may be asked in another session.
		c.retire(r.line)
		if ended := c.rest(ctx, failures); ended != nil {
			return Reply{}, fmt.Errorf("%w: %w", err, ended)
		}
	}
}

// Ask finds out what became of a request, and has it executed if it was not. It proposes until that is known or ctx
// ends. The error is an *UnknownError.
func (c *Client) Ask(ctx context.Context, unknown *UnknownError) (Reply, error) {
	again := *unknown
	if enter(ctx, c.slots) != nil {
		again.Err = context.Cause(ctx)
		return Reply{}, &again
	}
	defer leave(c.slots)
	verdict, answer, err := c.attempt(ctx, &course{unknown: true}, table.StatusExecuted, unknown.Operation)
	if verdict == verdictHappened {
		request{line: unknown.line, number: unknown.Request}.settle()
		return replyOf(answer), nil
	}
	again.Err = err
	return Reply{}, &again
}

// attempt proposes an operation until the verdict is clear or ctx ends.
func (c *Client) attempt(ctx context.Context, course *course, hoped table.Status, operation []byte) (verdict, table.Result, error) {
	var last error
	for failures := 0; ctx.Err() == nil; failures++ {
		verdict, answer, err := course.judge(hoped, c.propose(ctx, operation))
		if verdict != verdictAgain {
			return verdict, answer, err
		}
		last = err
		if c.rest(ctx, failures) != nil {
			break
		}
	}
	err := context.Cause(ctx)
	if last != nil {
		err = fmt.Errorf("%w: %w", last, err)
	} else if !course.unknown {
		err = notSent(ctx)
	}
	return course.ended(), table.Result{}, err
}

// take gives an operation a number of the client's session. The error says that the operation did not happen.
func (c *Client) take(ctx context.Context, operation []byte) (request, error) {
	for {
		l, err := c.session(ctx)
		if err != nil {
			return request{}, err
		}
		r, wait, ok := l.take(operation)
		if ok {
			return r, nil
		}
		if wait == nil {
			c.retire(l)
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return request{}, notSent(ctx)
		}
	}
}

// session returns the client's session and registers one if there is none. Only one goroutine registers.
func (c *Client) session(ctx context.Context) (*line, error) {
	if l := c.current(); l != nil {
		return l, nil
	}
	if err := enter(ctx, c.turn); err != nil {
		return nil, err
	}
	defer leave(c.turn)
	if l := c.current(); l != nil {
		return l, nil
	}
	nonce := c.options.Rand()
	// A copy that happens unnoticed makes a session that nobody uses: the table drops it in time.
	verdict, answer, err := c.attempt(ctx, &course{}, table.StatusRegistered, table.Register(nonce))
	switch {
	case verdict == verdictHappened:
		l := &line{session: answer.Session, nonce: nonce, numbers: newNumbers(answer.Window)}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.line = l
		return l, nil
	case replication.DidNotHappen(err):
		return nil, fmt.Errorf("%w: no session: %w", ErrNotSent, err)
	}
	// That a session may have been made leaves no doubt about the request.
	return nil, fmt.Errorf("%w: no session: %s", notSent(ctx), err.Error())
}

func (c *Client) current() *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line
}

// retire makes the next request register a session, if this one is still in use.
func (c *Client) retire(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == l {
		c.line = nil
	}
}

// rest pauses after a failure; the error is why ctx ended.
func (c *Client) rest(ctx context.Context, failures int) error {
	timer := time.NewTimer(c.options.pause(failures))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter takes one of the places of a channel.
func enter(ctx context.Context, places chan<- struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return notSent(ctx)
	}
}

func leave(places <-chan struct{}) { <-places }

func notSent(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx)) }

func replyOf(answer table.Result) Reply {
	return Reply{
		Op: replication.OpNumber(answer.Op), Value: answer.Reply, Dropped: answer.Status == table.StatusReplyDropped,
	}
}
