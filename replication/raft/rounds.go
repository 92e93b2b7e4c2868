package raft

import (
	"cmp"
	"slices"
	"sync"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// rounds decides when a read may be answered: when a majority has acknowledged this replica as the leader of its term
// after the read was asked for.
//
// hashicorp/raft's own VerifyLeader does not decide it. It counts whoever answers, non-voters too, and it counts answers
// to what was sent before it was called: a leader that was stopped for a while finds such answers when it goes on, and
// takes them for news. So VerifyLeader is what makes the library ask the others at once, and this is what counts: each
// append carries, here and not on the wire, when it was sent; the answer says in which term its sender was. While that is
// the leader's own, he had given no vote in a later one: no later leader had been elected, if a majority was so after the
// read was asked for, and nothing acknowledged that is not applied here.
type rounds struct {
	mu      sync.Mutex // guards what follows
	clock   uint64     // counts reads and sendings
	term    uint64
	heard   map[hraft.ServerID]uint64 // by whom the leader of term is acknowledged: as of which clock
	waiting []waitingRead             // oldest first
	closed  error
	max     int
	tell    func() // called, under mu, when somebody who waits may be helped; it does not block
}

// waitingRead is a read barrier that has no answer yet.
type waitingRead struct {
	asked uint64 // by clock
	view  replication.ViewNumber
	done  func(error)
}

func newRounds(maximum int) *rounds {
	return &rounds{max: maximum, heard: map[hraft.ServerID]uint64{}, tell: func() {}}
}

// now is the time of a sending.
func (r *rounds) now() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

// acknowledged: a server was in this term, whose leader this one is, after that time.
func (r *rounds) acknowledged(from hraft.ServerID, term, sent uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if term < r.term {
		return
	}
	if term > r.term {
		r.term = term
		clear(r.heard)
	}
	if r.heard[from] = max(r.heard[from], sent); len(r.waiting) > 0 {
		r.tell()
	}
}

// heardLast is the one of these who has acknowledged this replica last.
func (r *rounds) heardLast(members []hraft.ServerID) hraft.ServerID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.MaxFunc(members, func(a, b hraft.ServerID) int { return cmp.Compare(r.heard[a], r.heard[b]) })
}

// add takes a read. Its error is certain: done is not called then.
func (r *rounds) add(view replication.ViewNumber, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return r.closed
	}
	if len(r.waiting) >= r.max {
		return replication.ErrOverloaded
	}
	r.clock++
	r.waiting = append(r.waiting, waitingRead{asked: r.clock, view: view, done: done})
	return nil
}

// verified takes out the reads that a majority of these members stands behind. Whether their view is still this replica's
// is for the caller to see.
func (r *rounds) verified(members []hraft.ServerID, self hraft.ServerID) []waitingRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	as := r.majority(members, self)
	n := 0
	for n < len(r.waiting) && r.waiting[n].asked < as && (uint64(r.waiting[n].view) == r.term || len(members) == 1) {
		n++
	}
	reads := slices.Clone(r.waiting[:n])
	r.waiting = slices.Delete(r.waiting, 0, n)
	return reads
}

// majority is the latest time after which a majority has acknowledged this replica.
func (r *rounds) majority(members []hraft.ServerID, self hraft.ServerID) uint64 {
	times := make([]uint64, 0, len(members))
	for _, id := range members {
		if id == self {
			times = append(times, r.clock+1)
		} else {
			times = append(times, r.heard[id])
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[(len(times)-1)/2]
}

// take takes out every read of a view below this one: the leadership was lost.
func (r *rounds) take(below replication.ViewNumber) []waitingRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lost []waitingRead
	r.waiting = slices.DeleteFunc(r.waiting, func(w waitingRead) bool {
		if w.view < below {
			lost = append(lost, w)
		}
		return w.view < below
	})
	return lost
}

// close refuses reads from here on, and takes out those that wait.
func (r *rounds) close(why error) []waitingRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = why
	waiting := r.waiting
	r.waiting = nil
	return waiting
}

func (r *rounds) isWaiting() bool { return r.load() > 0 }

// load is how many reads wait.
func (r *rounds) load() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.waiting))
}
