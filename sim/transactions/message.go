package transactions

import (
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// messageKind is the kind of a request.
type messageKind uint8

const (
	prepareTxn messageKind = iota + 1
	commitOnePhase
	commitTxn
	abortTxn
	fence
	endTxn
	readLatest
	readSnapshot
)

func (k messageKind) String() string {
	names := [...]string{"", "PrepareTxn", "CommitOnePhase", "CommitTxn", "AbortTxn", "Fence", "EndTxn", "Read", "Snapshot"}
	return names[k]
}

// message is one copy of a request, with all that happens to it.
type message struct {
	kind    messageKind
	actor   int32 // the machine that sent it, -1 if none waits for the answer
	job     int32 // of a read
	run     int32 // of a read of an update: the run it belongs to
	shard   int
	replica int
	attempt txn.Attempt
	part    *txn.Transaction
	// everyLater is a fence's.
	everyLater bool
	// commitSend or terminateSend is what the machine sent.
	commitSend    commit.Send
	terminateSend terminate.Send

	lead        uint64 // under which it was admitted, or the snapshot was read
	incarnation int    // of the replica that admitted it
	// closed: the sender has its answer, or has given up.
	closed bool
	// waiting: it waits for writers at the replica.
	waiting bool
	waited  bool // it has done so; for the mistake WaitBeforeRaise
	verdict txn.Verdict
	failed  bool // the request certainly had no effect, or the snapshot is too old
	oids    []string
	values  []history.Value
	at      txn.OpNumber
}

var commitKinds = [...]messageKind{
	commit.PrepareTxn: prepareTxn, commit.CommitOnePhase: commitOnePhase, commit.CommitTxn: commitTxn,
	commit.AbortTxn: abortTxn, commit.Fence: fence, commit.EndTxn: endTxn,
}

var terminateKinds = [...]messageKind{
	terminate.Fence: fence, terminate.CommitTxn: commitTxn, terminate.AbortTxn: abortTxn, terminate.EndTxn: endTxn,
}

// post puts a message on its way, to the primary that its sender knows.
func (w *World) post(m message) int32 {
	m.replica = w.shards[m.shard].primary
	if w.faulty(w.params.Astray) {
		m.replica = w.random.below(len(w.shards[m.shard].replicas))
	}
	number := int32(len(w.messages))
	w.messages = append(w.messages, m)
	w.tracef("%4d    message %d: %v %v to shard %d", w.now, number, m.kind, m.attempt, m.shard+1)
	if m.kind >= readLatest {
		w.put(event{kind: deliver, a: number})
		return number
	}
	if m.kind >= commitTxn && w.faulty(w.params.Duplicate) {
		w.mark(MarkDuplicate)
		again := m
		again.actor = -1
		w.messages = append(w.messages, again)
		w.put(event{kind: deliver, a: number + 1})
	}
	if w.faulty(w.params.Lose) {
		w.mark(MarkLost)
		w.tracef("%4d    message %d is lost", w.now, number)
		w.put(event{kind: giveUp, a: number})
		return number
	}
	w.put(event{kind: deliver, a: number})
	if w.faulty(w.params.GiveUp) {
		w.mark(MarkGivenUp)
		w.put(event{kind: giveUp, a: number})
	}
	return number
}

// faulty is a chance that healing takes away.
func (w *World) faulty(permille int) bool { return !w.healing && w.random.chance(permille) }

// answerMessage puts the verdict on its way back, unless that is lost.
func (w *World) answerMessage(number int32, verdict txn.Verdict) {
	m := &w.messages[number]
	m.verdict, m.failed = verdict, false
	w.sendBack(number)
}

// refuseMessage tells the sender that this copy certainly had no effect and will have none.
func (w *World) refuseMessage(number int32) {
	m := &w.messages[number]
	m.verdict, m.failed = txn.Verdict{}, true
	w.sendBack(number)
}

func (w *World) sendBack(number int32) {
	if w.messages[number].actor < 0 {
		return
	}
	if w.faulty(w.params.Lose) {
		w.mark(MarkLost)
		w.tracef("%4d    the reply to message %d is lost", w.now, number)
		w.put(event{kind: giveUp, a: number})
		return
	}
	w.put(event{kind: reply, a: number})
}

// onReply brings a verdict to the machine that asked. It may come after the machine has given up on it.
func (w *World) onReply(number int32) {
	m := &w.messages[number]
	a := &w.actors[m.actor]
	if a.dead {
		return
	}
	m.closed = true
	switch {
	case a.commit != nil && m.failed:
		w.perform(m.actor, a.commit.Step(commit.Failed{Send: m.commitSend, Certain: true}))
	case a.commit != nil:
		w.perform(m.actor, a.commit.Step(commit.Reply{Send: m.commitSend, Verdict: m.verdict}))
	case m.failed:
		w.carryOut(m.actor, a.terminator.Step(terminate.Failed{Send: m.terminateSend}))
	default:
		w.carryOut(m.actor, a.terminator.Step(terminate.Reply{Send: m.terminateSend, Verdict: m.verdict}))
	}
}

// onGiveUp tells the machine that nobody knows what became of a message, if it has not heard of it yet. The
// message itself may still be under way.
func (w *World) onGiveUp(number int32) {
	m := &w.messages[number]
	if m.closed || m.actor < 0 || w.actors[m.actor].dead {
		return
	}
	m.closed = true
	if a := &w.actors[m.actor]; a.commit != nil {
		w.perform(m.actor, a.commit.Step(commit.Failed{Send: m.commitSend}))
	} else {
		w.carryOut(m.actor, a.terminator.Step(terminate.Failed{Send: m.terminateSend}))
	}
}

// redirect sends a request on to the shard's primary of this moment.
func (w *World) redirect(number int32) {
	m := &w.messages[number]
	m.replica = w.shards[m.shard].primary
	w.put(event{kind: deliver, a: number})
}
