package table

import (
	"fmt"

	"github.com/viewline/viewline/internal/omit"
)

// Table is the client-table of one replica.
type Table struct {
	options Options
	// applied is the op-number of the last operation.
	applied  uint64
	sessions map[uint64]*session // by id, for looking up only: the lists have an order
	used     list                // every session
	replying list                // those with replies
	bytes    int                 // of all replies that are kept
	admitted []admitted          // requests that are about to be executed; empty between two Applies
	counts   Counts
	broken   error
}

// Counts are totals of this table object since it was made or restored, and what is in it now.
type Counts struct {
	// Executed, Repeated and Registered operations; requests refused because their session is dropped, their
	// number below or above the window, or their bytes malformed.
	Executed, Repeated, Registered, RefusedDropped, RefusedBelow, RefusedAbove, RefusedMalformed uint64
	// SessionsDropped to make room, and RepliesDropped to keep to the bounds.
	SessionsDropped, RepliesDropped uint64
	// Sessions and ReplyBytes are there now.
	Sessions, ReplyBytes uint64
}

// New returns an empty table. The options are valid.
func New(options Options) *Table {
	t := &Table{options: options.WithDefaults(), sessions: map[uint64]*session{}}
	t.used.which, t.replying.which = byUse, byReplies
	return t
}

// Counts tells what happened so far.
func (t *Table) Counts() Counts {
	counts := t.counts
	counts.Sessions, counts.ReplyBytes = uint64(len(t.sessions)), uint64(t.bytes)
	return counts
}

func (t *Table) omits(rule omit.Rule) bool { return t.options.Omit.Has(rule) }

// register makes a session. The log numbers them, so that no two are alike; a client that has forgotten what it
// asked makes a new one, where the paper's would ask for its last number and guess how many requests are still on
// their way (4.5).
func (t *Table) register(op, nonce uint64) []byte {
	if len(t.sessions) >= t.options.SessionsMax && !t.omits(RuleSessionsMax) {
		victim := t.used.oldest
		if t.omits(RuleLeastRecentlyUsed) {
			victim = t.used.newest
		}
		t.drop(victim)
	}
	t.add(&session{id: op, nonce: nonce, used: op, base: 1, low: 1})
	t.counts.Registered++
	return registered(op, t.options.WindowMax)
}

func (t *Table) add(s *session) {
	t.sessions[s.id] = s
	t.used.push(s)
}

func (t *Table) drop(s *session) {
	delete(t.sessions, s.id)
	t.used.remove(s)
	if s.bytes > 0 {
		t.replying.remove(s)
		t.bytes -= s.bytes
	}
	t.counts.SessionsDropped++
}

// find returns the session that a request may use, or nil.
func (t *Table) find(r *Request) *session {
	s := t.sessions[r.Session]
	if s == nil && t.omits(RuleDropped) {
		s = &session{id: r.Session, nonce: r.Nonce, base: 1, low: 1}
		t.add(s)
	}
	if s == nil || s.nonce != r.Nonce && !t.omits(RuleNonce) {
		return nil
	}
	return s
}

// use makes a session the most recently used one.
func (t *Table) use(s *session, op uint64) {
	s.used = op
	t.used.moveToNewest(s)
	if s.bytes > 0 {
		t.replying.moveToNewest(s)
	}
}

// acknowledge forgets everything below a number.
func (t *Table) acknowledge(s *session, number uint64) {
	if number <= s.base && !t.omits(RuleNeverBack) || t.omits(RuleAcknowledged) {
		return
	}
	if len(s.slots) > 0 && number > s.base {
		slots := s.own()
		for offset := range min(number-s.base, uint64(len(slots))) {
			at := (s.base + offset) & uint64(len(slots)-1)
			t.forget(s, &slots[at])
			slots[at] = slot{}
		}
	}
	s.base, s.low = number, max(s.low, number)
	if t.omits(RuleNeverBack) {
		s.low = number
	}
}

// keep keeps a reply for the copies of its request, and drops others where the bounds want it: of this session the
// one that was executed first, of all sessions those of the one that was used longest ago.
func (t *Table) keep(s *session, number uint64, reply []byte) {
	if len(reply) > t.options.SessionReplyBytesMax && !t.omits(RuleSessionReplyBytes) {
		t.counts.RepliesDropped++
		return
	}
	s.change(number).reply = reply
	if s.bytes == 0 {
		t.replying.push(s)
	}
	s.bytes += len(reply)
	t.bytes += len(reply)
	for s.bytes > t.options.SessionReplyBytesMax && !t.omits(RuleSessionReplyBytes) {
		t.shed(s)
	}
	for t.bytes > t.options.ReplyBytesMax && !t.omits(RuleReplyBytes) {
		t.shed(t.replying.oldest)
	}
}

func (t *Table) shed(s *session) {
	t.forget(s, s.change(s.oldest()))
	t.counts.RepliesDropped++
}

// forget lets a reply go; that its request was executed stays known.
func (t *Table) forget(s *session, place *slot) {
	if place.reply == nil {
		return
	}
	s.bytes -= len(place.reply)
	t.bytes -= len(place.reply)
	place.reply = nil
	if s.bytes == 0 {
		t.replying.remove(s)
	}
}

// fail stops the table for good.
func (t *Table) fail(format string, arguments ...any) error {
	t.broken = fmt.Errorf("%w: %s", ErrInvariant, fmt.Sprintf(format, arguments...))
	return t.broken
}
