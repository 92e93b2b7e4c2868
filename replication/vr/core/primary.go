package core

import (
	"fmt"
	"slices"
)

// leading is what a primary keeps while it is normal in its view.
type leading struct {
	// inherited is the log's end when the view began: the primary leads only after a quorum has it all.
	inherited OpNumber
	backups   []backup // in the order of others
	// durable is how far the primary's own log counts.
	durable   OpNumber
	bytes     int // of payloads above commit
	heartbeat int // ticks since the last COMMIT to all
	// deaf: too few backups were heard; this view is over for this primary, whatever comes back.
	deaf bool

	// round numbers the COMMITs that ask for an answer; waiting are reads by the round that they wait for.
	round   uint64
	asked   []asked
	waiting []asked
	// stamps are what this replica's own clock showed when it sent rounds that are not answered; fresh: a round is wanted
	// that confirms stamps.
	stamps []stamp
	fresh  bool
}

// backup is what the primary knows of one backup in this view.
type backup struct {
	id ReplicaID
	// joined: it has acknowledged anything in this view.
	joined bool
	// match is the last op-number acknowledged, sent the last one sent. Invariant: match <= sent.
	match, sent OpNumber
	// inFlight are the last op-numbers of the PREPAREs that are not acknowledged.
	inFlight []OpNumber
	// quiet counts ticks since it was heard, stuck those since its match rose while something was in flight, and
	// resent how often that was sent again since.
	quiet, stuck, resent int
	// told counts ticks since it was sent a STARTVIEW, toldAgain how often it was sent another.
	told, toldAgain int
	// kept is the last checkpoint that it told.
	kept OpNumber
	// round is the last one that it answered, granted the last one that it answered with a lease.
	round, granted uint64
	// stamps are not confirmed yet, echo is the newest that is; asks: it waits for a COMMIT with the stamp asked.
	stamps      []stamp
	echo, asked stamp
	asks        bool
}

// becomePrimary starts the view as its primary, with the log as it stands (VRR 4.2, step 3).
func (r *Replica) becomePrimary() {
	p := &leading{inherited: r.log.last(), durable: r.durableTo()}
	for op := r.commit + 1; op <= r.log.last(); op++ {
		p.bytes += len(r.log.at(op).Payload)
	}
	for _, id := range r.others {
		p.backups = append(p.backups, backup{id: id, sent: r.log.last()})
	}
	r.primary = p
	r.enterNormal(r.view)
}

// enterNormal ends whatever was going on: the replica has the view's whole inherited log.
func (r *Replica) enterNormal(view ViewNumber) {
	r.status = StatusNormal
	r.view, r.lastNormalView = view, view
	r.viewChange, r.transfer, r.probe, r.recovery = nil, nil, nil, nil
	r.drawTimeout()
}

// stopLeading ends this replica's part as primary. Waiting reads fail, and what it proposed is left to others.
func (r *Replica) stopLeading() {
	p := r.primary
	if p == nil {
		return
	}
	r.retire()
	r.primary = nil
}

// abdicate makes a primary silent that has learnt of another one. It comes before anything of the other's log
// is taken over, so that what this primary proposed is still known.
func (r *Replica) abdicate() {
	if r.primary != nil {
		r.retire()
		r.primary.deaf = true
	}
}

// retire ends the leading, though perhaps not yet the view.
func (r *Replica) retire() {
	p := r.primary
	r.dropLease()
	for _, a := range append(p.waiting, p.asked...) {
		r.reads = append(r.reads, Read{Token: a.token})
	}
	p.waiting, p.asked = nil, nil
	if !r.leads {
		return
	}
	r.leads = false
	r.leadership = &Leadership{Leading: false, View: r.view}
	if last := r.log.last(); last > r.commit {
		// What is committed by now is this replica's own and can be answered; what is committed later may be
		// another's in the same place, and waits for the next Ready.
		r.dropped = append(r.dropped, Dropped{First: r.commit + 1, Last: last})
		r.applyMax = r.commit
	}
}

func (p *leading) backup(id ReplicaID) *backup {
	for i := range p.backups {
		if p.backups[i].id == id {
			return &p.backups[i]
		}
	}
	return nil
}

// onPrepareOK counts a backup's acknowledgement, once for each backup and in its own view only (VRR 4.1,
// step 5).
func (r *Replica) onPrepareOK(m *Message) {
	p := r.primary
	if p == nil || m.View != r.view && !(r.config.Omit.Has(RulePrepareOKView) && m.View < r.view) || m.Op > r.log.last() {
		return
	}
	b := p.backup(m.From)
	b.kept = max(b.kept, m.Kept)
	r.acknowledged(b, m.Op)
}

