package group

import (
	"cmp"
	"errors"
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// client proposes operations, each once and each another, and asks for read barriers.
type client struct {
	random    stream
	lastToken uint64
}

func newClient(seed uint64) client { return client{random: newStream(seed, streamClient)} }

// request is one step of the client; it goes on through both phases.
func (s *simulation) request() {
	c := &s.client
	every := s.mixture.client.everyTickMax
	if s.liveness.begun {
		every = 2
	}
	s.events.push(event{at: s.now + c.random.span(1, instant(every)*momentsPerTick), kind: eventClient})
	if s.liveness.begun {
		s.liveRequest()
		return
	}
	if s.askOldPrimary() || s.askFormerPrimary() {
		return
	}
	h := s.target()
	if h == nil {
		return
	}
	if c.random.chance(s.mixture.client.reads) {
		s.askRead(h)
		return
	}
	s.askPropose(h, c.random.between(1, s.mixture.client.batchMax))
}

// askOldPrimary reads where more than one replica believes to be primary, at one that is not the newest: that
// is where a read could be stale.
func (s *simulation) askOldPrimary() bool {
	found := s.believers()
	if len(found) < 2 || !s.client.random.chance(300) {
		return false
	}
	slices.SortFunc(found, func(a, b *host) int { return cmp.Compare(a.status.View, b.status.View) })
	s.covered.count(EventOldPrimaryAsked)
	s.askRead(found[s.client.random.below(len(found)-1)])
	return true
}

// target is a replica that believes to be primary, or, now and then, any.
func (s *simulation) target() *host {
	c := &s.client
	if c.random.chance(s.mixture.client.misdirected) {
		if h := s.hosts[c.random.below(len(s.hosts))]; h.running() {
			return h
		}
		return nil
	}
	found := s.believers()
	if len(found) == 0 {
		return nil
	}
	return found[c.random.below(len(found))]
}

// askPropose sends new operations to a replica, for the view that it is believed to lead.
func (s *simulation) askPropose(h *host, count int) {
	operations := s.checks.newOperations(count)
	filler := 0
	if most := s.mixture.client.fillerMax; most > 0 {
		filler = s.client.random.between(0, most)
	}
	s.enqueue(h, input{kind: inputPropose, view: h.status.View, operations: operations, filler: filler})
}

func (s *simulation) askRead(h *host) {
	s.client.lastToken++
	s.enqueue(h, input{kind: inputRead, view: h.status.View, token: s.client.lastToken, floor: s.checks.visible})
}

// propose is the moment in which the replica sees the request.
func (s *simulation) propose(h *host, in *input) {
	payloads := s.memory.payloads[:0]
	for o := in.operations.first; o <= in.operations.last; o++ {
		payload := s.memory.bytes.take(operationBytes + in.filler)
		o.encode(payload)
		payloads = append(payloads, payload)
	}
	s.memory.payloads = payloads
	first, err := h.replica.Propose(in.view, payloads)
	if err != nil {
		if s.tracing() {
			s.trace(h, "refuses operations %d to %d: %v", in.operations.first, in.operations.last, err)
		}
		s.coverRefusal(err)
		s.checks.refused(in.operations)
		return
	}
	if s.tracing() {
		s.trace(h, "accepts operations %d to %d at %d", in.operations.first, in.operations.last, first)
	}
	for o := in.operations.first; o <= in.operations.last; o++ {
		op := first + core.OpNumber(o-in.operations.first)
		if other, taken := h.proposals[op]; taken {
			s.violated(claimAcknowledged, "r%d accepts operation %d at %d, where operation %d waits", h.id, o, op, other)
			return
		}
		h.proposals[op] = o
	}
}

func (s *simulation) coverRefusal(err error) {
	switch {
	case errors.Is(err, core.ErrNotPrimary):
		s.covered.count(EventNotPrimaryRefused)
	case errors.Is(err, core.ErrOverloaded):
		s.covered.count(EventOverloadRefused)
	default:
		s.violated(claimRuns, "an error that is neither: %v", err)
	}
}

func (s *simulation) readBarrier(h *host, in *input) {
	if err := h.replica.ReadBarrier(in.view, in.token); err != nil {
		s.covered.count(EventReadRefused)
		return
	}
	if s.tracing() {
		s.trace(h, "read %d, to see at least %d", in.token, in.floor)
	}
	h.reads[in.token] = in.floor
}
