package bench

import (
	"hash/fnv"
	"sync"
	"time"

	"github.com/viewline/viewline/check"
	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/txn"
)

// Recorder collects the history of one run, and the aborts on the way to it.
type Recorder struct {
	start time.Time
	max   int

	mu      sync.Mutex
	history []check.Transaction
	aborts  map[txn.Reason]uint64
	full    bool
}

// NewRecorder makes a recorder for at most that many transactions.
func NewRecorder(most int) *Recorder {
	return &Recorder{start: time.Now(), max: most, aborts: map[txn.Reason]uint64{}}
}

// Hooks are for the options of every clerk of the run.
func (r *Recorder) Hooks() clerk.Hooks {
	return clerk.Hooks{Committed: r.committed, Viewed: r.viewed, Aborted: r.aborted}
}

func (r *Recorder) committed(c clerk.Committed) {
	t := check.Transaction{TS: c.Attempt.TS, Reads: reads(c.Reads)}
	for _, w := range c.Writes {
		t.Writes = append(t.Writes, check.Write{OID: w.OID, Delete: w.Kind == txn.Delete, Value: valueHash(w.Value)})
	}
	r.add(t, c.Began, c.Answered)
}

func (r *Recorder) viewed(v clerk.Viewed) {
	r.add(check.Transaction{TS: v.Timestamp, Snapshot: true, Reads: reads(v.Reads)}, v.Began, v.Answered)
}

func (r *Recorder) add(t check.Transaction, began, answered time.Time) {
	t.Start, t.End = r.stamp(began), r.stamp(answered)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, t)
	r.full = r.full || len(r.history) >= r.max
}

// stamp is a moment on the recorder's monotonic clock; never 0, which would mean never.
func (r *Recorder) stamp(t time.Time) uint64 { return uint64(max(t.Sub(r.start), 0)) + 1 }

func (r *Recorder) aborted(v txn.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aborts[v.Reason]++
}

// isFull reports whether the run has to end.
func (r *Recorder) isFull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// abortsByReason counts the runs that had to be made again, so far.
func (r *Recorder) abortsByReason() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	named := map[string]uint64{}
	for reason, count := range r.aborts {
		named[reason.String()] = count
	}
	return named
}

// judge replays everything that was recorded; the clerks must be at rest.
func (r *Recorder) judge() (recorded int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.history), check.Strict(r.history)
}

func reads(seen []clerk.Read) []check.Read {
	result := make([]check.Read, len(seen))
	for i, read := range seen {
		result[i] = check.Read{OID: read.OID, Version: read.Version, Present: read.Present}
		if read.Present {
			result[i].Value = valueHash(read.Bytes)
		}
	}
	return result
}

func valueHash(value []byte) uint64 {
	digest := fnv.New64a()
	_, _ = digest.Write(value)
	return digest.Sum64() | 1
}
