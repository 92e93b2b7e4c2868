package core

import "slices"

// recoveryPatience is for how many times ResendTicks an attempt to recover may stand still before it is begun anew.
const recoveryPatience = 4

// recovery is the state of a replica that may have lost what it acknowledged (VRR 4.3). It takes part in nothing
// until it has the log of a view that is no older than its own promises.
type recovery struct {
	// nonce tells the answers to this attempt from those to an earlier one, which may be older than what this
	// replica acknowledged since.
	nonce uint64
	// answers are the RECOVERYRESPONSEs to this attempt: the newest of each member.
	answers []Message
	// still counts ticks since the attempt got on.
	patience
	still int
	// attempts are those that came before, in this life. Each has more time than the one before: over a slow link every
	// answer would be one to an earlier attempt.
	attempts int
}

// recovers reports whether a replica that starts has to recover. One that was never normal in a view has
// acknowledged nothing, and its promises are durable: it may have lost nothing that counts. A whole group that
// crashes in its first view change could not come back otherwise. Nor has one acknowledged anything in an epoch that
// only its checkpoint is of.
func (r *Replica) recovers(restored Restored) bool {
	lacks := restored.Recover && !r.config.Omit.Has(RuleRecover) || restored.Damaged && !r.config.Omit.Has(RuleRepair)
	promised, _ := restored.HardState.Membership.Decode()
	return lacks && r.lastNormalView > 0 && promised.Epoch == r.membership.Epoch
}

// becomeRecovering begins to recover. What this replica knows to be committed is the same everywhere and need not
// travel. The entries above stay on the disk until the log that replaces them is here, and count for nothing.
func (r *Replica) becomeRecovering(restored Restored) {
	r.status = StatusRecovering
	// It was committed, whatever of it is left here, so the log that is taken over has it.
	r.commitMax = max(r.commitMax, restored.HardState.Commit)
	r.attemptRecovery()
}

// attemptRecovery asks everybody, with a nonce that was never used (VRR 4.3, step 1).
func (r *Replica) attemptRecovery() {
	r.transfer = nil
	before := -1
	if r.recovery != nil {
		before = r.recovery.attempts
	}
	r.recovery = &recovery{nonce: r.config.Rand(), attempts: before + 1}
	r.sendRecovery()
}

// sendRecovery asks those who have not answered yet. The view is the least that this replica may accept: what it
// promised, the others have to come up to.
func (r *Replica) sendRecovery() {
	for _, to := range r.others {
		if !slices.ContainsFunc(r.recovery.answers, func(m Message) bool { return m.From == to }) {
			r.send(to, Message{Kind: KindRecovery, Nonce: r.recovery.nonce, First: r.commit + 1})
		}
	}
}

// tickRecovery asks again, and begins anew when nothing gets on: the view may be over, or its primary gone. A
// checkpoint that is on its way is the driver's to give up.
func (r *Replica) tickRecovery() {
	c := r.recovery
	if r.fetching || c == nil {
		return
	}
	if c.still++; c.still >= recoveryPatience*r.config.ResendTicks<<min(c.attempts, resendDoublingsMax) {
		r.attemptRecovery()
		return
	}
	if r.transfer != nil {
		r.tickTransfer()
		return
	}
	if c.due(r.config.ResendTicks) {
		r.sendRecovery()
	}
}

// stepRecovering lets a recovering replica take what it asked for, and nothing else: whatever it answered could
// count for a promise that it has forgotten.
func (r *Replica) stepRecovering(m *Message) {
	switch {
	case m.Kind == KindRecoveryResponse:
		r.onRecoveryResponse(m)
	case m.Kind == KindNewState:
		r.onNewState(m)
	case m.Kind == KindStartViewChange && m.View > r.view && r.config.Omit.Has(RuleRecoveringTakesNoPart):
		r.recovery = nil
		r.becomeViewChange(m.View)
	}
}

