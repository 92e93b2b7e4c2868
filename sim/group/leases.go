package group

import "github.com/viewline/viewline/replication/vr/core"

// leaseMixture is how primaries read. It has a stream of its own: a seed without leases is what it was before there
// were any.
type leaseMixture struct {
	// duration is that of a lease, 0: every read takes a round. margin is by how many of a thousand a primary counts
	// on less, and clocks differ by as much; or by apart.
	duration      instant
	margin, apart int
	// former is how many of a thousand requests are reads for the view that a replica led last, whatever has become of it.
	former int
	// frozen is how many of a thousand ticks a primary stands still at, cut off from everybody: about as long as a lease
	// lasts. It wakes up and believes that nothing has happened. Meanwhile in restarted of a thousand such cases all
	// others start anew, and have forgotten what they granted.
	frozen, restarted int
}

// LeaseChoice says whether a run has leases.
type LeaseChoice uint8

// The choices. In LeasesDrawn three quarters of the seeds have them.
const (
	LeasesDrawn LeaseChoice = iota
	LeasesOff
	LeasesOn
)

// clockRate is by how much a clock without drift rises in a moment.
const clockRate = 1000

// drawLeases draws what has to do with leases. Those that last longer than it takes to miss a primary are the ones that
// hold view changes back, and those that a mistake shows with.
func (m *mixture) drawLeases(options *Options) {
	s := newStream(options.Seed, streamLeases)
	on, long, trial := s.chance(750), s.chance(400), s.chance(250)
	config := &m.limits.config
	least, most := config.HeartbeatTicks, config.ViewChangeTicksMin
	switch {
	case trial:
		least, most = 2*config.ViewChangeTicksMax, 4*config.ViewChangeTicksMax
	case long:
		least, most = config.ViewChangeTicksMin, 3*config.ViewChangeTicksMax
	}
	drawn := leaseMixture{
		duration: s.span(instant(least)*momentsPerTick, instant(most)*momentsPerTick), margin: s.between(50, 400), former: s.between(0, 100),
		frozen: sometimes(&s, 2, 20),
	}
	if trial {
		drawn.margin = s.between(150, 450)
	}
	drawn.apart = drawn.margin
	if options.ClocksApart {
		drawn.apart = drawn.margin + 300
	}
	if options.Leases == LeasesOff || options.Leases == LeasesDrawn && !on {
		return
	}
	m.leases = drawn
	if trial {
		m.tryLeases(&s)
	}
}

// tryLeases leaves little but what a lease is in danger from. A stale read takes a primary that stands still for just so
// long, and others who are quick meanwhile: with everything else going on that is very rare.
func (m *mixture) tryLeases(s *stream) {
	if s.chance(500) {
		m.members = 3
	}
	m.leases.frozen, m.leases.restarted = s.between(10, 40), s.between(0, 500)
	m.network = networkMixture{delayMax: m.network.delayMax, partitionTickMax: 1}
	if m.network.delayMax > momentsPerTick {
		m.network.delayMax = momentsPerTick
	}
	m.disk.slow = 0
	m.damage = damageMixture{}
	m.fault = faultMixture{crash: sometimes(s, 10, 60), downTickMax: s.between(1, 6), drift: m.fault.drift, gather: m.fault.gather}
	m.client.everyTickMax, m.client.reads, m.client.misdirected = s.between(1, 2), s.between(200, 600), 0
	m.handover.rate = sometimes(s, 3, 20)
	m.limits.inboxMax, m.limits.inputsMax = 64, 64
}

// drawClock draws one host's clock: how fast it goes, and where it begins. Clocks of two hosts have nothing in common but
// that none is slower than another by more than the mixture's margin.
func (s *simulation) drawClock() (rate, ahead uint64) {
	slowest := clockRate * (1000 - s.mixture.leases.apart) / 1000
	drawn := s.leaseRandom.between(slowest, clockRate)
	switch {
	case s.leaseRandom.chance(400):
		drawn = slowest
	case s.leaseRandom.chance(500):
		drawn = clockRate
	}
	return uint64(drawn), uint64(s.leaseRandom.below(1 << 40))
}

func (s *simulation) clock(h *host) uint64 { return h.clockAhead + uint64(s.now)*h.clockRate }

// leaseConfig is the part of a replica's configuration that has to do with leases.
func (s *simulation) leaseConfig(h *host, config *core.Config) {
	drawn := &s.mixture.leases
	config.Now = s.clock(h)
	config.LeaseDuration = uint64(drawn.duration) * clockRate
	config.LeaseLongest = config.LeaseDuration
	config.LeaseMargin = uint64(drawn.duration) * uint64(drawn.margin) * clockRate / 1000
	config.ClockMargin, config.Clock = core.ClockMargin(drawn.margin), uint64(h.incarnation)+1
}

// strikeLeases freezes a primary, now and then. Who asks it meanwhile is answered when it wakes up.
func (s *simulation) strikeLeases() {
	drawn, r := &s.mixture.leases, &s.leaseRandom
	if drawn.duration == 0 || !r.chance(drawn.frozen) {
		return
	}
	found := s.believers()
	if len(found) == 0 {
		return
	}
	h := found[r.below(len(found))]
	if h.paused {
		return
	}
	s.covered.count(EventPrimaryFrozen)
	number := s.network.cut(func(replica int) bool { return replica == h.number }, false)
	// Until the lease is over by the fastest clock, or later and before it would be by the slowest.
	asleep, late := r.span(drawn.duration/4, drawn.duration), r.span(drawn.duration, drawn.duration*1000/instant(1000-drawn.apart))
	if r.chance(500) {
		asleep = late
	}
	s.trace(h, "stands still, cut off (%d)", number)
	h.paused = true
	s.after(asleep, eventResume, h, 0)
	alone := asleep + r.span(0, instant(s.mixture.limits.config.ViewChangeTicksMax)*momentsPerTick)
	s.events.push(event{at: s.now + alone, kind: eventHealPartition, argument: number})
	if !r.chance(drawn.restarted) {
		return
	}
	for _, other := range s.hosts {
		if other != h && other.running() {
			s.covered.count(EventCrash)
			s.crash(other, true)
		}
	}
}

// askFormerPrimary reads where somebody led who may be no primary any more, for the view that he led: so does whoever
// has not heard of it yet.
func (s *simulation) askFormerPrimary() bool {
	if s.mixture.leases.duration == 0 || !s.leaseRandom.chance(s.mixture.leases.former) {
		return false
	}
	h := s.hosts[s.leaseRandom.below(len(s.hosts))]
	if !h.running() || h.led == 0 {
		return false
	}
	s.covered.count(EventFormerPrimaryAsked)
	s.client.lastToken++
	s.enqueue(h, input{kind: inputRead, view: h.led, token: s.client.lastToken, floor: s.checks.visible})
	return true
}
