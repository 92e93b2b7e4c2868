package transactions

import (
	"fmt"

	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// serve lets a replica take up a request.
func (w *World) serve(number int32) {
	m := &w.messages[number]
	rep := &w.shards[m.shard].replicas[m.replica]
	if m.kind == readLatest {
		w.serveRead(number)
		return
	}
	if !rep.front.Leading() {
		if m.kind == readSnapshot || w.healing || w.random.below(3) > 0 {
			w.redirect(number)
		} else {
			w.refuseMessage(number)
		}
		return
	}
	e := entry{message: number, replica: m.replica, incarnation: rep.incarnation}
	switch m.kind {
	case prepareTxn, commitOnePhase:
		w.admit(number)
		return
	case readSnapshot:
		w.serveSnapshot(number)
		return
	case commitTxn:
		e.operation = history.CommitTxn{Attempt: m.attempt}
	case abortTxn:
		e.operation = history.AbortTxn{Attempt: m.attempt}
	case fence:
		e.operation = history.Fence{Attempt: m.attempt, EveryLater: m.everyLater}
	case endTxn:
		e.operation = history.EndTxn{IDs: []txn.TxnID{m.attempt.ID}}
		e.message = -1
	case readLatest:
	}
	s := &w.shards[m.shard]
	s.log = append(s.log, e)
}

// admit pre-validates a part of a transaction. What passes is proposed some time later.
func (w *World) admit(number int32) {
	m := &w.messages[number]
	front := w.shards[m.shard].replicas[m.replica].front
	verdict, admitted := front.Admit(m.part, m.kind == commitOnePhase)
	if !admitted {
		w.tracef("%4d    message %d: %v %v", w.now, number, verdict.Status, verdict.Reason)
		w.markRefusal(verdict)
		w.answerMessage(number, verdict)
		return
	}
	m.lead, m.incarnation = front.LeadNumber(), w.shards[m.shard].replicas[m.replica].incarnation
	w.put(event{kind: propose, a: number})
}

// onPropose logs what was admitted. A primary that was replaced meanwhile is refused by its group, with
// certainty; sometimes the log takes its proposal all the same, which is for the Lead in it to make good.
func (w *World) onPropose(number int32) {
	m := &w.messages[number]
	s := &w.shards[m.shard]
	rep := &s.replicas[m.replica]
	if rep.incarnation != m.incarnation {
		w.put(event{kind: giveUp, a: number})
		return
	}
	current := s.primary == m.replica && rep.view == s.view
	if !current || rep.front.LeadNumber() != m.lead {
		if !w.random.chance(w.params.Stray) {
			rep.front.Leave(m.lead, m.attempt)
			w.release(m.shard, m.replica)
			w.refuseMessage(number)
			return
		}
		w.mark(MarkStrayProposal)
	}
	e := entry{message: number, replica: m.replica, incarnation: m.incarnation, lead: m.lead}
	if m.kind == prepareTxn {
		e.operation = history.PrepareTxn{Lead: m.lead, Txn: m.part}
	} else {
		e.operation = history.CommitOnePhase{Lead: m.lead, Txn: m.part}
	}
	s.log = append(s.log, e)
}

func (w *World) markRefusal(verdict txn.Verdict) {
	if verdict.Other.Number > 0 && verdict.Other.ID == verdict.Attempt.ID {
		w.problem("%v meets an older attempt of itself: %v", verdict.Attempt, verdict.Reason)
	}
	switch verdict.Reason {
	case txn.TooOld:
		w.mark(MarkRefusedTooOld)
	case txn.NeedsNewerTimestamp:
		w.mark(MarkRefusedNeedsNewer)
	case txn.StaleRead:
		w.mark(MarkRefusedStaleRead)
	case txn.ConflictWithPrepared:
		w.mark(MarkRefusedConflict)
	case txn.ReadByLater:
		w.mark(MarkRefusedReadByLater)
	case txn.WrongShard:
		w.mark(MarkRefusedWrongShard)
	case txn.Limit:
		w.mark(MarkRefusedLimit)
	case txn.OtherLead:
		w.mark(MarkOtherLead)
	case txn.Superseded:
		w.mark(MarkSuperseded)
	case txn.Forgotten:
		w.mark(MarkForgotten)
	case txn.ReasonNone, txn.Fenced, txn.Invariant:
	}
	if verdict.Status == txn.StatusForgotten {
		w.mark(MarkForgotten)
	}
}

// serveRead answers the reads of an update from the state of any replica, however far behind; at a primary it
// may wait for writers first.
func (w *World) serveRead(number int32) {
	m := &w.messages[number]
	rep := &w.shards[m.shard].replicas[m.replica]
	if rep.front.Leading() && w.faulty(w.params.ReadWait) && !m.waiting {
		if blockers := rep.front.Blockers(m.oids); len(blockers) > 0 && rep.front.Wait(uint64(number), blockers) {
			w.mark(MarkReadWaited)
			m.waiting = true
			w.put(event{kind: stopWaiting, a: number})
			return
		}
	}
	m.waiting = false
	for _, oid := range m.oids {
		if !rep.state.Owns(oid) {
			w.redirect(number) // it does not know yet that it serves it
			return
		}
	}
	m.at = rep.state.Applied()
	for _, oid := range m.oids {
		m.values = append(m.values, rep.state.Read(oid))
	}
	w.onRead(number)
}

func (w *World) onStopWaiting(number int32) {
	m := &w.messages[number]
	if m.waiting {
		w.shards[m.shard].replicas[m.replica].front.DropWait(uint64(number))
		w.serveRead(number)
	}
}

// onReleased lets a read go on for which the writers are gone, or the primary is.
func (w *World) onReleased(number int32) {
	m := &w.messages[number]
	if !m.waiting {
		return
	}
	switch m.kind {
	case readLatest:
		w.serveRead(number)
	case readSnapshot:
		m.waiting = false
		w.put(event{kind: deliver, a: number})
	case prepareTxn, commitOnePhase, commitTxn, abortTxn, fence, endTxn:
	}
}

// serveSnapshot reads as of the view's timestamp: raise the stamps, wait for the writers, read, and look
// whether the primary still is one before the answer leaves.
func (w *World) serveSnapshot(number int32) {
	m := &w.messages[number]
	rep := &w.shards[m.shard].replicas[m.replica]
	r := w.jobs[m.job].timestamp
	early := w.params.Mistakes&WaitBeforeRaise != 0
	if early && m.waited {
		w.readNow(number)
		return
	}
	if !early {
		rep.front.RaiseSnapStamps(m.oids, r)
	}
	if blockers := rep.front.BlockersAt(m.oids, r); len(blockers) > 0 {
		w.mark(MarkViewWaited)
		if rep.front.Wait(uint64(number), blockers) {
			m.waiting = true
		} else {
			w.redirect(number)
		}
		return
	}
	if early {
		m.waited = true // it comes again, to raise and to read
		w.redirect(number)
		return
	}
	w.readNow(number)
}

// readNow is the read of a snapshot.
func (w *World) readNow(number int32) {
	m := &w.messages[number]
	rep := &w.shards[m.shard].replicas[m.replica]
	r := w.jobs[m.job].timestamp
	if w.params.Mistakes&WaitBeforeRaise != 0 {
		rep.front.RaiseSnapStamps(m.oids, r)
	}
	m.values, m.failed = m.values[:0], false
	for _, oid := range m.oids {
		value, err := rep.state.ReadAt(oid, r)
		if err != nil {
			w.mark(MarkSnapshotTooOld)
			m.failed = true
		}
		m.values = append(m.values, value)
	}
	m.lead = rep.front.LeadNumber()
	w.put(event{kind: barrier, a: number})
}

// onBarrier answers a snapshot if the replica still is the primary that read it.
func (w *World) onBarrier(number int32) {
	m := &w.messages[number]
	s := &w.shards[m.shard]
	rep := &s.replicas[m.replica]
	still := s.primary == m.replica && rep.view == s.view && rep.front.Leading() && rep.front.LeadNumber() == m.lead
	if !still && w.params.Mistakes&NoLeaseCheck == 0 {
		w.mark(MarkViewMoved)
		w.redirect(number)
		return
	}
	w.onSnapshot(number)
}

func show(operation history.Operation) string {
	switch o := operation.(type) {
	case history.PrepareTxn:
		return fmt.Sprintf("PrepareTxn lead %d %v reads %v writes %v over %v", o.Lead, o.Txn.Attempt, o.Txn.Reads, o.Txn.Writes, o.Txn.Participants)
	case history.CommitOnePhase:
		return fmt.Sprintf("CommitOnePhase lead %d %v reads %v writes %v", o.Lead, o.Txn.Attempt, o.Txn.Reads, o.Txn.Writes)
	default:
		return fmt.Sprintf("%T %+v", operation, operation)
	}
}
