package transactions

import (
	"fmt"
	"math/bits"

	"github.com/viewline/viewline/check"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
)

// attemptRecord is what the logs say of one attempt. The masks have a bit for each shard's index.
type attemptRecord struct {
	attempt      txn.Attempt
	run          int32
	participants uint8
	copies       uint8
	prepared     uint8
	committed    uint8
	aborted      uint8
	installed    uint8 // by an operation that took effect
	// saidCommitted and saidAborted: a terminator, or an Outcome, said so.
	saidCommitted, saidAborted bool
}

func (w *World) record(attempt txn.Attempt, run int32) *attemptRecord {
	if found := w.find(attempt); found != nil {
		return found
	}
	record := attemptRecord{attempt: attempt, run: run}
	for _, part := range w.runs[run].parts {
		record.participants |= 1 << (part.Shard - 1)
	}
	w.attempts = append(w.attempts, record)
	return &w.attempts[len(w.attempts)-1]
}

func (w *World) find(attempt txn.Attempt) *attemptRecord {
	for i := range w.attempts {
		if w.attempts[i].attempt == attempt {
			return &w.attempts[i]
		}
	}
	return nil
}

// onCommitted sees every operation of a log once, when the first replica applies it.
func (w *World) onCommitted(i int, e entry, result history.Result, state *history.State) {
	bit := uint8(1) << i
	var installs bool
	switch e.operation.(type) {
	case history.PrepareTxn:
		w.markRefusal(result.Verdict)
		if result.Verdict.Status == txn.StatusAborted {
			w.mark(MarkLoggedAbort)
		}
	case history.CommitTxn, history.CommitOnePhase:
		installs = result.TookEffect && result.Verdict.Status == txn.StatusCommitted
	case history.Fence:
		if result.TookEffect && result.Verdict.Status == txn.StatusAborted {
			w.mark(MarkFence)
		}
	case history.EndTxn:
		if result.TookEffect {
			w.mark(MarkEnd)
		}
	}
	if record := w.find(result.Verdict.Attempt); record != nil {
		switch result.Verdict.Status {
		case txn.StatusPrepared:
			record.prepared |= bit
		case txn.StatusCommitted:
			record.committed |= bit
		case txn.StatusAborted:
			record.aborted |= bit
		case txn.StatusUnknown, txn.StatusRefused, txn.StatusForgotten:
		}
		if installs && record.installed&bit != 0 {
			w.problem("shard %d installs %v twice", i+1, record.attempt)
		}
		if installs {
			record.installed |= bit
		}
	}
	w.onlyRises(i, state)
}

// onlyRises compares what may only rise with what it was.
func (w *World) onlyRises(i int, state *history.State) {
	now := [4]txn.Timestamp{state.Floor(), state.Threshold(), state.VersionHorizon(), state.RecordHorizon()}
	was := &w.shards[i].rising
	for k, name := range [...]string{"floor", "threshold", "version horizon", "record horizon"} {
		if now[k] < was[k] {
			w.problem("the %s of shard %d falls from %d to %d", name, i+1, was[k], now[k])
		}
	}
	*was = now
}

// judge says what is wrong with the history.
func (w *World) judge() {
	w.judgeShards()
	w.judgeAttempts()
	w.judgeRuns()
	recorded := w.history()
	if err := check.Strict(recorded); err != nil {
		w.problem("%v", err)
	}
	if w.digest&15 == 0 || len(w.problems) > 0 {
		if err := check.Graph(recorded); err != nil {
			w.problem("%v", err)
		}
	}
	w.markConflicts()
}

func (w *World) judgeShards() {
	for i := range w.shards {
		s := &w.shards[i]
		for r := range s.replicas {
			state := s.replicas[r].state
			if breaks := state.Counters().InvariantBreaks; breaks > 0 {
				w.problem("shard %d replica %d counts %d broken invariants", s.number, r, breaks)
			}
			if r > 0 && w.digest&63 == 0 && state.Hash() != s.replicas[0].state.Hash() {
				w.problem("the replicas of shard %d differ", s.number)
			}
		}
	}
	for i := range w.actors {
		if a := &w.actors[i]; !a.dead && !a.done {
			w.problem("a machine did not finish: %v%v", a.commit, a.terminator)
		}
	}
}

