package group

import "github.com/viewline/viewline/replication/vr/core"

// slowMixture is links on which a round trip takes longer than what is not answered waits before it is sent again. They stay
// slow when everything else is healed. It has a stream of its own.
type slowMixture struct {
	// oneWay is how long a message takes at the most, over a slow link and beside everything else; 0: no link is slow.
	oneWay instant
	// alone is the one replica whose links are slow, or -1: all links are, and time-outs are made for it. A link of the one
	// may be slower than any time-out: it counts as one of those that may fail.
	alone  int
	spread int // of a thousand, by how much the fastest slow link is faster
}

func (s *slowMixture) on() bool { return s.oneWay > 0 }

// drawSlow draws links whose round trip takes 1 to 4 times as long as ResendTicks, or, for one replica, up to 20 times.
func (m *mixture) drawSlow(seed uint64) {
	s := newStream(seed, streamSlow)
	on, alone, resend := s.chance(150), s.chance(500), instant(m.limits.config.ResendTicks)*momentsPerTick
	drawn := slowMixture{alone: s.below(m.members), spread: s.between(0, 500)}
	most := s.span(2*resend, min(10*resend, 30*momentsPerTick))
	if !alone || m.members < 3 || m.reconfiguration.rate > 0 {
		drawn.alone, most = -1, s.span(resend*2/3, 2*resend)
	}
	if drawn.oneWay = most; on {
		m.slow = drawn
	}
}

// allowForSlow makes the limits those of a group that somebody would run over such links: time-outs above a round trip,
// where all links are slow, and messages with room.
func (m *mixture) allowForSlow() {
	if !m.slow.on() {
		return
	}
	config := &m.limits.config
	config.BatchEntriesMax, config.BatchBytesMax = max(config.BatchEntriesMax, 64), max(config.BatchBytesMax, 1<<16)
	if m.slow.alone >= 0 {
		return
	}
	m.network.delayMax = min(m.network.delayMax, momentsPerTick)
	trip := int(2*m.slow.oneWay/momentsPerTick) + config.HeartbeatTicks + 4
	spread := config.ViewChangeTicksMax - config.ViewChangeTicksMin
	config.ViewChangeTicksMin = max(config.ViewChangeTicksMin, trip+trip/2)
	config.ViewChangeTicksMax = config.ViewChangeTicksMin + spread
}

// slowDown makes the links slow, one a little more than another.
func (s *simulation) slowDown(members int) {
	m := &s.mixture.slow
	s.network.base = cleared(s.network.base, members*members)
	if !m.on() {
		return
	}
	s.covered.count(EventSlowLinks)
	random := newStream(s.options.Seed, streamSlow+1)
	for link := range s.network.base {
		takes := m.oneWay - m.oneWay*instant(random.between(0, m.spread))/1000
		if from, to := link/members, link%members; m.alone < 0 || from == m.alone || to == m.alone {
			s.network.base[link] = takes
		}
	}
}

// oneIsSlow reports whether one replica alone is behind slow links. It may have all that is committed, and not be heard yet.
func (s *simulation) oneIsSlow() bool { return s.mixture.slow.on() && s.mixture.slow.alone >= 0 }

// slowest reports whether a replica is the one behind slow links.
func (s *simulation) slowest(h *host) bool {
	return s.mixture.slow.on() && s.mixture.slow.alone == h.number
}

// coverSlow counts the answers of state transfers in a group with slow links.
func (s *simulation) coverSlow(m *core.Message) {
	if s.mixture.slow.on() && m.Kind == core.KindNewState {
		s.covered.count(EventSlowAnswer)
	}
}
