package group

import (
	"math/bits"

	"github.com/viewline/viewline/replication/vr/core"
)

// sentBefore is what a replica has sent to another, to tell what it sends again.
type sentBefore struct {
	view    [core.KindNewCommitted + 1]core.ViewNumber
	prepare core.OpNumber
}

// coverSent counts a message, and whether it is one sent before.
func (s *simulation) coverSent(h *host, m *core.Message) {
	kinds := [...]Event{
		core.KindPrepare: EventPrepareSent, core.KindPrepareOK: EventPrepareOKSent, core.KindCommit: EventCommitSent,
		core.KindCommitOK: EventCommitOKSent, core.KindStartViewChange: EventStartViewChangeSent,
		core.KindDoViewChange: EventDoViewChangeSent, core.KindStartView: EventStartViewSent,
		core.KindGetState: EventGetStateSent, core.KindNewState: EventNewStateSent, core.KindProbe: EventProbeSent,
		core.KindProbeOK: EventProbeRefused, core.KindRecovery: EventRecoverySent,
		core.KindRecoveryResponse: EventRecoveryResponseSent, core.KindStartEpoch: EventStartEpochSent,
		core.KindEpochStarted: EventEpochStartedSent, core.KindGetCommitted: EventGetCommittedSent,
		core.KindNewCommitted: EventNewCommittedSent,
	}
	if int(m.Kind) >= len(kinds) || int(m.To) > len(s.hosts) {
		return
	}
	kind := kinds[m.Kind]
	if m.Kind == core.KindProbeOK && m.Agree {
		kind = EventProbeAgreed
	}
	s.covered.count(kind)
	before := &h.sent[m.To-1]
	again := before.view[m.Kind] == m.View && m.View > 0
	before.view[m.Kind] = m.View
	switch m.Kind {
	case core.KindPrepare:
		if again && m.First <= before.prepare {
			s.covered.count(EventPrepareResent)
		}
		before.prepare = m.First
	case core.KindStartViewChange:
		s.countIf(again, EventStartViewChangeResent)
	case core.KindDoViewChange:
		s.countIf(again, EventDoViewChangeResent)
	case core.KindStartView:
		s.countIf(again, EventStartViewResent)
	case core.KindGetState:
		s.coverGetState(h, m)
	case core.KindRecovery:
		s.countIf(h.lastNonce != 0 && h.lastNonce != m.Nonce, EventRecoveryAnew)
		if h.lastNonce != m.Nonce {
			h.lastNonce, h.answered = m.Nonce, 0
		}
	case core.KindRecoveryResponse:
		if asker := s.hosts[m.To-1]; asker.lastNonce == m.Nonce {
			asker.answered |= 1 << h.number
		}
	default:
	}
}

func (s *simulation) coverGetState(h *host, m *core.Message) {
	status := h.replica.Standing()
	switch {
	case status.Status == core.StatusRecovering:
		h.asked = true
		s.covered.count(EventStateWantedRecovering)
	case status.Status == core.StatusViewChange:
		s.countIf(s.hosts[m.To-1].witness, EventStateWantedOfWitness)
		s.covered.count(EventStateWantedInViewChange)
	case m.View > status.View:
		s.covered.count(EventStateWantedLaterView)
	default:
		s.covered.count(EventStateWantedSameView)
	}
}

func (s *simulation) countIf(happened bool, e Event) {
	if happened {
		s.covered.count(e)
	}
}

// coverRecovery looks at a replica that starts again.
func (s *simulation) coverRecovery(h *host) {
	h.lastNonce, h.answered, h.asked, h.installed = 0, 0, false, false
	s.countIf(h.disk.clean, EventRestartClean)
	s.countIf(h.replica.Status().Status == core.StatusRecovering, EventRecoveryBegun)
}

// recovered notes that a replica has everything again, and by what. It is after a whole Ready, so that its disk has.
func (s *simulation) recovered(h *host) {
	if !h.lossy || h.status.Status == core.StatusRecovering || h.lacksItsEpoch() {
		return
	}
	h.lossy = false
	s.trace(h, "has recovered")
	// An epoch that it has made no promise in needs no answers.
	entered := h.status.Epoch > h.lostIn
	if answered := bits.OnesCount64(h.answered); answered <= (len(h.status.Members)-1)/2 && !entered && h.status.Status <= core.StatusStopped && !s.options.OutcomesOnly {
		s.violated(claimAnswered, "r%d recovers in view %d; %d have answered", h.id, h.status.View, answered)
	}
	s.covered.count(EventRecovered)
	switch {
	case entered:
		s.covered.count(EventRecoveredByEpoch)
	case h.installed:
		s.covered.count(EventRecoveredByCheckpoint)
	case h.asked:
		s.covered.count(EventRecoveredByEntries)
	default:
		s.covered.count(EventRecoveredByOwnLog)
	}
}
