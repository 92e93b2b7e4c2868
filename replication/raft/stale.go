package raft

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// clockMarginPercent is by how much this replica's clock may be slower than another's.
const clockMarginPercent = 10

// staleReads are the callers of ReadStale that wait, and how old the state is. Its clock is this replica's, and counts from
// when it was opened.
type staleReads struct {
	opened time.Time
	max    int
	wake   chan struct{} // has a token when somebody waits

	mu      sync.Mutex // guards what follows
	waiting []*staleRead
	asOf    time.Duration // all that was acknowledged, or read here or elsewhere, before this is applied
	known   bool          // asOf is
	closed  error
}

// staleRead is a caller who waits.
type staleRead struct {
	called time.Duration
	enough time.Duration      // what the state has to be as of
	done   chan time.Duration // how old it is; has room for that, and is closed without it when the replica ends
}

func newStaleReads(maximum int) *staleReads {
	return &staleReads{opened: time.Now(), max: maximum, wake: make(chan struct{}, 1)}
}

func (s *staleReads) now() time.Duration { return time.Since(s.opened) }

// age is how old the state is at a moment, by any clock of the group; false: nothing is known.
func (s *staleReads) age(at time.Duration) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ageOf(s.asOf, at), s.known
}

func ageOf(asOf, at time.Duration) time.Duration {
	elapsed := max(at-asOf, 0)
	return elapsed + (elapsed*clockMarginPercent+99)/100
}

// add has somebody wait, who gave the bound at a moment.
func (s *staleReads) add(called, atMost time.Duration) (*staleRead, error) {
	read := &staleRead{called: called, enough: called - atMost/(100+clockMarginPercent)*100, done: make(chan time.Duration, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed != nil:
		return nil, s.closed
	case len(s.waiting) >= s.max:
		return nil, replication.ErrOverloaded
	}
	s.waiting = append(s.waiting, read)
	select {
	case s.wake <- struct{}{}:
	default: // it has one
	}
	return read, nil
}

// remove lets somebody go.
func (s *staleReads) remove(read *staleRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(each *staleRead) bool { return each == read })
}

// reached: the state is as of a moment. It answers those for whom that is enough.
func (s *staleReads) reached(asOf time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asOf, s.known = max(s.asOf, asOf), true
	s.waiting = slices.DeleteFunc(s.waiting, func(read *staleRead) bool {
		enough := read.enough <= s.asOf
		if enough {
			read.done <- ageOf(s.asOf, read.called)
		}
		return enough
	})
}

// load is how many wait.
func (s *staleReads) load() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.waiting))
}

// close answers everybody, and refuses who comes.
func (s *staleReads) close(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = why
	for _, read := range s.waiting {
		close(read.done)
	}
	s.waiting = nil
}

// ReadStale implements replication.StaleReader. All who wait share one question to the leader, which is asked again for
// those who came meanwhile.
func (r *Replica) ReadStale(ctx context.Context, atMost time.Duration) (replication.Staleness, error) {
	if err := r.ended(); err != nil {
		return replication.Staleness{}, err
	}
	atMost = max(atMost, 0)
	called := r.stale.now()
	if age, known := r.stale.age(called); known && age <= atMost {
		r.counters.staleAtOnce.Add(1)
		return replication.Staleness{Age: age}, nil
	}
	if ctx.Err() != nil {
		return replication.Staleness{}, r.tooStale(ctx)
	}
	read, err := r.stale.add(called, atMost)
	if err != nil {
		r.countRefusal(err)
		return replication.Staleness{}, err
	}
	select {
	case age, answered := <-read.done:
		if !answered {
			return replication.Staleness{}, r.closedError()
		}
		r.counters.staleWaited.Add(1)
		return replication.Staleness{Age: age}, nil
	case <-ctx.Done():
		r.stale.remove(read)
		return replication.Staleness{}, r.tooStale(ctx)
	}
}

func (r *Replica) tooStale(ctx context.Context) error {
	r.counters.staleTooOld.Add(1)
	age, known := r.stale.age(r.stale.now())
	if !known {
		age = 0
	}
	return fmt.Errorf("%w: %w", &replication.TooStaleError{Age: age, Primary: r.whoLeads().Primary}, context.Cause(ctx))
}

// readStale asks the leader while somebody waits, one question after the other.
func (r *Replica) readStale() {
	poll := time.NewTicker(handoverPoll)
	defer poll.Stop()
	for {
		select {
		case <-r.stale.wake:
		case <-r.stopping:
			return
		}
		for r.stale.load() > 0 && r.ended() == nil {
			asked := r.stale.now()
			index, err := r.askIndex()
			if err == nil && r.awaitHandled(index, poll.C) {
				r.stale.reached(asked)
				continue
			}
			select {
			case <-poll.C: // another may lead by then
			case <-r.stopping:
			}
		}
	}
}

// askIndex asks the leader, which this replica may be itself, up to where a state has everything.
func (r *Replica) askIndex() (uint64, error) {
	_, leader := r.raft.LeaderWithID()
	switch leader {
	case "":
		return 0, r.whoLeads()
	case r.options.self().server():
		return r.ownIndex()
	default:
		return r.rpc.askIndex(leader)
	}
}

func (r *Replica) ownIndex() (index uint64, err error) {
	answer := make(chan struct{})
	r.readIndex(func(at uint64, why error) {
		index, err = at, why
		close(answer)
	})
	<-answer // every barrier is answered, at the latest when the replica ends
	return index, err
}

// readIndex tells, without blocking, how far everything goes that was acknowledged, or that somebody may have read at any
// replica: what the leader has committed when it is asked, if a majority stands behind it after that. What is applied here
// would be too little: another replica may be ahead in that.
func (r *Replica) readIndex(done func(index uint64, err error)) {
	view, index := replication.ViewNumber(r.leading.Load()), r.raft.CommitIndex()
	r.ReadBarrier(view, func(err error) { done(index, err) })
}

// awaitHandled waits until the state machine has got everything up to a committed index; false: the replica ends.
func (r *Replica) awaitHandled(index uint64, poll <-chan time.Time) bool {
	for !r.handled(index) {
		select {
		case <-poll:
		case <-r.stopping:
			return false
		}
	}
	return true
}

// handled reports whether the state machine has got everything up to a committed index. It is not told of the library's own
// entries, so that what it was told last may be below.
func (r *Replica) handled(index uint64) bool {
	told := r.machine.applied.Load()
	if told >= index {
		return true
	}
	if r.raft.AppliedIndex() < index {
		return false
	}
	// All is on its way to the machine that it is to be told of. What the log has no more is in a snapshot, and was told.
	var entry hraft.Log
	for at := index; at > told && r.guard.GetLog(at, &entry) == nil; at-- {
		if entry.Type == hraft.LogCommand || entry.Type == hraft.LogConfiguration {
			return false
		}
	}
	raise(&r.machine.applied, index)
	return true
}
