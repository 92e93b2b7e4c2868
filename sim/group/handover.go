package group

import (
	"github.com/viewline/viewline/replication/vr/core"
)

// handoverMixture is how often somebody asks a primary to hand its role over. It has a stream of its own.
type handoverMixture struct {
	rate int // a tick
	// Of a thousand, anybody leave the choice to the primary (the others name a replica, which may well be down or cut
	// off), and cancelled are given up again after up to cancelTickMax ticks.
	anybody, cancelled int
	cancelTickMax      int
	// smooth is how many of a thousand seeds that are not watched for calm end with handovers of a group that works.
	smooth int
}

func drawHandovers(seed uint64) handoverMixture {
	s := newStream(seed, streamHandover)
	return handoverMixture{
		rate: sometimes(&s, 3, 40), anybody: s.between(0, 600), cancelled: s.between(0, 200), cancelTickMax: s.between(1, 20),
		smooth: 350,
	}
}

// strikeHandover asks whoever believes to be primary for a handover, now and then.
func (s *simulation) strikeHandover() {
	rates, r := &s.mixture.handover, &s.handoverRandom
	if !r.chance(rates.rate) {
		return
	}
	found := s.believers()
	if len(found) == 0 {
		return
	}
	h := found[r.below(len(found))]
	to := s.hosts[r.below(len(s.hosts))].id
	if r.chance(rates.anybody) {
		to = 0
	}
	s.enqueue(h, input{kind: inputHandOver, to: to})
	if r.chance(rates.cancelled) {
		s.after(r.span(1, instant(rates.cancelTickMax))*momentsPerTick, eventCancelHandover, h, 0)
	}
}

// handOver is the moment in which the replica is asked.
func (s *simulation) handOver(h *host, to core.ReplicaID) {
	if err := h.replica.HandOver(to); err != nil {
		s.trace(h, "refuses a handover to r%d: %v", to, err)
		s.covered.count(EventHandoverRefused)
		return
	}
	s.trace(h, "hands over to r%d", to)
	s.covered.count(EventHandoverAsked)
}

// handoverEnded checks how a handover ended against what the replica is then.
func (c *checks) handoverEnded(h *host, ended *core.Handover) {
	c.s.trace(h, "ends its handover to r%d in view %d: %v", ended.To, ended.View, ended.Outcome)
	switch ended.Outcome {
	case core.HandoverDone:
		c.s.covered.count(EventHandoverDone)
		if !c.hadPrimary(ended.View, ended.To) {
			c.s.violated(claimHandover, "r%d has handed over to r%d, which is not the primary of view %d", h.id, ended.To, ended.View)
		}
	case core.HandoverBehind, core.HandoverCancelled:
		c.s.covered.count(EventHandoverGivenUp)
		if !c.hadPrimary(ended.View, h.id) {
			c.s.violated(claimHandover, "r%d keeps its role in view %d, whose primary is another", h.id, ended.View)
		}
	default:
		c.s.covered.count(EventHandoverOvertaken)
	}
	c.s.liveness.handover.ended(h, ended)
}

// smooth is the last phase, of some seeds: a group that works, whose role is handed over a few times while a client
// proposes. The fate of every proposal has to be told.
type smooth struct {
	begun bool
	left  int // handovers
	until instant
	asked *host // who hands over now; nil: nobody
}

const (
	smoothMax = 3
	// smoothTimeouts is for how many of the longest time-outs one handover may take, with all that are given up on
	// the way: the tiniest inboxes lose messages of a healthy group too.
	smoothTimeouts = 30
)

// beginSmooth decides whether this seed goes on. A quorum may have finished under a primary that is left deaf and has
// not noticed yet: that is no group that works.
func (s *simulation) beginSmooth() bool {
	if s.oneIsSlow() {
		return false // it may be asked to take the role, and cannot keep it
	}
	if len(withState(s.liveness.core)) < 2 || s.unchallenged() == nil || !s.client.random.chance(s.mixture.handover.smooth) || s.checks.violation != nil {
		return false
	}
	s.covered.count(EventSmooth)
	s.liveness.handover = smooth{begun: true, left: s.client.random.between(1, smoothMax)}
	s.trace(nil, "everything is finished; now the role goes round")
	s.nextSmooth()
	return true
}

func (s *simulation) nextSmooth() {
	s.liveness.handover.until = s.now + instant(smoothTimeouts*s.mixture.limits.config.ViewChangeTicksMax)*momentsPerTick
	s.liveness.handover.asked = nil
}

// ended takes what became of a handover of this phase. One that is given up is asked for again.
func (p *smooth) ended(h *host, ended *core.Handover) {
	if p.asked != h {
		return
	}
	p.asked = nil
	if ended.Outcome == core.HandoverDone {
		p.left--
	}
}

// goSmoothly asks for the next handover once somebody leads, and ends the run after the last one.
func (s *simulation) goSmoothly() {
	p := &s.liveness.handover
	if s.now > p.until {
		s.violated(claimHandover, "not done in %d longest time-outs: %s", smoothTimeouts, s.situation())
		return
	}
	if p.asked != nil {
		return
	}
	for _, h := range s.liveness.core {
		if !h.status.Leading || h.status.HandingOver {
			continue
		}
		if p.left == 0 {
			s.liveness.done = len(h.proposals) == 0
			return
		}
		to := s.liveness.core[s.client.random.below(len(s.liveness.core))].id
		if s.client.random.chance(300) || to == h.id || s.hosts[to-1].witness {
			to = 0
		}
		s.nextSmooth()
		p.asked = h
		s.enqueue(h, input{kind: inputHandOver, to: to})
		return
	}
}
