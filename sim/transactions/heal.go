package transactions

import (
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
)

// Bounds of what healing may take. A history that needs more is stuck.
const (
	healingRoundsMax = 12
	healingStepsMax  = 20_000
)

// heal ends all faults: every shard has a primary that serves, no message is lost any more, and who is alive
// goes on. Terminators finish what the dead have left.
func (w *World) heal() {
	w.healing = true
	w.tracef("%4d  HEALING", w.now)
	for w.startJob() {
		w.now++
	}
	for i := range w.shards {
		for !w.shards[i].owned {
			w.own(i)
		}
		w.elect(i)
	}
	if w.random.below(2) == 0 {
		w.letTimePass()
	}
	if w.settle() {
		w.askUnknown()
		w.settle()
	}
	w.lastView()
}

// settle goes on until nothing is under way, prepared or without END. It reports false if there is no end.
func (w *World) settle() bool {
	for range healingRoundsMax {
		if !w.drain() {
			w.problem("still busy after %d steps of healing", healingStepsMax)
			return false
		}
		if !w.finishLeftovers() {
			return true
		}
	}
	w.problem("in doubt after %d rounds of healing", healingRoundsMax)
	return false
}

// drain lets happen whatever is to happen. It reports false if there is no end to it.
func (w *World) drain() bool {
	for step := range healingStepsMax {
		w.now++
		if step%500 == 499 {
			w.letTimePass()
		}
		if w.random.below(3) == 0 && w.applySomewhere() || w.happen() {
			continue
		}
		if !w.applyEverywhere() && len(w.pool) == 0 {
			return true
		}
	}
	return false
}

// letTimePass raises the thresholds, so that a shard that remembers all it can may forget something; where
// horizons rise at all, as far as the rules allow.
func (w *World) letTimePass() {
	w.issued += w.params.AttemptSpan
	operation := history.Advance{Threshold: w.issued}
	if w.params.Advance > 0 {
		operation.VersionHorizon, operation.RecordHorizon = w.issued, w.issued
	}
	for i := range w.shards {
		w.logAdvance(i, operation)
	}
}

func (w *World) applyEverywhere() bool {
	applied := false
	for i := range w.shards {
		for r := range w.shards[i].replicas {
			applied = w.apply(i, r) || applied
		}
	}
	return applied
}

// finishLeftovers starts a terminator for all that is prepared and carries all commits without END. It reports
// whether there was anything.
func (w *World) finishLeftovers() bool {
	found := false
	for i := range w.shards {
		s := &w.shards[i]
		rep := &s.replicas[s.primary]
		if !rep.front.Leading() {
			w.elect(i)
			found = true
			continue
		}
		var left []*txn.Transaction
		rep.state.Prepared(func(p history.Prepared) bool {
			left = append(left, p.Txn)
			return true
		})
		for _, t := range left {
			w.terminate(i, t)
			found = true
		}
		for _, u := range rep.state.Unended(txn.Attempt{}, 64) {
			w.redrive(i, u)
			found = true
		}
	}
	if found {
		w.letTimePass()
	}
	return found
}

// askUnknown asks for the outcome of every run of which nobody was told the end.
func (w *World) askUnknown() {
	for i := range w.runs {
		r := &w.runs[i]
		if r.attempt.Number > 0 && (r.dead || r.answered == commit.Unknown) && !r.closed {
			w.outcome(int32(i), r.attempt)
		}
	}
}

// lastView reads everything at the end; it is judged like any other view.
func (w *World) lastView() {
	r := w.timestamp()
	view := snapshotAt(r, w.now+1)
	for object := range w.params.Objects {
		s := &w.shards[w.shardOf(object)]
		value, err := s.replicas[s.primary].state.ReadAt(objects[object], r)
		if err != nil {
			w.problem("the last view: %v", err)
			return
		}
		view.Reads = append(view.Reads, seen(objects[object], value))
	}
	w.views = append(w.views, view)
}
