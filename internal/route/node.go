package route

import (
	"fmt"
	"sync"
	"time"
)

// node is the way to one address: a queue of requests that wait for their turn, and at most one stream.
type node struct {
	router  *Router
	address string

	mu sync.Mutex
	// closed: it takes nothing any more.
	closed bool
	// link is the stream; nil while there is none. connecting: there will be one, or a failure, soon.
	link       *link
	connecting bool
	// retryAt is when the next attempt to connect may begin, failures counts those in a row, failure is the last.
	retryAt  int64
	failures int
	failure  error
	// waiting is what has not been handed to the stream: what ends transactions, and the rest, each in order.
	waiting struct{ ends, others queue }
	// unanswered is what has, by id. Invariant: others counts those in it that do not end a transaction.
	unanswered map[uint64]*copyOf
	others     int
	nextID     uint64
	// heard is when the stream last brought anything.
	heard int64
	// earliest is at or before the first deadline of all in waiting and unanswered.
	earliest int64
}

// submit takes a request. It returns false when the node is not reached: the request was not written then.
func (n *node) submit(p *pending) bool {
	n.mu.Lock()
	if n.closed || n.link == nil && !n.connecting && !n.connect() {
		n.mu.Unlock()
		return false
	}
	if p.ends {
		n.waiting.ends.push(p)
	} else {
		n.waiting.others.push(p)
	}
	// The deadline is read when the request is in its place: whoever moves it looks at all places afterwards.
	deadline := p.deadline.Load()
	n.earliest = min(n.earliest, deadline)
	n.pump()
	n.mu.Unlock()
	n.router.alarm.at(deadline)
	return true
}

// connect starts an attempt to connect, unless the last one failed too recently. The caller holds the lock.
func (n *node) connect() bool {
	if n.router.now() < n.retryAt || n.router.ctx.Err() != nil {
		return false
	}
	n.connecting = true
	n.router.work.Go(n.run)
	return true
}

// unreached is why submit refused.
func (n *node) unreached() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure == nil {
		return fmt.Errorf("%w: %s", ErrNotConnected, n.address)
	}
	return n.failure
}

// pump hands requests that wait to the stream, as many as may be unanswered. The caller holds the lock.
func (n *node) pump() {
	if n.link == nil {
		return
	}
	most := n.router.options.OutstandingMax
	for n.waiting.ends.len() > 0 && len(n.unanswered) < most {
		n.hand(n.waiting.ends.pop())
	}
	for n.waiting.others.len() > 0 && len(n.unanswered) < most && n.others < most-n.router.options.ReservedForEnd {
		n.hand(n.waiting.others.pop())
	}
}

// hand hands one request to the stream. A stream that is breaking drops it: what is unanswered and was not
// written is taken up again when the stream is gone.
func (n *node) hand(p *pending) {
	n.nextID++
	c := newCopy(p, n.nextID, n.router.now())
	n.unanswered[n.nextID] = c
	if !c.ends {
		n.others++
	}
	n.link.writer.Put(c)
}

// remove takes a copy out of the unanswered. The caller holds the lock.
func (n *node) remove(id uint64, c *copyOf) {
	delete(n.unanswered, id)
	if !c.ends {
		n.others--
	}
}

// linked takes the stream into use.
func (n *node) linked(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connecting = false
	if n.closed {
		l.end(ErrClosed)
	}
	n.link, n.heard = l, n.router.now()
	n.pump()
}

// lost takes everything back from a stream that is gone, or never was. What was not written goes elsewhere.
func (n *node) lost(l *link, err error) {
	n.mu.Lock()
	if l == nil || !l.lived {
		n.failures++
	} else {
		n.failures = 1
	}
	n.retryAt = n.router.now() + int64(n.router.redial.pause(n.failures-1, n.router.random()))
	n.failure = fmt.Errorf("%w: %s: %w", ErrNotConnected, n.address, err)
	n.link, n.connecting, n.earliest = nil, false, never
	var back []settled
	for _, c := range n.unanswered {
		if c.call != nil {
			back = append(back, n.takeBack(c, err))
		}
	}
	clear(n.unanswered)
	n.others = 0
	for _, p := range append(n.waiting.ends.takeAll(), n.waiting.others.takeAll()...) {
		back = append(back, n.givenBack(p))
	}
	n.mu.Unlock()
	sortSettled(back)
	for _, s := range back {
		n.router.settle(s)
	}
}

// takeBack says what became of a copy whose stream is gone.
func (n *node) takeBack(c *copyOf, err error) settled {
	s := n.givenBack(c.call)
	s.order, s.event.written = c.message.GetId(), c.written
	if c.written && s.event.kind == unreached {
		s.event.kind = broken
		s.err = fmt.Errorf("route: the stream to %s broke: %w", n.address, err)
	}
	return s
}

// givenBack is a request that was not written, when the attempt to connect is over.
func (n *node) givenBack(p *pending) settled {
	if n.router.ctx.Err() != nil {
		return settled{call: p, event: event{kind: ended, address: n.address}, err: ErrClosed}
	}
	return settled{call: p, event: event{kind: unreached, address: n.address}, err: n.failure}
}

// sweep takes up what is due here, gives a silent stream up, and returns when the next thing will be due.
func (n *node) sweep(now int64, all bool) int64 {
	n.mu.Lock()
	if !all && n.earliest > now {
		defer n.mu.Unlock()
		return n.earliest
	}
	n.earliest = never
	owedSince := int64(never)
	var late []settled
	for _, c := range n.unanswered {
		if c.call == nil {
			owedSince = min(owedSince, c.since)
			continue
		}
		if deadline := c.call.deadline.Load(); deadline > now {
			n.earliest = min(n.earliest, deadline)
			continue
		}
		e := event{kind: expired, address: n.address, written: c.written, silent: silent(time.Duration(now-c.since), time.Duration(now-n.heard))}
		late = append(late, settled{call: c.call, event: e, err: ErrDeadline, order: c.message.GetId()})
		c.call = nil
		owedSince = min(owedSince, c.since)
	}
	for _, q := range []*queue{&n.waiting.ends, &n.waiting.others} {
		late = append(late, q.expire(now, n.address, &n.earliest)...)
	}
	n.giveUp(now, owedSince)
	earliest := n.earliest
	n.mu.Unlock()
	sortSettled(late)
	for _, s := range late {
		n.router.settle(s)
	}
	return earliest
}

// giveUp ends a stream that owes the answer to a request whose time is up, and has been silent for too long
// since that was sent. The caller holds the lock.
func (n *node) giveUp(now, owedSince int64) {
	if n.link == nil || owedSince == never {
		return
	}
	if end := stalledAt(owedSince, n.heard, int64(n.router.options.StallTimeout)); end > now {
		n.earliest = min(n.earliest, end)
		return
	}
	n.link.end(errStalled)
}

// retire closes a node that nobody uses. It returns false if somebody does.
func (n *node) retire() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.connecting || len(n.unanswered) > 0 || n.waiting.ends.len()+n.waiting.others.len() > 0 {
		return false
	}
	n.closed = true
	if n.link != nil {
		n.link.end(ErrClosed)
	}
	return true
}

// close ends the node when the Router is closed. Whoever runs its stream settles what is there.
func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.link != nil {
		n.link.end(ErrClosed)
	}
}
