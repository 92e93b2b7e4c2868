package core

// probing is a replica's question whether the others have lost the primary too. It comes before its own timer
// may raise a view: a replica that hears nobody would otherwise come back with a view far ahead and stop a
// group that works. It is not in the paper (docs/DIVERGENCE.md).
type probing struct {
	nonce  uint64
	agreed map[ReplicaID]bool
	// age and resend count ticks. An agreement is as old as the question may become: who has lost the primary for
	// a moment must not count for hours with another who did at another time.
	age, resend int
}

// tickProbe begins to ask when the time-out is over, and asks again what was not answered.
func (r *Replica) tickProbe() {
	if r.primary != nil && !r.primary.deaf || r.elapsed < r.timeout || r.grants() {
		return
	}
	if r.probe != nil {
		r.probe.age++
		r.probe.resend++
	}
	switch {
	case r.probe == nil || r.probe.age >= r.config.ViewChangeTicksMin:
		r.probe = &probing{nonce: r.config.Rand(), agreed: map[ReplicaID]bool{r.config.Self: true}}
		r.raiseView()
	case r.probe.resend < r.config.ResendTicks:
		return
	}
	if r.probe != nil {
		r.probe.resend = 0
		r.sendProbe()
	}
}

func (r *Replica) sendProbe() {
	for _, to := range r.others {
		if !r.probe.agreed[to] {
			r.send(to, Message{Kind: KindProbe, Nonce: r.probe.nonce})
		}
	}
}

// lost reports whether this replica has lost its primary, or the view change that it is in goes nowhere.
func (r *Replica) lost() bool {
	switch {
	case r.primary != nil:
		return r.primary.deaf
	case r.view == 0:
		return true
	default:
		return r.elapsed >= r.config.ViewChangeTicksMin && !r.grants()
	}
}

// onProbe agrees if this replica has lost the primary of that view, or of an earlier one.
func (r *Replica) onProbe(m *Message) {
	agree := m.View >= r.view && r.lost()
	r.send(m.From, Message{Kind: KindProbeOK, Nonce: m.Nonce, Agree: agree})
}

// onProbeOK counts those who agree with the question that is open.
func (r *Replica) onProbeOK(m *Message) {
	if r.probe == nil || m.Nonce != r.probe.nonce || !m.Agree || m.View > r.view {
		return
	}
	r.probe.agreed[m.From] = true
	r.raiseView()
}

// raiseView starts the next view once a majority has lost this one.
func (r *Replica) raiseView() {
	if len(r.probe.agreed) >= r.quorum || r.config.Omit.Has(RuleProbe) {
		r.becomeViewChange(r.view + 1)
	}
}
