package group

// behindMixture is how primaries have their entries written while they go on. It has a stream of its own: a seed without is
// what it was before there was any.
type behindMixture struct {
	rate    int     // of a thousand Readies that may be deferred
	longest instant // until such a write is durable
}

// drawBehind draws what has to do with it.
func (m *mixture) drawBehind(seed uint64) {
	s := newStream(seed, streamBehind)
	on, drawn := s.chance(600), behindMixture{rate: s.between(300, 1000), longest: s.span(1, 6*momentsPerTick)}
	if on {
		m.behind = drawn
	}
}

// defers reports whether a Ready is written behind the replica.
func (s *simulation) defers(h *host) bool {
	return h.ready.Deferrable && s.behindRandom.chance(s.mixture.behind.rate)
}

// advance ends a Ready.
func (s *simulation) advance(h *host) {
	deferred := h.deferring
	h.deferring = false
	if !deferred {
		h.replica.Advance()
		return
	}
	s.covered.count(EventDeferred)
	s.after(s.behindRandom.span(1, s.mixture.behind.longest), eventWrittenBehind, h, int(h.replica.Defer()))
}

// writtenBehind makes durable what was written, of which the replica hears when it has time.
func (s *simulation) writtenBehind(h *host, number int) {
	if err := h.disk.sync(); err != nil {
		s.violated(claimDisk, "r%d: %v", h.id, err)
		return
	}
	s.enqueue(h, input{kind: inputDurable, token: uint64(number)})
}
