package transactions

import (
	"encoding/binary"
	"slices"

	"github.com/viewline/viewline/check"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
)

// job is what one caller wants done: an update, which may run several times, or a view.
type job struct {
	started bool
	view    bool
	stale   bool // a view at a timestamp that was issued before
	reads   []int
	writes  []intent
	// misplaced is a shard's index, plus 1, to which a part of the writes is sent wrongly.
	misplaced int

	run       int32 // the current one of an update, -1 before the first
	runs      int
	start     uint64
	timestamp txn.Timestamp // a view's, or a hasty clerk's, 0 while it has none
	open      int           // reads that are under way
	seen      []check.Read
	reruns    int
	given     bool // a view was answered
}

type intent struct {
	object int
	delete bool
}

// run is one execution of an update's function: one transaction, with all its attempts.
type run struct {
	id         txn.TxnID
	job        int32
	actor      int32 // its machine, -1 before it has one
	start, end uint64
	reads      []txn.ReadEntry
	seen       []check.Read
	parts      []commit.Part
	answered   commit.OutcomeKind // 0: not, or to nobody
	attempt    txn.Attempt        // the last one that was sent
	asked      bool               // an Outcome has been started
	dead       bool               // its clerk is
	closed     bool               // somebody was told that it is aborted by an Outcome
}

// startJob begins the next job, if there is one.
func (w *World) startJob() bool {
	for i := range w.jobs {
		if !w.jobs[i].started {
			w.beginJob(int32(i))
			return true
		}
	}
	return false
}

func (w *World) beginJob(i int32) {
	p := &w.params
	j := &w.jobs[i]
	j.started, j.start, j.run = true, w.now, -1
	j.view = w.random.chance(p.Views)
	if j.view || !w.random.chance(p.Blind) {
		j.reads = w.someObjects(w.random.between(1, p.ReadsMax))
	}
	if j.view {
		w.beginView(i)
		return
	}
	if len(j.reads) == 0 || w.random.below(8) > 0 {
		for _, object := range w.someObjects(w.random.between(1, p.WritesMax)) {
			j.writes = append(j.writes, intent{object: object, delete: w.random.chance(p.Deletes)})
		}
	}
	if w.random.chance(p.WrongMap) {
		j.misplaced = 1 + w.random.below(len(w.shards))
	}
	w.beginRun(i)
}

func (w *World) someObjects(n int) []int {
	chosen := make([]int, 0, n)
	for range n {
		if object := w.random.below(w.params.Objects); !slices.Contains(chosen, object) {
			chosen = append(chosen, object)
		}
	}
	slices.Sort(chosen)
	return chosen
}

// beginView asks for the timestamp at which everything is read.
func (w *World) beginView(i int32) {
	j := &w.jobs[i]
	if w.random.chance(w.params.StaleViews) && len(w.attempts) > 0 {
		j.stale, j.start = true, 0
		j.timestamp = w.attempts[w.random.below(len(w.attempts))].attempt.TS
		w.readAll(i)
		return
	}
	w.tracef("%4d  job %d: view of %v", w.now, i, j.reads)
	w.put(event{kind: oracleJob, a: i})
}

// onJobTimestamp is the coordinator's answer to a view or to a hasty clerk.
func (w *World) onJobTimestamp(i int32) {
	j := &w.jobs[i]
	j.timestamp = w.timestamp()
	if w.params.Mistakes&TimestampFromBefore != 0 {
		j.timestamp = w.before(j.timestamp)
	}
	if j.view {
		w.readAll(i)
	}
}

// before is a timestamp that was allocated before the transaction began: the mistake of a clerk that keeps
// what is left of a batch.
func (w *World) before(latest txn.Timestamp) txn.Timestamp {
	kept := w.kept
	w.kept = latest
	if kept == 0 {
		return w.timestamp()
	}
	return kept
}

// beginRun executes an update's function: it reads, and then commits.
func (w *World) beginRun(i int32) {
	j := &w.jobs[i]
	w.sequence++
	j.run = int32(len(w.runs))
	j.timestamp, j.seen = 0, nil
	j.runs++
	w.runs = append(w.runs, run{job: i, actor: -1, start: w.now, id: txn.TxnID{Sequence: w.sequence}})
	w.tracef("%4d  job %d, run %d: reads %v, writes %v", w.now, i, j.run, j.reads, j.writes)
	if w.random.chance(w.params.Hasty) {
		w.onJobTimestamp(i)
	}
	w.readAll(i)
}

