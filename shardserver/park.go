package shardserver

import (
	"container/heap"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// parked is a request that waits for transactions to be decided.
type parked struct {
	id       uint64
	call     *call
	blockers []txn.Attempt
	// resume takes the request up again, without mu.
	resume func()
	// until is when resume is called though not all are decided; zero: never.
	until time.Time
	// nudge is when those waited for are to be terminated early; zero: not, or no more.
	nudge time.Time

	index int // in the heap, -1 when not there
}

// next is when something is to be done for it though nothing was decided; zero: never.
func (p *parked) next() time.Time {
	next := time.Time{}
	for _, at := range []time.Time{p.call.deadline, p.until, p.nudge} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// parking is all who wait. Guarded by the server's mu.
type parking struct {
	lastID uint64
	byID   map[uint64]*parked
	times  parkedHeap
	// ready are those who wait no longer and are to be taken up.
	ready []*parked
	wake  chan struct{}
}

func newParking() parking {
	return parking{byID: map[uint64]*parked{}, wake: make(chan struct{}, 1)}
}

// park makes a request wait until the blockers are decided, or until a moment (zero: as long as its caller
// waits). It reports false when too many wait. Called with mu held.
func (s *Server) park(c *call, blockers []txn.Attempt, until time.Time, resume func()) bool {
	s.parked.lastID++
	p := &parked{id: s.parked.lastID, call: c, blockers: blockers, resume: resume, until: until, index: -1}
	if !s.front.Wait(p.id, blockers) {
		return false
	}
	s.counts.waits.Add(1)
	if s.options.TerminateEarlyAfter > 0 {
		p.nudge = time.Now().Add(s.options.TerminateEarlyAfter)
	}
	s.parked.byID[p.id] = p
	if !p.next().IsZero() {
		heap.Push(&s.parked.times, p)
		if p.index == 0 {
			s.wakeKeeper()
		}
	}
	s.release()
	return true
}

// release moves those whose blockers are decided to the ready ones. Called with mu held, after everything that
// may decide a transaction.
func (s *Server) release() {
	for _, id := range s.front.TakeReleased() {
		if p, ok := s.parked.byID[id]; ok {
			s.makeReady(p)
		}
	}
	if len(s.parked.ready) > 0 {
		s.wakeKeeper()
	}
}

// makeReady ends a wait. Called with mu held.
func (s *Server) makeReady(p *parked) {
	delete(s.parked.byID, p.id)
	if p.index >= 0 {
		heap.Remove(&s.parked.times, p.index)
	}
	s.parked.ready = append(s.parked.ready, p)
}

func (s *Server) wakeKeeper() {
	select {
	case s.parked.wake <- struct{}{}:
	default:
	}
}

// keepParked is the goroutine that takes requests up again whose wait is over.
func (s *Server) keepParked() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := s.expireParked(time.Now())
		s.answerReady()
		wait := time.Hour
		if !next.IsZero() {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-s.parked.wake:
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// expireParked makes those ready whose time is up, has those terminated for whom somebody has waited long, and
// returns when to look again.
func (s *Server) expireParked(now time.Time) time.Time {
	var nudged []txn.Attempt
	s.mu.Lock()
	for len(s.parked.times) > 0 {
		p := s.parked.times[0]
		next := p.next()
		if next.After(now) {
			break
		}
		if !p.nudge.IsZero() && !p.nudge.After(now) {
			p.nudge = time.Time{}
			nudged = append(nudged, p.blockers...)
			if p.next().IsZero() {
				heap.Remove(&s.parked.times, p.index)
			} else {
				heap.Fix(&s.parked.times, p.index)
			}
			continue
		}
		s.front.DropWait(p.id)
		s.makeReady(p)
	}
	next := time.Time{}
	if len(s.parked.times) > 0 {
		next = s.parked.times[0].next()
	}
	s.mu.Unlock()
	if len(nudged) > 0 {
		s.terminator.hurry(nudged)
	}
	return next
}

// answerReady takes up those who wait no longer. Whoever waited under a Lead that is lost is told so by its
// resume; whoever has no time left is told here.
func (s *Server) answerReady() {
	s.mu.Lock()
	ready := s.parked.ready
	s.parked.ready = nil
	s.mu.Unlock()
	now := time.Now()
	for _, p := range ready {
		if !p.call.expired(now) {
			p.resume()
		}
	}
}

// failWaits refuses a request for which there is no room to wait.
func (c *call) failWaits() {
	c.server.counts.overloaded.Add(1)
	c.fail(pb.Code_CODE_OVERLOADED, "%d requests wait for transactions to be decided", c.server.options.WaitsMax)
}

// parkedHeap orders by next.
type parkedHeap []*parked

// Len is heap.Interface's.
func (h parkedHeap) Len() int { return len(h) }

// Less is heap.Interface's.
func (h parkedHeap) Less(i, j int) bool { return h[i].next().Before(h[j].next()) }

// Swap is heap.Interface's.
func (h parkedHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *parkedHeap) Push(p any) {
	waiting := p.(*parked)
	waiting.index = len(*h)
	*h = append(*h, waiting)
}

// Pop is heap.Interface's.
func (h *parkedHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.index = -1
	return p
}
