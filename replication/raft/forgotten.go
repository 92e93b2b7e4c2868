package raft

import "sync/atomic"

// forgotten is what a replica of durability memory has that did not end with Close: it has lost its log, and so
// acknowledged entries that it does not have. Raft lets such a replica do harm in two ways only. It may vote for somebody
// who lacks those entries too, and it may be elected without them. So it does neither, until it knows that it has them
// again.
//
// It does once an entry of a later term is in its log, or a snapshot up to one, than it was ever in before. What it
// acknowledged is of its own terms. The leader of that later term was elected without its vote, by a majority that has
// whatever was committed, by its old acknowledgements too; the later term's entries come behind that in the leader's log;
// and an entry is taken only onto the log of the leader below it. So that there will be a later term, the replica begins
// with its own made larger by one: it refuses the leader of the earlier one, which has the others elect the next.
//
// With a majority in this state nobody can be elected, and the group stays stopped: nobody is there to know what it had
// acknowledged.
type forgotten struct {
	term atomic.Uint64 // of no entry that it may lack; 0: it lacks nothing
}

// any reports whether the replica lacks something.
func (f *forgotten) any() bool { return f.term.Load() > 0 }

// learned is told of each newest term in log or snapshot, from one goroutine.
func (f *forgotten) learned(term uint64) {
	if lost := f.term.Load(); lost > 0 && term > lost {
		f.term.Store(0)
	}
}
