package terminate

import "github.com/viewline/viewline/txn"

// carry brings the decision to every participant that has not applied it yet.
func (m *Machine) carry(decision Kind) {
	m.phase, m.decision = carrying, decision
	outcome := Outcome{Kind: Committed}
	if decision == AbortTxn {
		outcome = Outcome{Kind: Aborted, Verdict: m.aborted}
	}
	m.answer(outcome)
	for i := range m.members {
		p := &m.members[i]
		p.tries = 0
		p.applied = decision == CommitTxn && p.status == txn.StatusCommitted
		p.over = p.applied || decision == AbortTxn && p.status == txn.StatusAborted
		if !p.over {
			p.tries++
			m.send(decision, p.shard)
		}
	}
	m.endWhenApplied()
}

// onCarried takes a participant's answer to the decision.
func (m *Machine) onCarried(p *member, verdict txn.Verdict) {
	if p.over {
		return
	}
	switch verdict.Status {
	case txn.StatusCommitted:
		p.over, p.applied = true, m.decision == CommitTxn
		m.contradiction = m.contradiction || m.decision == AbortTxn
	case txn.StatusAborted:
		p.over = true
		m.contradiction = m.contradiction || m.decision == CommitTxn
	case txn.StatusForgotten:
		// A commit is forgotten only after an END, which somebody sent who knew that all had applied it.
		p.over, p.applied = true, m.decision == CommitTxn
	default:
		m.retry(p)
		return
	}
	m.endWhenApplied()
}

// endWhenApplied sends the END of a commit once everybody has applied it. If it is lost, a later redrive sends
// it again.
func (m *Machine) endWhenApplied() {
	if m.decision != CommitTxn || m.ended || len(m.members) == 1 {
		return
	}
	for i := range m.members {
		if !m.members[i].applied && !m.options.Omit.Has(RuleEndWhenApplied) {
			return
		}
	}
	m.ended = true
	for i := range m.members {
		m.send(EndTxn, m.members[i].shard)
	}
}

func (m *Machine) onFailed(send Send) {
	if p := m.find(send.Shard); p != nil && send.Attempt == m.attempt {
		switch {
		case send.Kind == Fence && m.phase <= askingOwn, send.Kind == m.decision && m.phase == carrying && !p.over:
			m.retry(p)
		}
	}
}

// retry waits and asks, or tells, the participant again. A fence whose answer somebody waits for is repeated
// without end; everything else gives up after so many tries and leaves the rest to the next terminator.
func (m *Machine) retry(p *member) {
	if m.phase != carrying && m.options.Omit.Has(RuleNoTimeout) && p.tries > 1 {
		m.carry(AbortTxn)
		return
	}
	if waited := m.self == 0 && m.phase != carrying && !m.answered; !waited && p.tries >= m.options.TriesMax {
		m.onExhausted(p)
		return
	}
	millis := m.options.BackoffMillisMin
	for range min(p.tries-1, 31) {
		millis = min(2*millis, m.options.BackoffMillisMax)
	}
	m.tokens++
	m.timers[m.tokens] = p.shard
	m.out = append(m.out, WantTimer{Millis: millis, Token: m.tokens})
}

func (m *Machine) onExhausted(p *member) {
	if m.phase == carrying {
		p.over = true
		return
	}
	m.giveUp(Outcome{Kind: Unknown})
}

func (m *Machine) onTimer(event Timer) {
	shard, ok := m.timers[event.Token]
	if !ok {
		return
	}
	delete(m.timers, event.Token)
	p := m.find(shard)
	switch m.phase {
	case askingHome, asking, askingOwn:
		if m.phase == askingOwn && shard != m.self || m.phase == asking && p.status != txn.StatusUnknown {
			return
		}
		m.ask(p)
		m.ownAsked = m.copies
	case carrying:
		if !p.over {
			p.tries++
			m.send(m.decision, p.shard)
		}
	case givenUp, finished:
	}
}
