package terminate

import "github.com/viewline/viewline/txn"

// ask fences one participant.
func (m *Machine) ask(p *member) {
	p.tries++
	m.send(Fence, p.shard)
}

// askAll fences everybody who has not answered yet. A terminator's own shard is asked too: its answer is one
// of the log, whatever the primary that started the machine believed.
func (m *Machine) askAll() {
	for i := range m.members {
		if m.members[i].status == txn.StatusUnknown {
			m.ask(&m.members[i])
		}
	}
}

func (m *Machine) onReply(event Reply) {
	p := m.find(event.Send.Shard)
	switch {
	case p == nil || event.Send.Attempt != m.attempt:
	case event.Send.Kind == Fence:
		m.onFenceReply(p, event)
	case event.Send.Kind == m.decision && m.phase == carrying:
		m.onCarried(p, event.Verdict)
	}
}

func (m *Machine) onFenceReply(p *member, event Reply) {
	verdict := event.Verdict
	switch verdict.Status {
	case txn.StatusPrepared, txn.StatusCommitted, txn.StatusAborted, txn.StatusForgotten:
	default: // no decision of the log
		m.onFailed(event.Send)
		return
	}
	switch m.phase {
	case askingHome:
		m.onHome(p, verdict)
	case asking:
		m.note(p, verdict)
		m.judge()
	case askingOwn:
		if event.Send.Copy == m.ownAsked && p.shard == m.self {
			m.onOwn(p, verdict)
		}
	case carrying, givenUp, finished:
	}
}

// onHome takes the answer of the home shard to an Outcome. It takes part in every attempt, so what it has
// aborted is dead, and what it holds names all others. It may speak of another attempt than the one asked for:
// the one that committed, or the one that it holds prepared. No later one than that can follow, and no earlier
// one can have committed, so the answer for that one is the answer for the transaction.
func (m *Machine) onHome(p *member, verdict txn.Verdict) {
	if verdict.Attempt.ID == m.attempt.ID && verdict.Attempt.Number > 0 {
		m.attempt = verdict.Attempt
	}
	m.note(p, verdict)
	m.join(verdict.Participants)
	m.phase = asking
	if verdict.Status == txn.StatusPrepared && m.options.Omit.Has(RuleOutcomeAsksAll) {
		m.carry(CommitTxn)
		return
	}
	if verdict.Status == txn.StatusPrepared {
		m.askAll()
	}
	m.judge()
}

// note keeps what a participant says. The first answer of the log stays but for a prepared attempt, which may
// be found decided.
func (m *Machine) note(p *member, verdict txn.Verdict) {
	if p.status == txn.StatusUnknown || p.status == txn.StatusPrepared {
		p.status = verdict.Status
	}
	if verdict.Status == txn.StatusForgotten && m.forgotten.Status != txn.StatusForgotten {
		m.forgotten = verdict
	}
	if verdict.Status == txn.StatusAborted && m.aborted.Status != txn.StatusAborted {
		m.aborted = verdict
	}
}

// judge reads the decision out of the answers: any committed, all prepared, any aborted. The first answer that
// decides ends it; whoever disagrees shows when the decision is carried to it.
func (m *Machine) judge() {
	var counts [txn.StatusForgotten + 1]int
	for i := range m.members {
		counts[m.members[i].status]++
	}
	anyForgotten := counts[txn.StatusForgotten] > 0
	committed := counts[txn.StatusCommitted] > 0 && !m.options.Omit.Has(RuleCommittedEverywhere)
	prepared := counts[txn.StatusPrepared] == len(m.members) ||
		counts[txn.StatusPrepared] > 0 && m.options.Omit.Has(RuleEveryPrepared)
	switch {
	case committed || prepared:
		m.carry(CommitTxn)
	case counts[txn.StatusAborted] > 0, counts[txn.StatusCommitted] > 0:
		m.carry(AbortTxn)
	case anyForgotten && m.options.Omit.Has(RuleForgottenNotAborted):
		m.carry(AbortTxn)
	case anyForgotten && counts[txn.StatusUnknown] == 0:
		m.onAnyForgotten()
	}
}

// onAnyForgotten is reached when all have answered, none knows the decision and one has forgotten it: that one
// can never prepare it, and it may have committed it. A committed record is kept until all have applied the
// commit. So if this shard's log still has the attempt prepared after the other forgot it, it never was
// committed; only the own shard can say that, and only now.
func (m *Machine) onAnyForgotten() {
	if m.self == 0 {
		m.giveUp(Outcome{Kind: Forgotten, Verdict: m.forgotten})
		return
	}
	own := m.find(m.self)
	if own.status == txn.StatusPrepared && m.options.Omit.Has(RuleOwnAskedAfterForgotten) {
		m.carry(AbortTxn)
		return
	}
	m.phase = askingOwn
	own.tries = 0
	m.ask(own)
	m.ownAsked = m.copies
}

func (m *Machine) onOwn(own *member, verdict txn.Verdict) {
	own.status = verdict.Status
	switch verdict.Status {
	case txn.StatusPrepared:
		m.carry(AbortTxn)
	case txn.StatusCommitted:
		m.carry(CommitTxn)
	case txn.StatusAborted:
		m.carry(AbortTxn)
	case txn.StatusForgotten, txn.StatusUnknown, txn.StatusRefused:
		m.giveUp(Outcome{Kind: Forgotten, Verdict: verdict}) // somebody finished it long ago
	}
}

func (m *Machine) giveUp(outcome Outcome) {
	m.phase = givenUp
	m.answer(outcome)
}
