package commit

import "github.com/viewline/viewline/txn"

// errand is one CommitTxn or AbortTxn on its way to one participant. It is idempotent, and so it is sent again
// until it is answered.
type errand struct {
	kind    Kind
	attempt txn.Attempt
	shard   txn.ShardID
	tries   int
	over    bool // answered, or given up
	applied bool // a commit: the participant has it
}

func (m *Machine) errand(kind Kind, attempt txn.Attempt, shard txn.ShardID) {
	m.errands = append(m.errands, errand{kind: kind, attempt: attempt, shard: shard, tries: 1})
	m.send(kind, shard, attempt, nil)
}

// commit answers the caller and carries the decision to everybody in the background. A transaction of one
// participant was installed by the operation that validated it, and nobody else has to know.
func (m *Machine) commit() {
	m.phase = decided
	m.answer(Outcome{Kind: Committed})
	if len(m.members) == 1 && m.members[0].vote == committed {
		return
	}
	for _, part := range m.parts {
		m.errand(CommitTxn, m.attempt, part.Shard)
	}
	if m.options.Omit.Has(RuleEndWhenApplied) {
		m.end()
	}
}

func (m *Machine) findErrand(send Send) *errand {
	for i := range m.errands {
		e := &m.errands[i]
		if e.kind == send.Kind && e.shard == send.Shard && e.attempt == send.Attempt && !e.over {
			return e
		}
	}
	return nil
}

func (m *Machine) onErrandReply(event Reply) {
	e := m.findErrand(event.Send)
	if e == nil {
		return
	}
	switch event.Verdict.Status {
	case txn.StatusCommitted:
		e.over, e.applied = true, e.kind == CommitTxn
		m.contradiction = m.contradiction || e.kind == AbortTxn
	case txn.StatusAborted:
		e.over = true
		m.contradiction = m.contradiction || e.kind == CommitTxn
	case txn.StatusForgotten:
		// A commit is forgotten only after an END, which somebody sent who knew that all had applied it.
		e.over, e.applied = true, e.kind == CommitTxn
	default:
		m.retryErrand(e)
		return
	}
	if e.kind == CommitTxn && m.everyoneApplied() && !m.options.Omit.Has(RuleEndWhenApplied) {
		m.end()
	}
}

func (m *Machine) onErrandFailed(send Send) {
	if e := m.findErrand(send); e != nil {
		m.retryErrand(e)
	}
}

func (m *Machine) retryErrand(e *errand) {
	if e.tries >= m.options.TriesMax {
		e.over = true
		return
	}
	e.tries++
	kind, shard, attempt := e.kind, e.shard, e.attempt
	m.after(e.tries-1, func() { m.send(kind, shard, attempt, nil) })
}

func (m *Machine) everyoneApplied() bool {
	applied := 0
	for _, e := range m.errands {
		if e.kind == CommitTxn && e.applied {
			applied++
		}
	}
	return applied == len(m.parts)
}

// end tells everybody that nobody has to be asked about this transaction any more. If it is lost, the shards
// find out by themselves.
func (m *Machine) end() {
	for _, part := range m.parts {
		m.send(EndTxn, part.Shard, m.attempt, nil)
	}
}
