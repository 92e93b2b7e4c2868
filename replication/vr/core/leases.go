package core

// A lease is a primary's right to answer reads of its view without asking anybody. It is not in the paper's protocol;
// section 6.3 describes the idea (docs/DIVERGENCE.md).
//
// Backups grant it: until so much time has passed since it received a COMMIT, a backup that answered it begins and
// joins no change to a later view. The primary counts from when it sent that COMMIT, and less. A later view begins
// with f+1 replicas that have left the earlier ones, and f others have granted the lease: one of these f+1 has
// granted it, so that its promise is over, and the lease with it; or is the primary, which has given it up. Whatever a
// later view acknowledges, it does so after that.
//
// Whoever is in a later view already, with its log, is followed at once: that the view has begun shows that the lease
// is over.

// leasing is what a replica keeps of time and of leases.
type leasing struct {
	now uint64 // the host's clock, as SetTime told it
	// behind is what RuleLeaseClock keeps from being taken for it: the reading that came last.
	behind uint64

	// As a backup: it has promised the primary of the view granted to leave it for no other until that time.
	granted ViewNumber
	until   uint64
	// awaited is the largest view that such a promise keeps this replica from.
	awaited ViewNumber

	// As the primary of the view held: it may answer reads of it until the time heldUntil.
	held      ViewNumber
	heldUntil uint64
	// asked are rounds that were sent and not granted yet, the oldest first.
	asked []leaseRound
}

// leaseRound is the number of a round and when it was sent: the lease counts from then.
type leaseRound struct{ number, sent uint64 }

// leaseRoundsMax bounds the rounds that are kept. Where a primary without a lease sends one for every few reads, the
// first of them will do: an answer to a later round is one to an earlier as well.
const leaseRoundsMax = 16

// SetTime tells what the host's clock shows, in nanoseconds. The driver reads the clock after it has taken what it is
// about to hand in: Step grants a lease from that time on, and ReadBarrier answers by a lease that is valid at it. The
// clock has nothing to do with another replica's, never goes back, and goes on while the process stands still.
func (r *Replica) SetTime(now uint64) {
	l := &r.leasing
	if r.config.Omit.Has(RuleLeaseClock) {
		now, l.behind = l.behind, now
	}
	l.now = max(l.now, now)
}

// startLeases assumes, after a start, that a lease was granted just before the end of the life before, by a replica
// that was a normal backup. One that was in a view change, or the primary, had granted none that could still stand; in
// view 0 there was nobody to grant one to.
func (r *Replica) startLeases() {
	r.leasing.now, r.leasing.behind = r.config.Now, r.config.Now
	if r.view > r.lastNormalView || r.primaryOf(r.view) == r.config.Self || r.config.Omit.Has(RuleLeaseAfterStart) {
		return
	}
	r.leasing.granted, r.leasing.until = r.view, r.config.Now+r.config.LeaseLongest
}

// leaveLeases forgets what was granted and awaited in an epoch that is over. No lease of it stands: its last primary
// gave its own up before it proposed the RECONFIGURATION, and none that inherited it ever takes one.
func (r *Replica) leaveLeases() {
	r.dropLease()
	r.leasing.granted, r.leasing.until, r.leasing.awaited = 0, 0, 0
}

// grant gives the primary of this replica's view the lease that its COMMIT asks for, unless somebody is waiting for
// this replica in a later view, and returns for how long.
func (r *Replica) grant(m *Message) uint64 {
	l := &r.leasing
	if m.Lease == 0 || m.Lease > r.config.LeaseLongest || l.awaited > r.view {
		return 0
	}
	l.granted, l.until = r.view, max(l.until, l.now+m.Lease)
	return m.Lease
}

// grants reports whether a lease that this replica granted keeps it in its view.
func (r *Replica) grants() bool {
	l := &r.leasing
	return l.granted == r.view && l.now < l.until && r.view > 0 && !r.config.Omit.Has(RuleLeaseGrant)
}

// heldBack reports whether a message has to wait that would take this replica into a change to a later view. When the
// primary itself is in one it has given its lease up.
func (r *Replica) heldBack(m *Message) bool {
	switch m.Kind {
	case KindStartViewChange, KindDoViewChange, KindRecovery:
	default:
		return false
	}
	if m.View <= r.view || m.From == r.primaryOf(r.view) || !r.grants() {
		return false
	}
	r.leasing.awaited = max(r.leasing.awaited, m.View)
	return true
}

// tickLeases follows into a view change that a lease has kept this replica from.
func (r *Replica) tickLeases() {
	if r.leasing.awaited > r.view && !r.grants() {
		r.becomeViewChange(r.leasing.awaited)
	}
}

// sendRound sends the COMMIT of a round, which asks for the next lease too.
func (r *Replica) sendRound() {
	p, l := r.primary, &r.leasing
	p.heartbeat = 0
	for len(l.asked) > 0 && l.now-l.asked[0].sent >= r.config.LeaseDuration {
		l.asked = l.asked[1:] // a lease from then on would be over
	}
	if r.config.LeaseDuration > 0 && len(l.asked) < leaseRoundsMax {
		l.asked = append(l.asked, leaseRound{number: p.round, sent: l.now})
	}
	r.stampRound()
	r.confirmStamps()
	r.raiseFloor()
	for i := range p.backups {
		r.sendCommit(&p.backups[i], p.round, r.config.LeaseDuration)
	}
}

// takeLease takes the lease that the newest round asked for that f backups have granted.
func (r *Replica) takeLease() {
	l := &r.leasing
	granted := 0
	for granted < len(l.asked) && r.isGranted(l.asked[granted].number) {
		granted++
	}
	if granted == 0 || r.endsEpoch() || !r.leads && !r.config.Omit.Has(RuleLeaseLeads) {
		return
	}
	from, margin := l.asked[granted-1].sent, r.config.LeaseMargin
	if r.config.Omit.Has(RuleLeaseFromSending) {
		from = l.now
	}
	if r.config.Omit.Has(RuleLeaseMargin) {
		margin = 0
	}
	l.held, l.heldUntil = r.view, max(l.heldUntil, from+r.config.LeaseDuration-margin)
	l.asked = l.asked[granted:]
}

// isGranted reports whether f backups have granted a lease in that round or a later one.
func (r *Replica) isGranted(round uint64) bool {
	needed := r.quorum - 1
	if r.config.Omit.Has(RuleLeaseQuorum) {
		needed = 1
	}
	for i := range r.primary.backups {
		if needed > 0 && r.primary.backups[i].granted >= round {
			needed--
		}
	}
	return needed == 0
}

// holdsLease reports whether this replica may answer reads of a view by itself.
func (r *Replica) holdsLease(view ViewNumber) bool {
	return view > 0 && r.leasing.held == view && r.leasing.now < r.leasing.heldUntil
}

// HoldsLease reports whether this replica may answer reads of its view by itself, at the time that SetTime told last.
func (r *Replica) HoldsLease() bool { return r.holdsLease(r.view) }

// dropLease gives the lease up. It comes before anything that this replica says in a later view, and before whatever
// else ends its leading.
func (r *Replica) dropLease() {
	r.leasing.asked = nil
	if !r.config.Omit.Has(RuleLeaseDropped) {
		r.leasing.held, r.leasing.heldUntil = 0, 0
	}
}
