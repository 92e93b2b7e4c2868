package transactions

import (
	"fmt"

	"github.com/viewline/viewline/check"
	"github.com/viewline/viewline/txn"
)

// World is one history in the making.
type World struct {
	params Params
	random random
	// now counts steps; it is the clock on which transactions begin and end.
	now uint64
	// issued is the last timestamp that the coordinator gave out.
	issued   txn.Timestamp
	kept     txn.Timestamp // by a clerk that should not have
	healing  bool
	sequence uint64

	shards   []shard
	jobs     []job
	runs     []run
	views    []check.Transaction
	actors   []actor
	messages []message
	pool     []event
	attempts []attemptRecord

	// problems are what was found wrong on the way; judge adds what it finds at the end.
	problems []string
	coverage Coverage
	digest   uint64
	trace    func(format string, arguments ...any)
}

// Report is what a history came to.
type Report struct {
	// Problems are empty if the history is good.
	Problems []string
	Coverage Coverage
	// Digest covers every event: equal digests, equal histories.
	Digest uint64
	// Steps is how many events were played.
	Steps uint64
}

// Run plays the history of a seed. Trace, if not nil, is told every event.
func Run(params Params, seed uint64, trace func(format string, arguments ...any)) Report {
	w := &World{params: params, random: random{state: seed}, trace: trace, digest: seed}
	w.tracef("params %+v", params)
	w.build()
	w.play()
	w.heal()
	w.judge()
	return Report{Problems: w.problems, Coverage: w.coverage, Digest: w.digest, Steps: w.now}
}

// eventKind is what waits in the pool to happen.
type eventKind uint8

const (
	deliver     eventKind = iota + 1 // a request, to a replica
	reply                            // a verdict, to its sender
	giveUp                           // the sender of a request stops waiting
	propose                          // an admitted operation, into the log
	timer                            // of a machine
	oracleActor                      // a timestamp for a machine
	oracleJob                        // a timestamp for a view, or for a hasty clerk
	oracleLead                       // a floor for a new primary
	barrier                          // the check whether a primary still is one, after a snapshot was read
	stopWaiting                      // a read has waited long enough for writers
)

func (k eventKind) String() string {
	names := [...]string{"", "deliver", "reply", "give up", "propose", "timer", "timestamp", "timestamp for job", "floor", "barrier", "stop waiting"}
	return names[k]
}

// event is something that happens when it is drawn from the pool; nothing else orders events.
type event struct {
	kind eventKind
	// a is a message, an actor, a job or a shard, b a replica; number is a token, a Lead's number, a view.
	a, b   int32
	number uint64
	view   uint64
}

func (w *World) put(e event) { w.pool = append(w.pool, e) }

func (w *World) tracef(format string, arguments ...any) {
	if w.trace != nil {
		w.trace(format, arguments...)
	}
}

func (w *World) mark(m Mark) { w.coverage[m]++ }

func (w *World) problem(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	w.tracef("PROBLEM: %s", text)
	w.problems = append(w.problems, text)
}

// fold mixes what happens into the digest.
func (w *World) fold(number uint64) { w.digest = (w.digest ^ number) * 0x100000001b3 }

// timestamp is the coordinator: it allocates when asked.
func (w *World) timestamp() txn.Timestamp {
	if !w.random.chance(w.params.Repeat) {
		w.issued += txn.Timestamp(1 + w.random.below(3))
	}
	return w.issued
}

// play takes the history through its faults.
func (w *World) play() {
	for range w.params.Steps {
		w.now++
		if !w.surroundings() {
			w.happen()
		}
	}
}

// happen draws one event from the pool. It reports false if there is none.
func (w *World) happen() bool {
	if len(w.pool) == 0 {
		return false
	}
	i := w.random.below(len(w.pool))
	e := w.pool[i]
	w.pool[i] = w.pool[len(w.pool)-1]
	w.pool = w.pool[:len(w.pool)-1]
	w.fold(uint64(e.kind)<<32 | uint64(uint32(e.a)))
	if w.trace != nil {
		w.tracef("%4d  %v %d/%d %d", w.now, e.kind, e.a, e.b, e.number)
	}
	switch e.kind {
	case deliver:
		if w.faulty(w.params.Slow) {
			w.put(e)
		} else {
			w.serve(e.a)
		}
	case reply:
		w.onReply(e.a)
	case giveUp:
		w.onGiveUp(e.a)
	case propose:
		w.onPropose(e.a)
	case timer:
		w.onTimer(e.a, e.number)
	case oracleActor:
		w.onTimestamp(e.a)
	case oracleJob:
		w.onJobTimestamp(e.a)
	case oracleLead:
		w.onFloor(e)
	case barrier:
		w.onBarrier(e.a)
	case stopWaiting:
		w.onStopWaiting(e.a)
	}
	return true
}

// surroundings lets happen what nobody asked for. It reports whether anything did.
func (w *World) surroundings() bool {
	p, x := &w.params, w.random.below(1000)
	for _, choice := range [...]struct {
		permille int
		do       func(*World) bool
	}{
		{p.Apply, (*World).applySomewhere},
		{60, (*World).startJob},
		{p.ViewChange, (*World).changeView},
		{p.Terminate, (*World).terminateSomething},
		{p.Redrive, (*World).redriveSomething},
		{p.Outcome, (*World).askOutcome},
		{p.Advance, (*World).advance},
		{p.Cancel, (*World).cancelSomebody},
		{p.LateOwn, (*World).ownLate},
		{p.Restart, (*World).restart},
	} {
		if x < choice.permille {
			return choice.do(w)
		}
		x -= choice.permille
	}
	return false
}
