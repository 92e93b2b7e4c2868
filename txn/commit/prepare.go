package commit

import "github.com/viewline/viewline/txn"

// onTimestamp begins the next attempt: one copy to every participant, at once.
func (m *Machine) onTimestamp(event Timestamp) {
	if m.phase != waitingForTimestamp {
		return
	}
	if m.attempt.Number == 0 {
		m.first = event.TS
	}
	if event.TS-m.first > m.options.AttemptSpan && !m.options.Omit.Has(RuleAttemptSpan) {
		m.phase = decided
		m.answer(Outcome{Kind: Aborted, Verdict: m.died, Rerun: true})
		return
	}
	m.attempt = txn.Attempt{ID: m.id, Number: m.attempt.Number + 1, TS: event.TS}
	m.phase = preparing
	m.members = make([]member, len(m.parts))
	for i := range m.parts {
		m.sendPrepare(i)
	}
}

func (m *Machine) sendPrepare(i int) {
	part := &m.parts[i]
	kind, participants := PrepareTxn, m.participants
	if len(m.parts) == 1 {
		kind = CommitOnePhase
	}
	if m.options.Omit.Has(RuleWholeList) {
		participants = []txn.ShardID{part.Shard}
	}
	sent := m.send(kind, part.Shard, m.attempt, &txn.Transaction{
		Attempt: m.attempt, Participants: participants, Reads: part.Reads, Writes: part.Writes, MapVersion: m.mapVersion,
	})
	m.members[i].copies = append(m.members[i].copies, sentCopy{number: sent.Copy})
}

// find returns the participant's state if the send belongs to the attempt that is being prepared.
func (m *Machine) find(send Send) (int, bool) {
	if m.phase != preparing || send.Attempt != m.attempt {
		return 0, false
	}
	for i, shard := range m.participants {
		if shard == send.Shard {
			return i, true
		}
	}
	return 0, false
}

func (m *Machine) onReply(event Reply) {
	switch event.Send.Kind {
	case PrepareTxn, CommitOnePhase, Fence:
		if i, ok := m.find(event.Send); ok {
			m.onVerdict(i, event.Send, event.Verdict)
			m.judge()
		}
	case CommitTxn, AbortTxn:
		m.onErrandReply(event)
	case EndTxn:
	}
}

// onVerdict takes what a participant says about the attempt, in answer to a copy or to a fence.
func (m *Machine) onVerdict(i int, send Send, verdict txn.Verdict) {
	p := &m.members[i]
	fence := send.Kind == Fence
	if fence {
		p.fencing = false
	}
	switch verdict.Status {
	case txn.StatusPrepared:
		m.settle(p, prepared, verdict)
	case txn.StatusCommitted:
		m.onCommitted(p, verdict)
	case txn.StatusForgotten:
		m.settle(p, forgotten, verdict)
	case txn.StatusAborted:
		m.settle(p, dead, verdict)
	case txn.StatusRefused:
		if fence {
			m.retryFence(i)
			return
		}
		p.wrongShard = p.wrongShard || verdict.Reason == txn.WrongShard
		m.onRefused(p, send, verdict)
	default:
		m.onLost(i, send)
	}
}

func (m *Machine) onCommitted(p *member, verdict txn.Verdict) {
	if m.options.Omit.Has(RuleCommittedEverywhere) && len(m.members) > 1 {
		m.settle(p, dead, verdict)
		return
	}
	m.settle(p, committed, verdict)
}

// settle notes a vote that came from the log. It is for ever, but that a prepared attempt may be found
// committed, or, if it turned out dead elsewhere, aborted or forgotten.
func (m *Machine) settle(p *member, vote vote, verdict txn.Verdict) {
	if p.vote == undecided || p.vote == prepared {
		if vote == dead && p.verdict.Status == txn.StatusRefused && verdict.Reason == txn.Fenced {
			verdict = p.verdict // why it refused says more than that it was fenced then
		}
		p.vote, p.verdict = vote, verdict
	}
	p.mustFence = false
}

