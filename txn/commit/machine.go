package commit

import (
	"fmt"
	"slices"

	"github.com/viewline/viewline/txn"
)

// phase is what the machine is about.
type phase uint8

const (
	waitingForTimestamp phase = iota + 1
	pausing                   // before it asks for the timestamp of the next attempt
	preparing                 // the attempt may still commit or die
	decided                   // committed, or dead with no attempt to follow
	finished                  // Done was given
)

// Machine drives one transaction. Create it with New.
type Machine struct {
	options      Options
	id           txn.TxnID
	parts        []Part
	participants []txn.ShardID
	mapVersion   uint64

	phase phase
	// attempt is the last one that was sent; Number is 0 before the first.
	attempt txn.Attempt
	// first is the timestamp of the first attempt; died is why the last one is dead.
	first txn.Timestamp
	died  txn.Verdict
	// members are the participants' states in that attempt, in the order of parts.
	members []member

	answered      bool
	cancelled     bool
	contradiction bool
	// errands are the CommitTxn and AbortTxn that have to arrive, whether or not anybody waits for them.
	errands []errand

	copies uint32            // numbers the sends
	open   []uint32          // sends that have neither Reply nor Failed, ascending
	tokens uint64            // numbers the timers
	timers map[uint64]func() // what each timer is to do; at most one for each fence and errand, and the pause
	out    []Action
}

// New makes the machine of one transaction, whose id names one of the parts' shards as home. Parts must be
// ascending by shard; they are kept and must not be changed. Errors are ErrOptions and ErrParts.
func New(options Options, id txn.TxnID, parts []Part, mapVersion uint64) (*Machine, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if err := checkParts(id.Home, parts); err != nil {
		return nil, err
	}
	m := &Machine{
		options: options.withDefaults(), id: id, parts: parts, mapVersion: mapVersion,
		participants: make([]txn.ShardID, 0, len(parts)),
	}
	for _, part := range parts {
		m.participants = append(m.participants, part.Shard)
	}
	return m, nil
}

// Start begins. It must be called once, before Step. The slice that it and Step return is good until the next
// call.
func (m *Machine) Start() []Action {
	m.wantTimestamp()
	return m.take()
}

// Step takes one event. Events that are late, repeated or not the machine's do nothing.
func (m *Machine) Step(event Event) []Action {
	m.out = m.out[:0]
	if m.phase == finished {
		return nil
	}
	switch event := event.(type) {
	case Timestamp:
		m.onTimestamp(event)
	case Reply:
		m.close(event.Send)
		m.onReply(event)
	case Failed:
		m.close(event.Send)
		m.onFailed(event)
	case Timer:
		if do, ok := m.timers[event.Token]; ok {
			delete(m.timers, event.Token)
			do()
		}
	case Cancelled:
		m.onCancelled()
	}
	return m.take()
}

// Attempt returns the last attempt that was sent; its Number is 0 before the first.
func (m *Machine) Attempt() txn.Attempt { return m.attempt }

// String describes the machine for logs and traces.
func (m *Machine) String() string {
	return fmt.Sprintf("commit of %v over %v: phase %d, answered %t, open %v", m.attempt, m.participants, m.phase, m.answered, m.open)
}

// take ends a step: it adds Done when nothing is outstanding any more.
func (m *Machine) take() []Action {
	if m.answered && m.phase != finished && len(m.open) == 0 && len(m.timers) == 0 {
		m.phase = finished
		m.out = append(m.out, Done{Contradiction: m.contradiction})
	}
	return m.out
}

func (m *Machine) send(kind Kind, shard txn.ShardID, attempt txn.Attempt, part *txn.Transaction) Send {
	m.copies++
	send := Send{Kind: kind, Shard: shard, Attempt: attempt, Copy: m.copies, Txn: part}
	if kind != EndTxn {
		m.open = append(m.open, send.Copy)
	}
	m.out = append(m.out, send)
	return send
}

func (m *Machine) close(send Send) {
	if i, found := slices.BinarySearch(m.open, send.Copy); found {
		m.open = slices.Delete(m.open, i, i+1)
	}
}

// after has do called when a timer of the backoff for the given number of tries is over.
func (m *Machine) after(tries int, do func()) {
	millis := m.options.BackoffMillisMin
	for range min(tries-1, 31) {
		millis = min(2*millis, m.options.BackoffMillisMax)
	}
	if m.timers == nil {
		m.timers = map[uint64]func(){} // most transactions need none
	}
	m.tokens++
	m.timers[m.tokens] = do
	m.out = append(m.out, WantTimer{Millis: millis, Token: m.tokens})
}

func (m *Machine) wantTimestamp() {
	m.phase = waitingForTimestamp
	m.out = append(m.out, WantTimestamp{})
}

func (m *Machine) answer(outcome Outcome) {
	if m.answered {
		return
	}
	m.answered = true
	outcome.Attempt = m.attempt
	m.out = append(m.out, Answer{Outcome: outcome})
}

// onCancelled tells the caller what is certain now. What is under way goes on: it may yet free others.
func (m *Machine) onCancelled() {
	if m.cancelled || m.answered {
		return
	}
	m.cancelled = true
	switch {
	case m.phase != preparing:
		// No attempt was sent, or the last one is dead: nothing of this transaction can take effect any more.
		m.phase = decided
		m.answer(Outcome{Kind: Aborted})
	case m.options.Omit.Has(RuleCancelledUnknown):
		m.answer(Outcome{Kind: Aborted, Rerun: true})
	default:
		m.answer(Outcome{Kind: Unknown})
	}
}