// onRecovery answers a replica that recovers, with the view that this one is normal in (VRR 4.3, step 2). Where the
// other has promised a later view, that one has to begin first. Only the primary's log surely has everything that
// the other acknowledged in this view. It need not be leading for that: while it is normal in its view nobody can have
// acknowledged there what it has not, whether it hears the others or not.
func (r *Replica) onRecovery(m *Message) {
	if m.View > r.view && !r.config.Omit.Has(RuleRecoveryLeastView) {
		r.becomeViewChange(m.View)
		return
	}
	if r.status != StatusNormal || r.view == 0 {
		return
	}
	answer := Message{Kind: KindRecoveryResponse, Nonce: m.Nonce, LastNormalView: r.lastNormalView}
	if r.primary != nil || r.config.Omit.Has(RuleRecoveryPrimary) {
		answer.Op, answer.Commit = r.log.last(), r.commit
		answer.Hash, _ = r.log.hashAt(answer.Op)
	}
	r.send(m.From, answer)
}

// onRecoveryResponse gathers the answers (VRR 4.3, step 3).
func (r *Replica) onRecoveryResponse(m *Message) {
	c := r.recovery
	if c == nil || r.transfer != nil || r.fetching {
		return
	}
	if m.Nonce != c.nonce && !r.config.Omit.Has(RuleRecoveryNonce) || m.View < r.view && !r.config.Omit.Has(RuleRecoveryLeastView) {
		return
	}
	c.answers = slices.DeleteFunc(c.answers, func(a Message) bool { return a.From == m.From && a.View <= m.View })
	if !slices.ContainsFunc(c.answers, func(a Message) bool { return a.From == m.From }) {
		c.answers = append(c.answers, *m)
	}
	if best := r.recoveryChoice(); best != nil {
		r.recoverFrom(*best)
	}
}

// recoveryChoice is the answer of the primary of the largest view among f+1 answers of others; nil: it is not there
// yet. A view far ahead needs f+1 members that name it, as everywhere.
func (r *Replica) recoveryChoice() *Message {
	answers, enough := r.recovery.answers, len(r.others)/2+1
	if len(answers) < enough && !r.config.Omit.Has(RuleRecoveryQuorum) {
		return nil
	}
	best := &answers[0]
	for i := range answers {
		if answers[i].View > best.View || answers[i].View == best.View && r.primaryOf(best.View) == answers[i].From {
			best = &answers[i]
		}
	}
	voices := 0
	for i := range answers {
		if answers[i].View == best.View {
			voices++
		}
	}
	switch {
	case best.From != r.primaryOf(best.View) && !r.config.Omit.Has(RuleRecoveryPrimary):
		return nil
	case best.View > r.view+claimAheadMax && voices < enough:
		return nil
	}
	return best
}

// recoverFrom makes this log the primary's: by what is here already where that is the same log, or else by a state
// transfer of what is missing, from any member that is normal in that view.
func (r *Replica) recoverFrom(m Message) {
	r.recovery.still = 0
	if m.Op < r.commitMax {
		r.contradiction(r.commitMax, 0, m.View) // a log that is no older than this replica's promises has all that it knew committed
		return
	}
	if r.contradicts(&m) {
		return
	}
	if hash, ok := r.log.hashAt(m.Op); ok && hash == m.Hash {
		r.replaceAbove(m.Op, nil)
		r.commitMax = max(r.commitMax, m.Commit)
		if r.failure == nil {
			r.takePart(m.View)
		}
		return
	}
	r.beginTransfer(&transferring{kind: recovering, view: m.View, from: m.From, want: m.Op, wantHash: m.Hash, commit: m.Commit})
}

// hasRecovered reports whether a log that was fetched is the primary's, up to where the primary's went when it
// answered. below is the op-number under its first entry. What a checkpoint holds is committed in that view or
// later, and has no need of a comparison.
func (r *Replica) hasRecovered(t *transferring, below OpNumber) bool {
	if r.config.Omit.Has(RuleRecoveryHash) || t.want <= r.fetched {
		return true
	}
	if t.want > below {
		at := int(t.want - below - 1)
		return at < len(t.buffer) && t.buffer[at].Hash == t.wantHash
	}
	hash, ok := r.log.hashAt(t.want)
	return ok && hash == t.wantHash
}
