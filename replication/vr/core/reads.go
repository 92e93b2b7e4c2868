package core

import "fmt"

// asked is a read and the round that it waits for.
type asked struct {
	token uint64
	round uint64
}

// ReadBarrier asks for a Read with the token: OK at once under a lease, or else once a quorum has confirmed this
// primary's view in a round of COMMITs that began after the call. The state that the caller then reads has everything
// that anyone had acknowledged before it asked: a later primary can have acknowledged nothing as long as the quorum was
// still in this view, or the lease not over. Errors are ErrNotPrimary, ErrOverloaded and ErrStopped.
func (r *Replica) ReadBarrier(view ViewNumber, token uint64) error {
	if r.failure != nil {
		return ErrStopped
	}
	if r.holdsLease(view) {
		r.reads = append(r.reads, Read{Token: token, OK: true, Lease: true})
		return nil
	}
	if !r.leadsView(view) {
		return fmt.Errorf("%w: view %d, primary %d", ErrNotPrimary, r.view, r.primaryOf(r.view))
	}
	p := r.primary
	if len(p.asked)+len(p.waiting) >= r.config.ReadsMax {
		return fmt.Errorf("%w: %d read barriers wait", ErrOverloaded, r.config.ReadsMax)
	}
	p.asked = append(p.asked, asked{token: token})
	return nil
}

// flushReads begins one round for all reads that were asked since the last.
func (r *Replica) flushReads() {
	p := r.primary
	if len(p.asked) == 0 && !p.fresh {
		return
	}
	p.round++
	p.fresh = false
	for _, a := range p.asked {
		a.round = p.round
		p.waiting = append(p.waiting, a)
	}
	p.asked = p.asked[:0]
	r.sendRound()
	r.finishReads()
}

// onCommitOK counts a backup's answer to a round.
func (r *Replica) onCommitOK(m *Message) {
	p := r.primary
	if p == nil || m.View != r.view || m.Round > p.round || m.Op > r.log.last() {
		return
	}
	b := p.backup(m.From)
	if m.Agree {
		// It asks, and answers nothing: it may not hear this primary at all.
		r.takeStamp(b, m)
		return
	}
	b.kept = max(b.kept, m.Kept)
	r.acknowledged(b, m.Op)
	if r.primary != p {
		return // the epoch is over
	}
	b.round = max(b.round, m.Round)
	if m.Lease >= r.config.LeaseDuration {
		b.granted = max(b.granted, m.Round)
	}
	r.takeLease()
	r.finishReads()
	r.takeStamp(b, m)
}

// finishReads lets go the reads whose round a quorum has answered. Rounds rise, so they are the first ones.
func (r *Replica) finishReads() {
	p := r.primary
	done := 0
	for _, a := range p.waiting {
		answered := 1
		for i := range p.backups {
			if p.backups[i].round >= a.round {
				answered++
			}
		}
		if answered < r.quorum && !r.config.Omit.Has(RuleReadRound) {
			break
		}
		r.reads = append(r.reads, Read{Token: a.token, OK: true})
		done++
	}
	p.waiting = p.waiting[done:]
}
