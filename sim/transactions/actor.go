package transactions

import (
	"slices"

	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// actor is one machine and its driver.
type actor struct {
	commit     *commit.Machine
	terminator *terminate.Machine
	// run is the update that the machine commits or asks about; -1 for a shard's terminator.
	run int32
	// shard is the index of a terminator's own shard, -1 otherwise.
	shard   int
	attempt txn.Attempt
	redrive bool
	fences  int // sent to its own shard
	actions int // carried out so far
	dead    bool
	done    bool
}

func (w *World) startCommit(number int32) {
	r := &w.runs[number]
	machine, err := commit.New(commit.Options{
		CopiesMax: w.params.Copies, AttemptsMax: w.params.Attempts, AttemptSpan: w.params.AttemptSpan, TriesMax: 3, Omit: w.params.Commit,
	}, r.id, r.parts, 1)
	if err != nil {
		panic(err) // the model's own mistake
	}
	r.actor = int32(len(w.actors))
	w.actors = append(w.actors, actor{commit: machine, run: number, shard: -1})
	w.perform(r.actor, machine.Start())
}

// dies draws whether a machine's process ends before its next action.
func (w *World) dies(a *actor) bool {
	a.actions++
	doomed := a.run == 0 && a.commit != nil && a.actions == w.params.DieAfter
	if a.dead || !doomed && !w.faulty(w.params.Die) {
		return a.dead
	}
	a.dead = true
	w.tracef("%4d    it dies", w.now)
	if a.commit != nil {
		w.mark(MarkClerkDied)
		w.runs[a.run].dead = true
	} else {
		w.mark(MarkTerminatorDied)
	}
	return true
}

// perform carries out what a clerk's machine wants.
func (w *World) perform(number int32, actions []commit.Action) {
	for _, action := range actions {
		a := &w.actors[number]
		if w.dies(a) {
			return
		}
		switch action := action.(type) {
		case commit.Send:
			w.sendCommit(number, action)
		case commit.WantTimestamp:
			w.put(event{kind: oracleActor, a: number})
		case commit.WantTimer:
			w.put(event{kind: timer, a: number, number: action.Token})
		case commit.Answer:
			w.onAnswer(a.run, action.Outcome)
		case commit.Done:
			a.done = true
			if action.Contradiction {
				w.problem("the clerk of %v was contradicted", a.commit.Attempt())
			}
		}
	}
}

func (w *World) sendCommit(number int32, send commit.Send) {
	m := message{
		kind: commitKinds[send.Kind], actor: number, shard: int(send.Shard) - 1, attempt: send.Attempt, part: send.Txn, commitSend: send,
	}
	if send.Kind == commit.PrepareTxn || send.Kind == commit.CommitOnePhase {
		r := &w.runs[w.actors[number].run]
		r.attempt = send.Attempt
		record := w.record(send.Attempt, w.actors[number].run)
		if record.copies&(1<<m.shard) != 0 {
			w.mark(MarkSecondCopy)
		}
		record.copies |= 1 << m.shard
	}
	w.post(m)
}

// onTimestamp is the coordinator's answer to a clerk's machine. A hasty clerk uses the one that it asked for
// when it began, for its first attempt.
func (w *World) onTimestamp(number int32) {
	a := &w.actors[number]
	if a.dead {
		return
	}
	ts := txn.Timestamp(0)
	j := &w.jobs[w.runs[a.run].job]
	if a.commit.Attempt().Number == 0 && j.run == a.run {
		ts = j.timestamp
	}
	if ts == 0 {
		ts = w.timestamp()
		if w.params.Mistakes&TimestampFromBefore != 0 {
			ts = w.before(ts)
		}
	}
	if a.commit.Attempt().Number > 0 {
		w.mark(MarkRetime)
	}
	w.perform(number, a.commit.Step(commit.Timestamp{TS: ts}))
}

func (w *World) onTimer(number int32, token uint64) {
	a := &w.actors[number]
	switch {
	case a.dead:
	case a.commit != nil:
		w.perform(number, a.commit.Step(commit.Timer{Token: token}))
	default:
		w.carryOut(number, a.terminator.Step(terminate.Timer{Token: token}))
	}
}

// onAnswer is what a caller is told. One that is told to run again may do so.
func (w *World) onAnswer(number int32, outcome commit.Outcome) {
	r := &w.runs[number]
	w.tracef("%4d  run %d: %v %v %v", w.now, number, outcome.Kind, outcome.Attempt, outcome.Verdict.Reason)
	if r.answered != 0 {
		w.problem("run %d was answered twice", number)
	}
	r.answered = outcome.Kind
	switch outcome.Kind {
	case commit.Committed:
		r.end = earliest(r.end, w.now)
	case commit.Aborted:
		w.rerun(number, outcome.Rerun)
	case commit.Unknown:
		w.mark(MarkAnsweredUnknown)
	}
}

func earliest(end, now uint64) uint64 {
	if end == 0 {
		return now
	}
	return min(end, now)
}

// rerun runs the function of a run again, if that is still the job's last one.
func (w *World) rerun(number int32, good bool) {
	j := &w.jobs[w.runs[number].job]
	if j.run == number && good && j.reruns < w.params.Reruns {
		j.reruns++
		w.mark(MarkRerun)
		w.beginRun(w.runs[number].job)
	}
}

func (w *World) cancelSomebody() bool {
	if len(w.actors) == 0 {
		return false
	}
	number := int32(w.random.below(len(w.actors)))
	a := &w.actors[number]
	switch {
	case a.dead || a.done:
		return false
	case a.commit != nil:
		w.mark(MarkCancelled)
		w.tracef("%4d  the caller of run %d gives up", w.now, a.run)
		w.perform(number, a.commit.Step(commit.Cancelled{}))
	case a.run >= 0:
		w.carryOut(number, a.terminator.Step(terminate.Cancelled{}))
	}
	return true
}

// terminateSomething starts a terminator for some transaction that a primary holds prepared.
func (w *World) terminateSomething() bool {
	i := w.random.below(len(w.shards))
	s := &w.shards[i]
	rep := &s.replicas[w.random.below(len(s.replicas))]
	if !rep.front.Leading() {
		return false
	}
	var choices []*txn.Transaction
	rep.state.Prepared(func(p history.Prepared) bool {
		choices = append(choices, p.Txn)
		return true
	})
	if len(choices) == 0 {
		return false
	}
	w.terminate(i, choices[w.random.below(len(choices))])
	return true
}

func (w *World) terminate(i int, t *txn.Transaction) {
	machine, err := terminate.New(terminate.Options{TriesMax: 4, Omit: w.params.Terminator}, w.shards[i].number, t.Attempt, t.Participants)
	w.startTerminator(machine, err, actor{run: -1, shard: i, attempt: t.Attempt})
}

// redriveSomething carries a commit without END to everybody again.
func (w *World) redriveSomething() bool {
	i := w.random.below(len(w.shards))
	s := &w.shards[i]
	rep := &s.replicas[s.primary]
	if !rep.front.Leading() {
		return false
	}
	unended := rep.state.Unended(txn.Attempt{}, 8)
	if len(unended) == 0 {
		return false
	}
	w.redrive(i, unended[w.random.below(len(unended))])
	return true
}

func (w *World) redrive(i int, u history.Unended) {
	w.mark(MarkRedrive)
	machine, err := terminate.NewRedrive(terminate.Options{TriesMax: 4, Omit: w.params.Terminator}, w.shards[i].number, u.Attempt, u.Participants)
	w.startTerminator(machine, err, actor{run: -1, shard: i, attempt: u.Attempt, redrive: true})
}

// askOutcome asks about some attempt that was sent, whoever may be at work on it.
func (w *World) askOutcome() bool {
	if len(w.attempts) == 0 {
		return false
	}
	record := &w.attempts[w.random.below(len(w.attempts))]
	attempt := record.attempt
	if !w.random.chance(w.params.EarlyOutcome) {
		attempt = w.runs[record.run].attempt
	}
	w.outcome(record.run, attempt)
	return true
}

func (w *World) outcome(run int32, attempt txn.Attempt) {
	w.runs[run].asked = true
	machine, err := terminate.NewOutcome(terminate.Options{TriesMax: 4, Omit: w.params.Terminator}, attempt)
	w.startTerminator(machine, err, actor{run: run, shard: -1, attempt: attempt})
}

func (w *World) startTerminator(machine *terminate.Machine, err error, a actor) {
	if err != nil {
		panic(err) // the model's own mistake
	}
	w.tracef("%4d  actor %d: terminator at shard %d of %v, run %d", w.now, len(w.actors), a.shard+1, a.attempt, a.run)
	a.terminator = machine
	w.actors = append(w.actors, a)
	w.carryOut(int32(len(w.actors)-1), machine.Start())
}

// carryOut carries out what a terminator's machine wants.
func (w *World) carryOut(number int32, actions []terminate.Action) {
	for _, action := range actions {
		a := &w.actors[number]
		if w.dies(a) {
			return
		}
		switch action := action.(type) {
		case terminate.Send:
			if action.Kind == terminate.Fence && int(action.Shard)-1 == a.shard {
				if a.fences++; a.fences == 2 {
					w.mark(MarkTerminatorAskedOwn)
				}
			}
			w.post(message{
				kind: terminateKinds[action.Kind], actor: number, shard: int(action.Shard) - 1, attempt: action.Attempt,
				everyLater: action.EveryLater, terminateSend: action,
			})
		case terminate.WantTimer:
			w.put(event{kind: timer, a: number, number: action.Token})
		case terminate.Answer:
			w.onFound(a, action.Outcome)
		case terminate.Done:
			a.done = true
			if action.Contradiction {
				w.problem("the terminator of %v was contradicted", a.attempt)
			}
		}
	}
}

// onFound notes what a terminator or an Outcome found.
func (w *World) onFound(a *actor, outcome terminate.Outcome) {
	w.tracef("%4d  found %v of %v for run %d", w.now, outcome.Kind, outcome.Attempt, a.run)
	if a.run < 0 {
		w.onTerminated(a, outcome)
		return
	}
	r := &w.runs[a.run]
	switch outcome.Kind {
	case terminate.Committed:
		w.mark(MarkOutcomeCommitted)
		r.end = earliest(r.end, w.now)
		w.claims(outcome.Attempt, true)
	case terminate.Aborted:
		w.mark(MarkOutcomeAborted)
		r.closed = true
		if r.dead || r.answered == commit.Unknown {
			w.rerun(a.run, true)
		}
	case terminate.Forgotten:
		w.mark(MarkOutcomeForgotten)
	case terminate.Unknown:
	}
}

func (w *World) onTerminated(a *actor, outcome terminate.Outcome) {
	switch outcome.Kind {
	case terminate.Committed:
		if !a.redrive {
			w.mark(MarkTerminatorCommitted)
		}
		w.claims(outcome.Attempt, true)
	case terminate.Aborted:
		w.mark(MarkTerminatorAborted)
		w.claims(outcome.Attempt, false)
	case terminate.Forgotten:
		w.mark(MarkTerminatorForgotten)
	case terminate.Unknown:
	}
}

// claims notes that a machine holds an attempt for committed, or for aborted.
func (w *World) claims(attempt txn.Attempt, committed bool) {
	i := slices.IndexFunc(w.attempts, func(r attemptRecord) bool { return r.attempt == attempt })
	switch {
	case i < 0:
		w.problem("a terminator speaks of %v, which nobody sent", attempt)
	case committed:
		w.attempts[i].saidCommitted = true
	default:
		w.attempts[i].saidAborted = true
	}
}
