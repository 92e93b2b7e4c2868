package shardserver

import (
	"slices"
	"time"

	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

const (
	// unendedScanMax is how many commits without an END are looked at in one go, with the server's lock held.
	unendedScanMax = 1024
	// redriveScanEvery is how many scans of the line come for one look at them, as long as one look shows all.
	redriveScanEvery = 10
	// sightingsPerAge is how finely the age of a commit is known.
	sightingsPerAge = 16
)

// redriver chooses the commits without an END that are carried to their participants again. There may be as many
// as the shard keeps decisions, so it remembers nothing of any single one: it goes through all of them in the
// order of their timestamps, again and again, and passes over those that wait for a shard which does not answer.
// However many these are, every other commit has its turn.
type redriver struct {
	age time.Duration
	max int // of those under way at once, so that transactions in doubt have a place too

	running int
	// sightings say which commits this process had seen at which time; ascending, at most sightingsPerAge and one.
	sightings []sighting
	// cursor is the last commit that was looked at, and begun when the one before all was.
	cursor txn.Attempt
	begun  time.Time
	// more: the last look did not come to the end.
	more bool
	// silent is when a shard last failed to answer, or was last tried after that.
	silent map[txn.ShardID]time.Time
}

// sighting is the newest commit at a time.
type sighting struct {
	at     time.Time
	newest txn.Timestamp
}

// forget begins anew: another primary has been at work, or will be.
func (r *redriver) forget() {
	*r = redriver{age: r.age, max: r.max, silent: r.silent}
	clear(r.silent)
}

// see notes the newest commit, and returns the newest of those seen an age ago.
func (r *redriver) see(now time.Time, newest txn.Timestamp) txn.Timestamp {
	last := len(r.sightings) - 1
	if last < 0 || now.Sub(r.sightings[last].at) >= r.age/sightingsPerAge {
		r.sightings = append(r.sightings, sighting{at: now, newest: newest})
	}
	for len(r.sightings) > 1 && now.Sub(r.sightings[1].at) >= r.age {
		r.sightings = r.sightings[1:]
	}
	if first := r.sightings[0]; now.Sub(first.at) >= r.age {
		return first.newest
	}
	return 0
}

// start is the place after which to look: where the last look ended, or before all when it came to the end and an
// age has gone by since the last time.
func (r *redriver) start(now time.Time) txn.Attempt {
	if !r.more && now.Sub(r.begun) >= r.age {
		r.cursor, r.begun = txn.Attempt{}, now
	}
	return r.cursor
}

// heard notes whether a shard answered.
func (r *redriver) heard(shard txn.ShardID, answered bool, now time.Time) {
	if answered {
		delete(r.silent, shard)
	} else {
		r.silent[shard] = now
	}
}

// hopeful reports whether a commit has a chance to be carried through now. One is let through in each age to a
// shard that is silent, to see whether it still is.
func (r *redriver) hopeful(participants []txn.ShardID, now time.Time) bool {
	if slices.ContainsFunc(participants, func(shard txn.ShardID) bool {
		at, silent := r.silent[shard]
		return silent && now.Sub(at) < r.age
	}) {
		return false
	}
	for _, shard := range participants {
		if _, silent := r.silent[shard]; silent {
			r.silent[shard] = now
		}
	}
	return true
}

// redrive takes up the next commits that nobody has ended and that this process has seen so for an age.
func (t *terminator) redrive(now time.Time) {
	r, s := &t.redriver, t.server
	after := r.start(now)
	s.mu.Lock()
	unended, newest := s.state.Unended(after, unendedScanMax), s.state.NewestUnended()
	s.mu.Unlock()
	old := r.see(now, newest)
	r.more = len(unended) == unendedScanMax
	for _, commit := range unended {
		if commit.Attempt.TS > old {
			r.more = false // the rest is younger still
			return
		}
		if !t.redriveOne(commit, now) {
			r.more = true
			return
		}
		r.cursor = commit.Attempt
	}
}

// redriveOne returns false when there is no room for another one now.
func (t *terminator) redriveOne(commit history.Unended, now time.Time) bool {
	r := &t.redriver
	if t.running[commit.Attempt] != nil {
		return true
	}
	if r.running >= r.max || !t.room() {
		return false
	}
	if r.hopeful(commit.Participants, now) {
		t.begin(&termination{attempt: commit.Attempt, redrives: true}, commit.Participants, terminate.NewRedrive)
	}
	return true
}