// onRefused takes a refusal that is not a decision of the log: its own copy had no effect. A participant that
// does not know the attempt and calls it too old will never prepare it; any other refusal proves that only if
// every copy is accounted for.
func (m *Machine) onRefused(p *member, send Send, verdict txn.Verdict) {
	p.mark(send.Copy, harmless)
	if p.vote != undecided {
		return
	}
	if p.verdict.Status != txn.StatusRefused || verdict.Reason != txn.TooOld {
		p.verdict = verdict
	}
	switch {
	case p.wrongShard && !m.options.Omit.Has(RuleWrongShardFenced):
		p.mustFence = true
	case verdict.Reason == txn.TooOld, p.allHarmless(), p.wrongShard, m.options.Omit.Has(RuleEveryCopyRefused):
		p.vote, p.mustFence = dead, false
	default:
		p.mustFence = true
	}
}

func (m *Machine) onFailed(event Failed) {
	switch event.Send.Kind {
	case PrepareTxn, CommitOnePhase:
		i, ok := m.find(event.Send)
		if !ok {
			return
		}
		p := &m.members[i]
		switch {
		case event.Certain || event.WrongShard || event.Hopeless:
			p.wrongShard = p.wrongShard || event.WrongShard
			p.hopeless = p.hopeless || event.Hopeless
			verdict := txn.Verdict{Status: txn.StatusRefused, Attempt: m.attempt, Shard: event.Send.Shard}
			if event.WrongShard {
				verdict.Reason = txn.WrongShard
			}
			m.onRefused(p, event.Send, verdict)
		default:
			m.onLost(i, event.Send)
		}
		m.judge()
	case Fence:
		if i, ok := m.find(event.Send); ok {
			m.members[i].fencing = false
			m.retryFence(i)
			m.judge()
		}
	case CommitTxn, AbortTxn:
		m.onErrandFailed(event.Send)
	case EndTxn:
	}
}

// onLost takes a copy of which nobody knows what became. Another copy is sent if the options allow it; then
// only a fence can tell.
func (m *Machine) onLost(i int, send Send) {
	p := &m.members[i]
	if send.Kind == Fence {
		m.retryFence(i)
		return
	}
	p.mark(send.Copy, lost)
	switch {
	case p.vote != undecided || p.mustFence:
	case m.options.Omit.Has(RuleLostCopyFenced):
		p.vote = dead
	case len(p.copies) < m.options.CopiesMax && !m.cancelled:
		m.sendPrepare(i)
	case !p.onItsWay():
		p.mustFence = true
	}
}

// judge draws the conclusions from the votes: committed, dead, or whom to fence. The first vote that decides
// ends it; whoever disagrees shows when the decision is carried to it.
func (m *Machine) judge() {
	everyPrepared, anyCommitted, anyDead, anyForgotten := true, false, false, false
	for i := range m.members {
		switch m.members[i].vote {
		case committed:
			anyCommitted = true
		case prepared:
		case dead:
			anyDead, everyPrepared = true, false
		case forgotten:
			anyForgotten, everyPrepared = true, false
		case undecided:
			everyPrepared = everyPrepared && m.options.Omit.Has(RuleEveryPrepared) && i > 0
		}
	}
	switch {
	case anyCommitted || everyPrepared:
		m.commit()
		return
	case anyDead:
		m.onDead()
		return
	case anyForgotten && m.options.Omit.Has(RuleForgottenUnknown):
		m.onDead()
		return
	case anyForgotten:
		// It can never prepare there again, and it may have committed before it was forgotten.
		m.answerForgotten()
	case m.options.Omit.Has(RuleDeadBeforeNext) && m.anyRefused():
		m.onDead()
		return
	}
	m.fence()
}

func (m *Machine) anyRefused() bool {
	for i := range m.members {
		if m.members[i].vote == undecided && m.members[i].mustFence {
			return true
		}
	}
	return false
}

func (m *Machine) answerForgotten() {
	for i := range m.members {
		if m.members[i].vote == forgotten {
			m.answer(Outcome{Kind: Unknown, Verdict: m.members[i].verdict, Forgotten: true})
			return
		}
	}
}
