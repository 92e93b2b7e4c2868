package group

import "github.com/viewline/viewline/replication/vr/core"

// strike draws, once a tick of the safety phase, which faults begin.
func (s *simulation) strike() {
	if s.now >= instant(s.mixture.safetyTicks)*momentsPerTick {
		s.heal()
		return
	}
	s.events.push(event{at: s.now + momentsPerTick, kind: eventFaults})
	s.strikeNetwork()
	s.strikeProcesses()
	s.strikeHandover()
	s.strikeLeases()
	s.strikeMembers()
	s.strikeDisks()
}

func (s *simulation) strikeNetwork() {
	rates, r := &s.mixture.network, &s.faultRandom
	if r.chance(rates.partition) {
		s.partition(EventPartitionSymmetric, r.below(1<<len(s.hosts)), false)
	}
	if r.chance(rates.oneWay) {
		s.partition(EventPartitionOneWay, r.below(1<<len(s.hosts)), true)
	}
	if r.chance(rates.isolatePrimary) {
		if primary := s.anyBeliever(); primary != nil {
			s.partition(EventPrimaryIsolated, s.companyOf(primary), r.chance(300))
		}
	}
	if r.chance(rates.clog) {
		from, to := r.below(len(s.hosts)), r.below(len(s.hosts))
		s.network.clog(from, to, s.now+r.span(1, instant(rates.partitionTickMax))*momentsPerTick)
	}
}

// companyOf is a set of replicas, as bits, around a primary: alone, or with others but fewer than half.
func (s *simulation) companyOf(primary *host) int {
	set := 1 << primary.number
	for range s.faultRandom.below((len(s.hosts) + 1) / 2) {
		set |= 1 << s.faultRandom.below(len(s.hosts))
	}
	return set
}

// partition cuts a set of replicas off for a while.
func (s *simulation) partition(kind Event, set int, oneWay bool) {
	if set == 0 || set == 1<<len(s.hosts)-1 {
		return
	}
	s.covered.count(kind)
	number := s.network.cut(func(replica int) bool { return set&(1<<replica) != 0 }, oneWay)
	s.trace(nil, "%s %d: replicas %07b", kind, number, set)
	lasts := s.faultRandom.span(1, instant(s.mixture.network.partitionTickMax))
	s.events.push(event{at: s.now + lasts*momentsPerTick, kind: eventHealPartition, argument: number})
}

func (s *simulation) healPartition(number int) {
	if s.liveness.begun {
		return
	}
	s.trace(nil, "partition %d is healed", number)
	s.network.heal(number)
}

func (s *simulation) strikeProcesses() {
	rates, r := &s.mixture.fault, &s.faultRandom
	if r.chance(rates.crash) {
		if h := s.hosts[r.below(len(s.hosts))]; h.running() {
			s.covered.count(EventCrash)
			s.crash(h, true)
		}
	}
	if r.chance(rates.crashPrimary) {
		if primary := s.anyBeliever(); primary != nil {
			s.covered.count(EventCrashOfPrimary)
			s.crash(primary, true)
		}
	}
	if r.chance(rates.crashAll) {
		s.crashMany()
	}
	if s.mixture.durability != core.DurabilitySync && r.chance(rates.stop) {
		if h := s.hosts[r.below(len(s.hosts))]; h.running() && !h.busy && !h.paused {
			s.stop(h, true)
		}
	}
	if r.chance(rates.pause) {
		s.pause(s.hosts[r.below(len(s.hosts))])
	}
}

// crashMany crashes all at once, or a random few.
func (s *simulation) crashMany() {
	set := 1<<len(s.hosts) - 1
	if s.faultRandom.chance(500) {
		set = s.faultRandom.below(set)
	} else {
		s.covered.count(EventCrashOfAll)
	}
	for _, h := range s.hosts {
		if h.running() && set&(1<<h.number) != 0 {
			s.crash(h, true)
		}
	}
}

func (s *simulation) pause(h *host) {
	if !h.running() || h.paused {
		return
	}
	s.covered.count(EventPause)
	s.trace(h, "pause")
	h.paused = true
	s.after(s.faultRandom.span(1, instant(s.mixture.fault.pauseTickMax))*momentsPerTick, eventResume, h, 0)
}

func (s *simulation) resume(h *host) {
	if !h.paused {
		return
	}
	s.trace(h, "goes on")
	h.paused = false
	s.pump(h)
}

func (s *simulation) anyBeliever() *host {
	found := s.believers()
	if len(found) == 0 {
		return nil
	}
	return found[s.faultRandom.below(len(found))]
}
