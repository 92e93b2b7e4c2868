package table

import (
	"slices"
)

// model is the client-table as plainly as it can be said: one operation at a time, lists that are searched from
// end to end, and a memory of everything that was ever executed. It shares nothing with Table but the encoding.
type model struct {
	options  Options
	sessions []*modelSession
}

type modelSession struct {
	id, nonce, used, base uint64
	requests              []modelRequest
}

type modelRequest struct {
	number, op uint64
	kept       bool
	reply      []byte
}

func (m *model) apply(op uint64, operation []byte, value func(op uint64, operation []byte) []byte) []byte {
	what, r := read(operation)
	if what == kindMalformed {
		return plain(StatusMalformed)
	}
	if what == kindRegister {
		if len(m.sessions) == m.options.SessionsMax {
			oldest := slices.MinFunc(m.sessions, func(a, b *modelSession) int { return int(a.used) - int(b.used) })
			m.sessions = slices.DeleteFunc(m.sessions, func(s *modelSession) bool { return s == oldest })
		}
		m.sessions = append(m.sessions, &modelSession{id: op, nonce: r.Nonce, used: op, base: 1})
		return registered(op, m.options.WindowMax)
	}
	i := slices.IndexFunc(m.sessions, func(s *modelSession) bool { return s.id == r.Session && s.nonce == r.Nonce })
	if i < 0 {
		return plain(StatusSessionDropped)
	}
	s := m.sessions[i]
	s.used = op
	s.base = max(s.base, r.Acknowledged)
	s.requests = slices.DeleteFunc(s.requests, func(known modelRequest) bool { return known.number < s.base })
	if r.Number < s.base {
		return numbered(StatusBelowWindow, s.base, 0)
	}
	if r.Number-s.base >= uint64(m.options.WindowMax) {
		return numbered(StatusAboveWindow, s.base, 0)
	}
	for _, known := range s.requests {
		if known.number == r.Number && known.kept {
			return known.reply
		} else if known.number == r.Number {
			return numbered(StatusReplyDropped, known.op, 0)
		}
	}
	reply := executed(op, value(op, r.Operation))
	kept := len(reply) <= m.options.SessionReplyBytesMax
	s.requests = append(s.requests, modelRequest{number: r.Number, op: op, kept: kept, reply: reply})
	for kept && m.bytes(s) > m.options.SessionReplyBytesMax {
		m.dropOldest(s)
	}
	for kept && m.bytes(m.sessions...) > m.options.ReplyBytesMax {
		var holders []*modelSession
		for _, holder := range m.sessions {
			if m.bytes(holder) > 0 {
				holders = append(holders, holder)
			}
		}
		m.dropOldest(slices.MinFunc(holders, func(a, b *modelSession) int { return int(a.used) - int(b.used) }))
	}
	return reply
}

func (m *model) bytes(sessions ...*modelSession) (sum int) {
	for _, s := range sessions {
		for _, known := range s.requests {
			if known.kept {
				sum += len(known.reply)
			}
		}
	}
	return sum
}

// dropOldest drops the reply that was made first. Requests stand in the order of their execution.
func (m *model) dropOldest(s *modelSession) {
	for i := range s.requests {
		if s.requests[i].kept {
			s.requests[i].kept = false
			return
		}
	}
}
