package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// calm is the third phase, of some seeds: a group that works, in which one backup may miss its primary, has to
// stay in its view. What a single replica cannot hear must not stop the others.
type calm struct {
	begun   bool
	until   instant
	primary *host
	view    core.ViewNumber
}

const (
	// calmPermille is how many of a thousand seeds are watched after everything is finished.
	calmPermille = 250
	// calmTimeouts is for how many of the longest time-outs.
	calmTimeouts = 4
)

// beginCalm decides whether this seed goes on.
func (s *simulation) beginCalm() bool {
	if !s.client.random.chance(calmPermille) || s.checks.violation != nil {
		return false
	}
	primary := s.unchallenged()
	if primary == nil {
		return false
	}
	s.liveness.calm.primary = primary
	s.covered.count(EventCalm)
	s.liveness.calm.begun, s.liveness.calm.view = true, primary.status.View
	s.liveness.calm.until = s.now + instant(calmTimeouts*s.mixture.limits.config.ViewChangeTicksMax)*momentsPerTick
	s.trace(nil, "everything is finished; now nothing may change")
	if len(s.liveness.core) > s.checks.newest().quorum() && !s.oneIsSlow() {
		s.disturb()
	}
	return true
}

// unchallenged is the primary of a group that works, if nothing is left that takes the group to another view: a message
// from before the healing that could still name one; a replica that waits for the end of a lease which it granted, to follow
// such a message; one that was left behind in a later view, by a majority that is over: where it is heard, the group follows
// it once.
func (s *simulation) unchallenged() (primary *host) {
	if s.network.sentBefore(s.liveness.since) {
		return nil
	}
	for _, h := range s.liveness.core {
		if h.status.Awaited > h.status.View {
			return nil
		}
		if h.status.Leading {
			primary = h
		}
	}
	if primary == nil || slices.ContainsFunc(s.hosts, func(h *host) bool { return h.running() && h.status.View > primary.status.View }) {
		return nil
	}
	return primary
}

// disturb keeps the primary's messages from one of its backups; the others are a quorum without it.
func (s *simulation) disturb() {
	primary := s.liveness.calm.primary
	backup := primary
	for backup == primary {
		backup = s.liveness.core[s.client.random.below(len(s.liveness.core))]
	}
	s.covered.count(EventCalmDisturbed)
	s.trace(backup, "hears r%d no more", primary.id)
	s.network.block(primary.number, backup.number)
}

// stayCalm checks that nothing has changed, and ends the run when that was long enough.
func (s *simulation) stayCalm() {
	primary := s.liveness.calm.primary
	for _, h := range s.liveness.core {
		if view := s.liveness.calm.view; h.status.View != view || !primary.status.Leading {
			s.violated(claimCalm, "r%d is in view %d; r%d led view %d, and leads now: %v",
				h.id, h.status.View, primary.id, view, primary.status.Leading)
			return
		}
	}
	s.liveness.done = s.now >= s.liveness.calm.until
}
