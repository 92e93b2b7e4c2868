package group

import (
	"math"

	"github.com/viewline/viewline/replication/vr/core"
)

// staleMixture is how clients read at any replica and bound the age of what they get. It has a stream of its own: a
// seed without such reads is what it was before there were any.
type staleMixture struct {
	everyTickMax int // between two reads; 0: there are none
	// boundTickMax is the largest bound, exact how many of a thousand reads have none: they see all that was acknowledged
	// before they were asked for.
	boundTickMax, exact int
	// behind is how many of a thousand reads go to the replica that is in the earliest view.
	behind int
	// patient is how many of a thousand reads wait until they are answered; the others for patienceTickMax at the most.
	patient         int
	patienceTickMax int
	// stopped is how many of a thousand clocks begin where the one before had ended; the others anywhere.
	stopped int
}

// drawStale draws what has to do with stale reads, after the leases, whose clocks they share.
func (m *mixture) drawStale(options *Options) {
	s := newStream(options.Seed, streamStaleness)
	on, margin := s.chance(400), s.between(50, 400)
	drawn := staleMixture{
		everyTickMax: s.between(3, 24), boundTickMax: s.between(2, 80), exact: s.between(0, 300), behind: s.between(0, 500),
		patient: s.between(0, 1000), patienceTickMax: s.between(1, 40), stopped: s.between(0, 1000),
	}
	if !on {
		return
	}
	m.stale = drawn
	if m.leases.duration == 0 {
		m.leases.margin, m.leases.apart = margin, margin
		if options.ClocksApart {
			m.leases.apart += 300
		}
	}
}

// staleAsked is a stale read that a replica was asked for.
type staleAsked struct {
	at     instant
	bound  uint64
	view   core.ViewNumber
	cutOff bool
}

// reachedVisible says up to where clients had been told of operations since a moment.
type reachedVisible struct {
	since instant
	op    core.OpNumber
}

// newClock draws what the clock shows of a process that is not its host's first: it knows nothing of the time that the
// host was down for.
func (s *simulation) newClock(h *host) {
	if s.mixture.stale.everyTickMax == 0 {
		return
	}
	anywhere := uint64(s.staleRandom.below(1 << 40))
	if s.staleRandom.chance(s.mixture.stale.stopped) {
		anywhere = h.clockStopped
	}
	h.clockAhead = anywhere - uint64(s.now)*h.clockRate
}

// askStale is one step of the client that reads at any replica. In the liveness phase it asks everybody once, for
// everything that was acknowledged, and waits.
func (s *simulation) askStale() {
	drawn, r := &s.mixture.stale, &s.staleRandom
	if s.liveness.begun {
		for _, h := range s.liveness.core {
			s.enqueueStale(h, 0)
		}
		return
	}
	s.events.push(event{at: s.now + r.span(1, instant(drawn.everyTickMax)*momentsPerTick), kind: eventStale})
	h := s.hosts[r.below(len(s.hosts))]
	bound := uint64(r.span(0, instant(drawn.boundTickMax)*momentsPerTick)) * clockRate
	exact, behind, patient := r.chance(drawn.exact), r.chance(drawn.behind), r.chance(drawn.patient)
	wait := r.span(0, instant(drawn.patienceTickMax)*momentsPerTick)
	if behind {
		h = s.oldest()
	}
	if exact {
		bound = 0
	}
	if token := s.enqueueStale(h, bound); token > 0 && !patient {
		s.after(wait, eventCancelStale, h, int(token))
	}
}

// oldest is the replica that runs in the earliest view, or any when none runs.
func (s *simulation) oldest() *host {
	found := s.hosts[0]
	for _, h := range s.hosts[1:] {
		is, least := reign{h.status.Epoch, h.status.View}, reign{found.status.Epoch, found.status.View}
		if h.running() && (!found.running() || is.before(least)) {
			found = h
		}
	}
	return found
}

func (s *simulation) enqueueStale(h *host, bound uint64) (token uint64) {
	if !h.running() {
		return 0
	}
	s.staleToken++
	s.covered.count(EventStaleReadAsked)
	token = s.staleToken
	s.enqueue(h, input{kind: inputStale, token: token, bound: bound})
	return token
}

// readStale is the moment in which the replica is asked.
func (s *simulation) readStale(h *host, in *input) {
	status := h.replica.Status()
	if err := h.replica.ReadStale(in.token, in.bound); err != nil {
		s.covered.count(EventStaleReadRefused)
		return
	}
	s.trace(h, "stale read %d, no older than %d", in.token, in.bound)
	primary := int(status.Primary)
	h.stale[in.token] = staleAsked{
		at: s.now, bound: in.bound, view: status.View,
		cutOff: primary > 0 && primary <= len(s.hosts) && s.network.isBlocked(primary-1, h.number),
	}
	s.countIf(status.Status == core.StatusNormal && status.Primary == h.id, EventStaleReadAtPrimary)
	s.countIf(status.Status != core.StatusNormal, EventStaleReadNotNormal)
}

// answerStale checks what a replica says of the age of its state.
func (s *simulation) answerStale(h *host, read *core.StaleRead) {
	asked, waits := h.stale[read.Token]
	if !waits {
		s.violated(claimStale, "r%d answers stale read %d, which does not wait", h.id, read.Token)
		return
	}
	delete(h.stale, read.Token)
	s.trace(h, "stale read %d: %v, age %d", read.Token, read.OK, read.Age)
	if !read.OK {
		s.covered.count(EventStaleReadTooOld)
		s.countIf(asked.cutOff, EventStaleReadTooOldCutOff)
		s.countIf(read.Age == math.MaxUint64, EventStaleReadUnknown)
		return
	}
	s.countIf(s.now == asked.at, EventStaleReadFresh)
	s.countIf(s.now > asked.at, EventStaleReadWaited)
	s.countIf(asked.cutOff, EventStaleReadCutOff)
	s.countIf(h.status.View > asked.view, EventStaleReadNewView)
	if read.Age > asked.bound {
		s.violated(claimStale, "r%d answers stale read %d with age %d, at most %d was asked for", h.id, read.Token, read.Age, asked.bound)
	}
	if floor := s.checks.visibleBefore(asked.at, read.Age); h.machine.applied < floor {
		s.violated(claimStale, "r%d answers stale read %d at %d, age %d; %d was told before that", h.id, read.Token, h.machine.applied, read.Age, floor)
	}
	s.checks.see(h.machine.applied)
}

// see notes that a client was told of everything up to an op-number.
func (c *checks) see(op core.OpNumber) {
	if op <= c.visible {
		return
	}
	c.visible = op
	if last := len(c.reached) - 1; last >= 0 && c.reached[last].since == c.s.now {
		c.reached[last].op = op
		return
	}
	c.reached = append(c.reached, reachedVisible{since: c.s.now, op: op})
}

// visibleBefore is what clients had been told of more than an age before a moment, by the fastest clock.
func (c *checks) visibleBefore(moment instant, age uint64) core.OpNumber {
	for i := len(c.reached) - 1; i >= 0; i-- {
		if seen := &c.reached[i]; seen.since < moment && uint64(moment-seen.since)*clockRate > age {
			return seen.op
		}
	}
	return 0
}