// acknowledged notes how far a backup's durable log goes.
func (r *Replica) acknowledged(b *backup, op OpNumber) {
	b.quiet = 0
	if !b.joined {
		b.joined, b.match, b.sent, b.inFlight = true, op, op, nil
	}
	if op > b.match {
		b.match, b.stuck, b.resent = op, 0, 0
	}
	b.sent = max(b.sent, b.match)
	for len(b.inFlight) > 0 && b.inFlight[0] <= b.match {
		b.inFlight = b.inFlight[1:]
	}
	r.countAcknowledged()
}

// countAcknowledged commits what a quorum has, this replica's own durable log included, and leads once that is
// everything inherited.
func (r *Replica) countAcknowledged() {
	p := r.primary
	var room [MembersMax]OpNumber
	have := append(room[:0], p.durable)
	for i := range p.backups {
		if p.backups[i].joined {
			have = append(have, p.backups[i].match)
		}
	}
	if len(have) < r.quorum && !(r.config.Omit.Has(RuleLeadInherited) && !r.leads) {
		return
	}
	if len(have) >= r.quorum {
		slices.Sort(have)
		r.advanceCommit(have[len(have)-r.quorum])
	}
	if r.primary != p {
		return // the epoch is over
	}
	lead := r.commit >= p.inherited || r.config.Omit.Has(RuleLeadInherited)
	if lead && !p.deaf && !r.leads {
		r.leads, r.attempts = true, 0
		r.leadership = &Leadership{Leading: true, View: r.view}
		r.settleReconfiguration()
	}
}

// tickPrimary sends signs of life, sends again what was lost, and counts who is still there.
func (r *Replica) tickPrimary() {
	p := r.primary
	silent := 0
	for i := range p.backups {
		b := &p.backups[i]
		b.quiet++
		b.told++
		if b.quiet >= r.config.ViewChangeTicksMin {
			silent++
		}
		if len(b.inFlight) > 0 {
			b.stuck++
		}
		if b.stuck >= r.config.ResendTicks<<min(b.resent, resendDoublingsMax) {
			b.stuck, b.sent, b.inFlight = 0, b.match, nil
			b.resent++
		}
	}
	if p.deaf {
		r.elapsed++
		return
	}
	if len(p.backups)+1-silent < r.quorum && !r.config.Omit.Has(RuleCheckQuorum) {
		// Its heartbeats would keep the others from choosing a primary that can hear them.
		r.retire()
		p.deaf = true
		r.drawTimeout()
		return
	}
	if p.heartbeat++; p.heartbeat >= r.config.HeartbeatTicks {
		p.round++
		r.sendRound()
	}
}

// flushPrimary turns what was proposed and asked since the last Ready into messages: a batch for each backup
// that has room, and one round for all reads.
func (r *Replica) flushPrimary() {
	p := r.primary
	if p == nil || p.deaf {
		return
	}
	for i := range p.backups {
		b := &p.backups[i]
		for r.hasRoom(b) {
			entries := r.log.batch(b.sent+1, r.config.BatchEntriesMax, r.config.BatchBytesMax)
			previous, _ := r.log.hashAt(b.sent)
			b.sent += OpNumber(len(entries))
			b.inFlight = append(b.inFlight, b.sent)
			r.send(b.id, Message{
				Kind: KindPrepare, First: entries[0].Op, PreviousHash: previous, Entries: entries, Op: b.sent, Commit: r.commit,
			})
		}
	}
	r.flushReads()
}

// hasRoom reports whether a backup can be sent a PREPARE. One that lacks what is not retained any more has to
// ask for it.
func (r *Replica) hasRoom(b *backup) bool {
	return b.joined && b.sent < r.log.last() && len(b.inFlight) < r.config.InFlightMax && b.sent >= r.log.base.Op
}

// String describes the replica in one line, for logs and traces.
func (r *Replica) String() string {
	role := "backup"
	if r.primary != nil {
		role = "primary"
	}
	return fmt.Sprintf("replica %d %s %v view %d/%d op %d commit %d applied %d checkpoint %d base %d",
		r.config.Self, role, r.status, r.view, r.lastNormalView, r.log.last(), r.commit, r.applied, r.checkpoint.Op, r.log.base.Op)
}
