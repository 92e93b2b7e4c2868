package terminate

import (
	"fmt"
	"slices"

	"github.com/viewline/viewline/txn"
)

// phase is what the machine is about.
type phase uint8

const (
	askingHome phase = iota + 1 // an Outcome: the home shard names the participants
	asking                      // everybody is fenced
	askingOwn                   // somebody has forgotten: does the own shard still hold it?
	carrying                    // the decision goes to everybody
	givenUp                     // answered, nothing to carry
	finished                    // Done was given
)

// Machine finishes one attempt, or finds out how it was finished. Create it with New, NewRedrive or
// NewOutcome.
type Machine struct {
	options Options
	// self is the shard that the machine works for; 0 for a clerk.
	self    txn.ShardID
	attempt txn.Attempt
	members []member

	phase phase
	// decision is what is carried, when the phase is carrying.
	decision      Kind
	forgotten     txn.Verdict // the first answer that said so
	aborted       txn.Verdict // likewise
	ownAsked      uint32      // the copy of the fence by which the own shard was last asked
	ended         bool        // the END was sent
	answered      bool
	cancelled     bool
	contradiction bool

	copies uint32   // numbers the sends
	open   []uint32 // sends that have neither Reply nor Failed, ascending
	tokens uint64   // numbers the timers
	timers map[uint64]txn.ShardID
	out    []Action
}

// member is one participant.
type member struct {
	shard  txn.ShardID
	status txn.Status // what its last answer said; unknown until it has given one
	tries  int        // of what is asked of it now
	// over: it has applied the decision, or the machine has given up on it.
	over    bool
	applied bool
}

// New makes a terminator for an attempt that the shard self holds prepared. Participants are those that its
// PrepareTxn named, self among them. Errors are ErrOptions and ErrParticipants.
func New(options Options, self txn.ShardID, attempt txn.Attempt, participants []txn.ShardID) (*Machine, error) {
	if err := checkParticipants(self, participants); err != nil {
		return nil, err
	}
	m, err := newMachine(options, self, attempt)
	if err != nil {
		return nil, err
	}
	m.phase = asking
	m.join(participants)
	return m, nil
}

// NewRedrive makes a machine that carries a commit, which the shard self remembers without an END, to all
// participants again and then sends the END. Errors are ErrOptions and ErrParticipants.
func NewRedrive(options Options, self txn.ShardID, attempt txn.Attempt, participants []txn.ShardID) (*Machine, error) {
	m, err := New(options, self, attempt, participants)
	if err != nil {
		return nil, err
	}
	m.phase, m.decision = carrying, CommitTxn
	return m, nil
}

// NewOutcome makes a machine that finds out for a clerk what became of an attempt, and sees to it that the
// answer stays true. An undecided attempt is decided by it. The only error is ErrOptions.
func NewOutcome(options Options, attempt txn.Attempt) (*Machine, error) {
	m, err := newMachine(options, 0, attempt)
	if err != nil {
		return nil, err
	}
	m.phase = askingHome
	m.join([]txn.ShardID{attempt.ID.Home})
	return m, nil
}

func newMachine(options Options, self txn.ShardID, attempt txn.Attempt) (*Machine, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Machine{options: options.withDefaults(), self: self, attempt: attempt, timers: map[uint64]txn.ShardID{}}, nil
}

// join adds the participants that are not members yet and keeps them ascending.
func (m *Machine) join(participants []txn.ShardID) {
	for _, shard := range participants {
		i, found := slices.BinarySearchFunc(m.members, shard, func(p member, s txn.ShardID) int { return int(p.shard) - int(s) })
		if !found {
			m.members = slices.Insert(m.members, i, member{shard: shard})
		}
	}
}

// Start begins. It must be called once, before Step. The slice that it and Step return is good until the next
// call.
func (m *Machine) Start() []Action {
	switch m.phase {
	case carrying:
		m.carry(m.decision)
	case askingHome, asking, askingOwn, givenUp, finished:
		m.askAll()
	}
	return m.take()
}

// Step takes one event. Events that are late, repeated or not the machine's do nothing.
func (m *Machine) Step(event Event) []Action {
	m.out = m.out[:0]
	if m.phase == finished {
		return nil
	}
	switch event := event.(type) {
	case Reply:
		m.close(event.Send)
		m.onReply(event)
	case Failed:
		m.close(event.Send)
		m.onFailed(event.Send)
	case Timer:
		m.onTimer(event)
	case Cancelled:
		m.onCancelled()
	}
	return m.take()
}

// String describes the machine for logs and traces.
func (m *Machine) String() string {
	return fmt.Sprintf("terminate by shard %d of %v: phase %d, answered %t, open %v", m.self, m.attempt, m.phase, m.answered, m.open)
}

// take ends a step: it adds Done when nothing is outstanding any more.
func (m *Machine) take() []Action {
	if m.answered && m.phase != finished && len(m.open) == 0 && len(m.timers) == 0 {
		m.phase = finished
		m.out = append(m.out, Done{Contradiction: m.contradiction})
	}
	return m.out
}

func (m *Machine) send(kind Kind, shard txn.ShardID) {
	m.copies++
	if kind != EndTxn {
		m.open = append(m.open, m.copies)
	}
	m.out = append(m.out, Send{
		Kind: kind, Shard: shard, Attempt: m.attempt, Copy: m.copies,
		EveryLater: kind == Fence && m.self == 0 && shard == m.attempt.ID.Home && !m.options.Omit.Has(RuleEveryLaterFenced),
	})
}

func (m *Machine) close(send Send) {
	if i, found := slices.BinarySearch(m.open, send.Copy); found {
		m.open = slices.Delete(m.open, i, i+1)
	}
}

func (m *Machine) find(shard txn.ShardID) *member {
	for i := range m.members {
		if m.members[i].shard == shard {
			return &m.members[i]
		}
	}
	return nil
}

func (m *Machine) answer(outcome Outcome) {
	if !m.answered {
		m.answered = true
		outcome.Attempt = m.attempt
		m.out = append(m.out, Answer{Outcome: outcome})
	}
}

// onCancelled answers that nothing is known; what is under way goes on and may decide the attempt.
func (m *Machine) onCancelled() {
	m.cancelled = true
	m.answer(Outcome{Kind: Unknown})
}
