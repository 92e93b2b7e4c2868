package commit

import "github.com/viewline/viewline/txn"

// fence sends a fence to every participant of which nothing else can tell, one at a time each.
func (m *Machine) fence() {
	for i := range m.members {
		p := &m.members[i]
		if p.mustFence && !p.fencing {
			p.fencing = true
			p.fenceTries++
			m.send(Fence, m.parts[i].Shard, m.attempt, nil)
		}
	}
}

// retryFence waits and fences again: while the caller waits, until it gives up; afterwards only so often.
func (m *Machine) retryFence(i int) {
	p := &m.members[i]
	if !p.mustFence {
		return
	}
	if m.answered && p.fenceTries >= m.options.TriesMax {
		p.mustFence = false
		return
	}
	p.fencing = true
	attempt := m.attempt
	m.after(p.fenceTries, func() {
		if m.phase == preparing && m.attempt == attempt {
			m.members[i].fencing = false
			m.fence()
		}
	})
}

// onDead ends an attempt of which one participant is known that never will have it prepared. Whoever may hold
// it is told; then the next attempt begins, or the caller is answered.
func (m *Machine) onDead() {
	verdict, retime, hopeless := m.cause()
	m.phase, m.died = decided, verdict
	for i := range m.members {
		if m.members[i].mayHold() {
			m.errand(AbortTxn, m.attempt, m.parts[i].Shard)
		}
	}
	switch {
	case m.answered:
	case retime && m.attempt.Number < uint32(m.options.AttemptsMax):
		m.nextAttempt(verdict)
	default:
		m.answer(Outcome{Kind: Aborted, Verdict: verdict, Rerun: !hopeless})
	}
}

// cause returns the verdict that explains why the attempt died, and whether a new timestamp may help. A
// verdict that asks for the function to run again goes before one that does not.
func (m *Machine) cause() (verdict txn.Verdict, retime, hopeless bool) {
	retime = true
	for i := range m.members {
		p := &m.members[i]
		hopeless = hopeless || p.hopeless || p.verdict.Reason == txn.Invariant
		known := p.vote == dead || p.verdict.Status == txn.StatusRefused
		if !known && p.vote != forgotten {
			continue
		}
		good := p.retimeable() && !p.wrongShard && !p.hopeless && p.vote != forgotten
		if verdict.Status == txn.StatusUnknown || retime && !good {
			verdict = p.verdict
		}
		retime = retime && good
	}
	return verdict, retime, hopeless
}

// nextAttempt asks for a new timestamp: at once if the old one was to blame, else after a pause that gives an
// overloaded or changing shard time.
func (m *Machine) nextAttempt(verdict txn.Verdict) {
	switch verdict.Reason {
	case txn.TooOld, txn.NeedsNewerTimestamp, txn.ReadByLater, txn.Fenced:
		m.wantTimestamp()
	default:
		m.phase = pausing
		m.after(int(m.attempt.Number), func() {
			if m.phase == pausing {
				m.wantTimestamp()
			}
		})
	}
}
