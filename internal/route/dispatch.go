package route

import (
	"fmt"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// dispatch brings a request to the node that its group chooses, and on to the next one as long as its course
// says so.
func (r *Router) dispatch(p *pending) {
	for {
		n, err := r.choose(p.group)
		if err != nil {
			r.finish(p, nil, p.failure(err, ""))
			return
		}
		if n.submit(p) {
			return
		}
		if !r.decide(settled{call: p, event: event{kind: unreached, address: n.address}, err: n.unreached()}) {
			return
		}
	}
}

// choose returns the node to ask for a group.
func (r *Router) choose(id uint32) (*node, error) {
	r.mu.RLock()
	g := r.groups[id]
	if r.closed || g == nil {
		defer r.mu.RUnlock()
		if r.closed {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("%w: the map has no group %d", ErrUnknownGroup, id)
	}
	address := g.choose()
	n := r.nodes[address]
	r.mu.RUnlock()
	if n != nil {
		return n, nil
	}
	return r.newNode(address)
}

func (r *Router) newNode(address string) (*node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.nodes) >= nodesMax {
		r.tidy()
	}
	switch {
	case r.closed:
		return nil, ErrClosed
	case r.nodes[address] != nil:
		return r.nodes[address], nil
	case len(r.nodes) >= nodesMax:
		return nil, fmt.Errorf("%w: %d nodes are known already", ErrOverloaded, nodesMax)
	}
	n := &node{router: r, address: address, unanswered: map[uint64]*copyOf{}, earliest: never}
	r.nodes[address] = n
	r.strays = r.strays || !r.named[address]
	return n, nil
}

// settle takes a request up again whose copy met its end.
func (r *Router) settle(s settled) {
	if r.decide(s) {
		r.dispatch(s.call)
	}
}

// decide lets the group and the course look at an event and does what the course says. It returns true when the
// request is to be dispatched again at once.
func (r *Router) decide(s settled) bool {
	p := s.call
	var refusedBy *Error
	if s.event.kind == refused {
		refusedBy = refusal(s.response.GetError())
		s.err = refusedBy
	}
	r.observe(&s.event, p.group, refusedBy)
	next := p.course.next(s.event, r.pause, r.random())
	switch {
	case next.kind == stepFinish && s.event.kind == answered:
		r.finish(p, s.response, nil)
		return false
	case next.kind == stepFinish:
		if s.event.kind == refused && !p.course.unknown {
			p.last = nil // this one says it all
		}
		r.finish(p, nil, p.failure(s.err, s.event.address))
		return false
	}
	p.last, p.lastAt = s.err, s.event.address
	return next.kind == stepAgain || !r.park(p, next.pause)
}

// observe tells the group of an event. Nearly all are answers of a primary that is known: they need no more
// than a look.
func (r *Router) observe(e *event, id uint32, refusedBy *Error) {
	if e.kind == answered {
		r.mu.RLock()
		g := r.groups[id]
		settled := g == nil || g.settled()
		r.mu.RUnlock()
		if settled {
			return
		}
	}
	r.mu.Lock()
	g := r.groups[id]
	var released []*pending
	if g != nil {
		var told Primary
		if refusedBy != nil {
			told = Primary{Epoch: refusedBy.Epoch, View: refusedBy.View, Address: refusedBy.PrimaryAddress}
		}
		var news bool
		if e.redirect, news = g.observe(*e, told); news {
			released, g.parked = g.parked, nil
		}
	}
	r.mu.Unlock()
	r.release(released)
}

// release ends the pauses of requests whose group has a new primary.
func (r *Router) release(parked []*pending) {
	for _, p := range parked {
		r.dispatch(p)
	}
}

// park puts a request aside for a while. It returns false when the Router is closed; dispatch ends it then.
func (r *Router) park(p *pending, pause time.Duration) bool {
	p.wake = r.now() + int64(pause)
	at := p.wake
	r.mu.Lock()
	g := r.groups[p.group]
	if r.closed || g == nil {
		r.mu.Unlock()
		return false
	}
	g.parked = append(g.parked, p)
	at = min(at, p.deadline.Load())
	r.mu.Unlock()
	r.alarm.at(at)
	return true
}

// finish tells the caller. It is the only place that does.
func (r *Router) finish(p *pending, response *pb.Response, err error) {
	r.calls.Add(-1)
	r.bytes.Add(-int64(p.size))
	p.done(response, err)
}

// raise takes a bound; only larger ones count.
func (r *Router) raise(bound txn.Timestamp) {
	for {
		old := r.bound.Load()
		if uint64(bound) <= old || r.bound.CompareAndSwap(old, uint64(bound)) {
			return
		}
	}
}