// judgeAttempts: all shards of one mind, and of the mind of whoever spoke of the attempt.
func (w *World) judgeAttempts() {
	for i := range w.attempts {
		r := &w.attempts[i]
		switch {
		case r.committed != 0 && r.aborted != 0:
			w.problem("%v is committed at shards %b and aborted at shards %b", r.attempt, r.committed, r.aborted)
		case r.committed != 0 && r.committed != r.participants:
			w.problem("%v is committed at shards %b of %b", r.attempt, r.committed, r.participants)
		case r.committed != 0 && r.installed != r.participants:
			w.problem("%v is installed at shards %b of %b", r.attempt, r.installed, r.participants)
		}
		if r.saidCommitted && r.committed == 0 {
			w.problem("%v was found committed, but is not", r.attempt)
		}
		if r.saidAborted && r.committed != 0 {
			w.problem("%v was found aborted, but is committed", r.attempt)
		}
		if r.aborted != 0 {
			w.coverage[MarkAbort] = 1
		}
		if r.committed != 0 && bits.OnesCount8(r.participants) > 1 {
			w.mark(MarkCommitTwoShards)
		} else if r.committed != 0 {
			w.mark(MarkCommitOneShard)
		}
	}
}

// committedAttempt returns the attempt of a run that committed, nil if none did.
func (w *World) committedAttempt(run int32) *attemptRecord {
	var found *attemptRecord
	for i := range w.attempts {
		if r := &w.attempts[i]; r.run == run && r.committed != 0 {
			if found != nil {
				w.problem("attempts %d and %d of run %d both committed", found.attempt.Number, r.attempt.Number, run)
			}
			found = r
		}
	}
	return found
}

// judgeRuns: nobody was told anything but the truth, and no function took effect twice.
func (w *World) judgeRuns() {
	commits := make([]int, len(w.jobs))
	for i := range w.runs {
		r := &w.runs[i]
		committed := w.committedAttempt(int32(i))
		if committed != nil {
			commits[r.job]++
		}
		switch {
		case r.answered == 0 && !r.dead:
			w.problem("run %d was never answered", i)
		case r.answered == commit.Committed && committed == nil:
			w.problem("run %d was told committed, but is not", i)
		case r.answered == commit.Aborted && committed != nil:
			w.problem("run %d was told aborted, but attempt %d is committed", i, committed.attempt.Number)
		case r.closed && committed != nil:
			w.problem("an Outcome said aborted of run %d, but attempt %d is committed", i, committed.attempt.Number)
		}
		if r.answered == commit.Aborted {
			w.coverage[MarkAbort] = 1
		}
	}
	for job, times := range commits {
		if times > 1 {
			w.problem("the function of job %d took effect %d times", job, times)
		}
	}
}

// history collects what was committed and what was seen.
func (w *World) history() []check.Transaction {
	recorded := append(make([]check.Transaction, 0, len(w.views)+len(w.runs)), w.views...)
	for i := range w.runs {
		r := &w.runs[i]
		committed := w.committedAttempt(int32(i))
		if committed == nil {
			continue
		}
		t := check.Transaction{TS: committed.attempt.TS, Start: r.start, End: r.end, Reads: r.seen}
		if w.trace != nil {
			t.Name = fmt.Sprintf("run %d", i)
		}
		for _, write := range w.jobs[r.job].writes {
			value := valueOf(int32(i), write.object)
			if write.delete {
				value = 0
				w.mark(MarkDelete)
			}
			t.Writes = append(t.Writes, check.Write{OID: objects[write.object], Delete: write.delete, Value: value})
		}
		if len(r.seen) == 0 {
			w.mark(MarkBlindWrite)
		}
		recorded = append(recorded, t)
	}
	return recorded
}

func snapshotAt(ts txn.Timestamp, start uint64) check.Transaction {
	return check.Transaction{TS: ts, Snapshot: true, Start: start}
}

// markConflicts notes whether two jobs that overlap in time meet on two shards, one writing what the other reads
// or writes.
func (w *World) markConflicts() {
	for i := range w.jobs {
		for k := range i {
			a, b := &w.jobs[i], &w.jobs[k]
			if a.run < 0 || b.run < 0 || !a.started || !b.started || a.view || b.view || !w.overlap(a, b) {
				continue
			}
			readA, writeA := a.masks()
			readB, writeB := b.masks()
			var shards uint8
			for object := range w.params.Objects {
				if (writeA&(readB|writeB)|writeB&readA)>>object&1 != 0 {
					shards |= 1 << w.shardOf(object)
				}
			}
			if bits.OnesCount8(shards) > 1 {
				w.coverage[MarkTwoShardConflict] = 1
			}
		}
	}
}

// overlap reports whether two jobs were under way, both having sent something, at the same time.
func (w *World) overlap(a, b *job) bool {
	lastA, lastB := &w.runs[a.run], &w.runs[b.run]
	before := func(last *run, other *job) bool { return last.end != 0 && last.end < other.start }
	return lastA.attempt.Number > 0 && lastB.attempt.Number > 0 && !before(lastA, b) && !before(lastB, a)
}

func (j *job) masks() (reads, writes uint8) {
	for _, object := range j.reads {
		reads |= 1 << object
	}
	for _, write := range j.writes {
		writes |= 1 << write.object
	}
	return reads, writes
}
