package group

import (
	"fmt"
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// liveness is the second phase: what has to happen once the faults are over.
type liveness struct {
	begun, done bool
	since       instant
	core        []*host
	// proposed and read are what the client has asked for in this phase; committedAtStart is how far the
	// group was.
	proposed         int
	readOK           bool
	committedAtStart int
	// took is how many ticks it was until everything was finished; calm is what follows in some seeds.
	took     int
	calm     calm
	handover smooth
	// doomed: more than f may lack what they acknowledged. atRest is how many were committed when such a group had come
	// to rest, or -1.
	doomed bool
	atRest int
}

// The liveness phase: how long it may take, and how many operations it has to commit.
const (
	livenessTicksMax  = 1500
	livenessOperation = 3
)

func (l *liveness) ticks(now instant) int { return int((now - l.since) / momentsPerTick) }

// fate is what the others are for ever once a quorum is healed. A group has to live with any of them.
type fate int

const (
	fateDead  fate = iota
	fateAlone      // runs, and is cut off
	fateDeaf       // is heard and hears nobody
	fateMute       // hears and is not heard
	fateCount
)

// heal ends the safety phase: a random quorum, or more, is healed, and the others stay broken.
func (s *simulation) heal() {
	s.covered.count(EventHealed)
	random := newStream(s.options.Seed, streamLiveness)
	order := slices.DeleteFunc(slices.Clone(s.hosts), func(h *host) bool { return h.gone })
	for i := len(order) - 1; i > 0; i-- {
		j := random.below(i + 1)
		order[i], order[j] = order[j], order[i]
	}
	healed := s.sustained(order, random.between(len(order)/2+1, len(order)))
	s.liveness = liveness{begun: true, since: s.now, core: order[:healed], committedAtStart: len(s.checks.committed), atRest: -1}
	s.network.healAll()
	s.mixture.fault, s.mixture.damage = faultMixture{downTickMax: 1}, damageMixture{}
	s.mixture.wipes = wipeMixture{}
	s.mixture.disk.slow, s.mixture.chunks.damage, s.mixture.chunks.rot = 0, 0, 0
	s.trace(nil, "the faults are over")
	for _, h := range order[healed:] {
		s.condemn(h, fate(random.below(int(fateCount))))
	}
	for _, h := range s.liveness.core {
		h.crashStep = -1
		if h.running() {
			s.resume(h)
			continue
		}
		h.incarnation++ // a restart that was to come later does not come twice
		s.boot(h)
	}
	if s.liveness.doomed = s.options.BeyondF && s.lossy() > s.failuresMax(); !s.liveness.doomed {
		s.waitForLiveness()
	}
}

// sustained is how many have to be healed for the group to go on: who is left broken and who still has to recover are
// f at most.
func (s *simulation) sustained(order []*host, healed int) int {
	for ; healed < len(order); healed++ {
		enough := true
		for _, group := range s.checks.groups() {
			enough = enough && s.goesOn(&group, order[:healed])
		}
		if enough {
			break
		}
	}
	return healed
}

// goesOn reports whether a group has a quorum among those who are healed, and can stand what they have lost.
func (s *simulation) goesOn(group *epochRecord, healed []*host) bool {
	there := 0
	for _, h := range healed {
		if group.has(h) && !s.mayLack(group, h) {
			there++
		}
	}
	return there >= group.quorum()
}

// present are those of the newest epoch among the healed.
func (s *simulation) present() []*host {
	newest := s.checks.newest()
	return slices.DeleteFunc(slices.Clone(s.liveness.core), func(h *host) bool { return !newest.has(h) })
}

// condemn gives a replica outside the healed quorum its fate.
func (s *simulation) condemn(h *host, to fate) {
	if !h.running() {
		to = fateDead
	}
	self := func(replica int) bool { return replica == h.number }
	others := func(replica int) bool { return replica != h.number }
	switch to {
	case fateAlone:
		s.covered.count(EventLeftAlone)
		s.network.cut(self, false)
	case fateDeaf:
		s.covered.count(EventLeftDeaf)
		s.network.cut(others, true)
	case fateMute:
		s.covered.count(EventLeftMute)
		s.network.cut(self, true)
	default:
		s.covered.count(EventLeftDead)
		h.dead = true
		if h.running() {
			s.crash(h, false)
		}
	}
	if h.running() {
		h.crashStep = -1
		s.resume(h)
	}
}

// liveRequest is the client in the liveness phase: a few operations and a read, at whoever leads.
func (s *simulation) liveRequest() {
	switch {
	case s.liveness.doomed:
		s.stayStopped()
	case s.liveness.calm.begun:
		s.stayCalm()
	case s.liveness.handover.begun:
		s.goSmoothly()
	case s.waitForLiveness():
		return
	}
	for _, h := range s.liveness.core {
		if !h.running() || !h.status.Leading {
			continue
		}
		if s.liveness.proposed < livenessOperation || s.client.random.chance(200) && s.proposesOn() || s.liveness.handover.begun {
			s.liveness.proposed++
			s.askPropose(h, 1)
		}
		if !s.liveness.readOK {
			s.askRead(h)
		}
		return
	}
}

// proposesOn reports whether the client goes on when enough is committed. Who is behind a slow link would never have all of
// it at a time.
func (s *simulation) proposesOn() bool {
	return !s.mixture.slow.on() || len(s.checks.committed) < s.liveness.committedAtStart+livenessOperation
}

// waitForLiveness ends the phase when everything is finished, or has taken too long.
func (s *simulation) waitForLiveness() bool {
	if missing := s.unfinished(); missing == "" {
		s.liveness.took = s.liveness.ticks(s.now)
		s.liveness.core = s.present()
		s.checks.finally(s.liveness.core)
		s.liveness.done = !s.beginCalm() && !s.beginSmooth()
	} else if s.liveness.ticks(s.now) > livenessTicksMax {
		s.violated(claimProgress, "%s, %d ticks after the faults ended: %s", missing, livenessTicksMax, s.situation())
	}
	return s.liveness.done
}

// unfinished names something that is still outstanding.
func (s *simulation) unfinished() string {
	committed := len(s.checks.committed)
	if committed < s.liveness.committedAtStart+livenessOperation {
		return fmt.Sprintf("only %d new operations are committed", committed-s.liveness.committedAtStart)
	}
	if !s.liveness.readOK {
		return "no read was answered"
	}
	newest := s.checks.newest()
	for _, h := range s.liveness.core {
		if h.status.Status == core.StatusLeaving && h.status.Epoch == newest.epoch && s.mayLeave() {
			return fmt.Sprintf("r%d has not left", h.id)
		}
	}
	present := s.present()
	view := present[0].status.View
	for _, h := range present {
		switch {
		case h.status.Status != core.StatusNormal || h.status.View != view || h.status.Epoch != newest.epoch:
			return fmt.Sprintf("r%d is in status %s of view %d of epoch %d", h.id, h.status.Status, h.status.View, h.status.Epoch)
		case int(h.reached()) != committed:
			return fmt.Sprintf("r%d has applied %d of %d", h.id, h.reached(), committed)
		case len(h.proposals) > 0 || len(h.reads) > 0 || len(h.stale) > 0 || h.fetching:
			return fmt.Sprintf("r%d has %d proposals and %d + %d reads outstanding", h.id, len(h.proposals), len(h.reads), len(h.stale))
		case h.status.Leading && h.status.Op > h.status.Commit:
			return fmt.Sprintf("r%d has something uncommitted", h.id)
		case h.status.HandingOver:
			return fmt.Sprintf("r%d hands over", h.id)
		}
	}
	return ""
}

// A group that lost too much comes to rest when every late message has arrived, and whoever can still catch up has done so
// (which takes a while where the others are asked first, who recover and say nothing), and is then watched for a while.
const (
	restAfterTicks = 400
	restTicks      = 150
)

// stayStopped is the end of a run beyond what the durability survives, while more than f may lack what they
// acknowledged: none of them takes part again, and nothing is committed. One whose question f+1 had answered before
// may still recover; when so few are left that the group can go on, it has to.
func (s *simulation) stayStopped() {
	committed := len(s.checks.committed)
	switch ticks := s.liveness.ticks(s.now); {
	case s.lossy() <= s.failuresMax():
		s.liveness.doomed, s.liveness.since = false, s.now
	case s.liveness.atRest < 0 && ticks > restAfterTicks:
		s.liveness.atRest = committed
	case s.liveness.atRest >= 0 && committed > s.liveness.atRest:
		s.violated(claimStopped, "%d are committed since it came to rest: %s", committed-s.liveness.atRest, s.situation())
	case ticks > restAfterTicks+restTicks:
		s.covered.count(EventStayedStopped)
		s.liveness.done = !s.forceGroup()
	}
}
