package group

import "github.com/viewline/viewline/replication/vr/core"

// sentBefore is what a replica has sent to another, to tell what it sends again.
type sentBefore struct {
	view    [core.KindProbeOK + 1]core.ViewNumber
	prepare core.OpNumber
}

// coverSent counts a message, and whether it is one sent before.
func (s *simulation) coverSent(h *host, m *core.Message) {
	kinds := [...]Event{
		core.KindPrepare: EventPrepareSent, core.KindPrepareOK: EventPrepareOKSent, core.KindCommit: EventCommitSent,
		core.KindCommitOK: EventCommitOKSent, core.KindStartViewChange: EventStartViewChangeSent,
		core.KindDoViewChange: EventDoViewChangeSent, core.KindStartView: EventStartViewSent,
		core.KindGetState: EventGetStateSent, core.KindNewState: EventNewStateSent, core.KindProbe: EventProbeSent,
		core.KindProbeOK: EventProbeRefused,
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
	default:
	}
}

func (s *simulation) coverGetState(h *host, m *core.Message) {
	status := h.replica.Status()
	switch {
	case status.Status == core.StatusViewChange:
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