// readAll sends one read to every shard that holds something the job reads.
func (w *World) readAll(i int32) {
	j := &w.jobs[i]
	kind := readLatest
	if j.view {
		kind = readSnapshot
	}
	j.open = 0
	for s := range w.shards {
		var oids []string
		for _, object := range j.reads {
			if w.shardOf(object) == s {
				oids = append(oids, objects[object])
			}
		}
		if len(oids) > 0 {
			j.open++
			number := w.post(message{kind: kind, actor: -1, job: i, run: j.run, shard: s, oids: oids})
			if kind == readLatest && w.random.chance(w.params.Backups) {
				w.messages[number].replica = w.random.below(len(w.shards[s].replicas))
			}
		}
	}
	if j.open == 0 {
		w.commitRun(i)
	}
}

// onRead takes what a shard answered to an update.
func (w *World) onRead(number int32) {
	m := &w.messages[number]
	j := &w.jobs[m.job]
	if m.run != j.run {
		return
	}
	r := &w.runs[j.run]
	for k, oid := range m.oids {
		value := m.values[k]
		if !value.Present {
			w.mark(MarkAbsentRead)
		}
		r.reads = append(r.reads, w.readEntry(m, oid, value))
		r.seen = append(r.seen, seen(oid, value))
	}
	if j.open--; j.open == 0 {
		w.commitRun(m.job)
	}
}

// readEntry is what the clerk will claim to have read. Some clerks keep objects in a cache and are careless
// about when, or even where, they were read.
func (w *World) readEntry(m *message, oid string, value history.Value) txn.ReadEntry {
	s := &w.shards[m.shard]
	read := txn.ReadEntry{OID: oid, Version: value.Version, At: m.at, Shard: s.number}
	if w.random.chance(w.params.FalseAt) {
		read.At = s.replicas[s.primary].state.Applied() + txn.OpNumber(w.random.below(4))
	}
	if w.random.chance(w.params.ForeignAt) {
		read.At, read.Shard = 1<<20, s.number+1
	}
	return read
}

func seen(oid string, value history.Value) check.Read {
	read := check.Read{OID: oid, Version: value.Version, Present: value.Present}
	if value.Present {
		read.Value = binary.BigEndian.Uint64(value.Value)
	}
	return read
}

// onSnapshot takes what a shard answered to a view.
func (w *World) onSnapshot(number int32) {
	m := &w.messages[number]
	j := &w.jobs[m.job]
	if m.failed {
		return // too old: the view fails
	}
	for k, oid := range m.oids {
		j.seen = append(j.seen, seen(oid, m.values[k]))
	}
	if j.open--; j.open > 0 {
		return
	}
	w.mark(MarkView)
	j.given = true
	w.tracef("%4d  job %d: view at %d saw %v", w.now, m.job, j.timestamp, j.seen)
	w.views = append(w.views, check.Transaction{TS: j.timestamp, Snapshot: true, Start: j.start, End: w.now, Reads: j.seen})
}

// commitRun hands a run to a machine.
func (w *World) commitRun(i int32) {
	j := &w.jobs[i]
	r := &w.runs[j.run]
	parts := make([]commit.Part, len(w.shards))
	for s := range parts {
		parts[s].Shard = w.shards[s].number
	}
	for _, read := range r.reads {
		part := &parts[w.shardOf(int(slotOf(read.OID)))]
		part.Reads = append(part.Reads, read)
	}
	for _, write := range j.writes {
		s := w.shardOf(write.object)
		if j.misplaced > 0 {
			s = j.misplaced - 1
		}
		entry := txn.WriteEntry{OID: objects[write.object], Kind: txn.Put}
		if write.delete {
			entry.Kind = txn.Delete
		} else {
			entry.Value = binary.BigEndian.AppendUint64(nil, valueOf(j.run, write.object))
		}
		parts[s].Writes = append(parts[s].Writes, entry)
	}
	home := -1 // one of those that have something to do
	if w.random.below(8) == 0 {
		home = w.random.below(len(parts))
	}
	for s, part := range parts {
		if s == home && len(part.Reads)+len(part.Writes) == 0 {
			w.mark(MarkIdleHome)
		}
		if s == home || len(part.Reads)+len(part.Writes) > 0 {
			r.parts = append(r.parts, part)
		}
		if len(part.Reads) > 0 && len(part.Writes) == 0 {
			w.mark(MarkReadOnlyParticipant)
		}
	}
	r.id.Home = r.parts[w.random.below(len(r.parts))].Shard
	if home >= 0 {
		r.id.Home = parts[home].Shard
	}
	w.startCommit(j.run)
}

// valueOf is what a run writes to an object; no other write has the same value.
func valueOf(run int32, object int) uint64 { return uint64(run+1)<<8 | uint64(object+1) }
