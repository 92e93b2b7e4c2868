package core

import (
	"fmt"
	"math"
	"slices"
)

// A stale read is answered by any replica from its own state, and says how old that may be at the most. It is not in
// the paper (docs/DIVERGENCE.md). No two clocks are compared:
//
// A backup puts a stamp into each COMMITOK: what its own clock shows. The primary keeps it until it knows that it still
// was the primary at a moment after the stamp had come: by a round that began after that and that a quorum has
// answered, or by a lease. From then on the newest such stamp goes back in each COMMIT to that backup, beside the
// commit-number C. Then everything that anyone had acknowledged before the backup's clock showed the stamp is at or
// below C:
//
//   - In later views, or epochs, nobody had acknowledged anything at that moment, since a quorum was still in this view
//     or the lease not over. It is the proof of ReadBarrier, and goes through here as it does there.
//   - In this view the primary alone acknowledges, and only what it has committed. Its commit-number does not fall.
//   - In earlier views whatever was acknowledged is in the log that this view inherited, and a primary that leads has
//     committed all of that.
//
// This is a fact of history. It stays true for this backup whatever becomes of the message, the view, the epoch and the
// primary: a COMMIT that is late or comes twice is worth less, and never wrong. Once this replica has applied
// everything up to C, its state is as of the stamp. The age is counted from there to the call, by this replica's own
// clock, and made longer by as much as another clock may be faster.
//
// A stamp belongs to one clock: a replica that starts anew has another, which may show anything.
//
// A clock may show the same twice, and what it showed before a call tells nothing of what came just before that. So a
// read needs a stamp that is later than its call less its bound, or one of its own: a question to the primary, and a
// round that a primary begins, have a stamp that was not used before, and all others one that is less by 1 than the
// clock.

// staleness is what a replica knows of the age of its own state.
type staleness struct {
	// asOf, when known: everything acknowledged before the clock showed this is applied.
	known bool
	asOf  uint64
	// heard are later ones that are not all applied yet, ascending.
	heard []heardCommit
	// waiting are reads by their tokens, ascending; live of them were not given up. None needs more than a stamp later
	// than needed.
	waiting []staleRead
	live    int
	needed  uint64
	// askedAt is the last stamp that reads were given for their own; asking: a backup has sent it to the primary, so many
	// ticks ago.
	askedAt uint64
	asking  bool
	ticks   int
	// answered is what the next Ready holds.
	answered []StaleRead
}

// heardCommit says that everything acknowledged before the clock showed stamp is at or below commit.
type heardCommit struct {
	stamp  uint64
	commit OpNumber
}

// heardMax bounds what waits to be applied. With more than that, the newest takes the place of the one before.
const heardMax = 16

// staleRead is a read that waits until the state is as of a time later than after.
type staleRead struct {
	token, called, after uint64
	over                 bool // it was given up
}

// StaleRead is the answer to a ReadStale.
type StaleRead struct {
	Token uint64
	// OK: everything that anyone had acknowledged more than Age before ReadStale was called was applied when this Ready
	// was made. Otherwise the read was given up, and Age is that of the state at that time.
	OK bool
	// Age is in the unit of SetTime, by the fastest clock of the group; math.MaxUint64: not known.
	Age uint64
}

// stamp is what one of a backup's clocks showed. A round confirms it whose number is before or above.
type stamp struct{ time, clock, before uint64 }

// covers reports whether who has this stamp back needs none of an earlier time.
func (s stamp) covers(other stamp) bool { return s.clock == other.clock && s.time >= other.time }

// stampsMax bounds the stamps of one backup that are not confirmed: one for each round that is under way.
const stampsMax = 4

// ClockMargin is by how many thousandths a clock may be slower than another's.
type ClockMargin uint64

// clockMarginMax leaves something of a clock.
const clockMarginMax = 900

// Longest is how long a time is at the most, by any clock of the group, that is so long by one of them.
func (m ClockMargin) Longest(elapsed uint64) uint64 {
	slow := 1000 - uint64(m)
	return elapsed/slow*1000 + (elapsed%slow*1000+slow-1)/slow
}

// Shortest is the longest time by one clock that no other takes for longer than elapsed.
func (m ClockMargin) Shortest(elapsed uint64) uint64 {
	slow := 1000 - uint64(m)
	return elapsed/1000*slow + elapsed%1000*slow/1000
}

// Within reports whether a time that is elapsed by this replica's clock is less than atMost by any clock of the group.
func (m ClockMargin) Within(elapsed, atMost uint64) bool { return elapsed < m.Shortest(atMost) }

// ReadStale asks for a StaleRead with the token, larger than any before: OK as soon as everything is applied here that
// anyone had acknowledged more than atMost before the call. Any replica may be asked; a backup asks the primary for
// what it needs to know. Errors are ErrOverloaded, ErrWitness and ErrStopped.
func (r *Replica) ReadStale(token, atMost uint64) error {
	switch {
	case r.failure != nil:
		return ErrStopped
	case r.config.Witness:
		return ErrWitness
	}
	s, now := &r.staleness, r.leasing.now
	if len(s.waiting) >= r.config.ReadsMax {
		s.waiting = slices.DeleteFunc(s.waiting, func(read staleRead) bool { return read.over })
	}
	if len(s.waiting) >= r.config.ReadsMax {
		return fmt.Errorf("%w: %d stale reads wait", ErrOverloaded, r.config.ReadsMax)
	}
	read := staleRead{token: token, called: now}
	if reach := r.clockMargin().Shortest(atMost); reach < now {
		read.after = now - reach
	}
	if r.isSurelyPrimary() {
		r.hear(now, r.commit)
		read.after = min(read.after, max(now, 1)-1)
	}
	if s.known && s.asOf > read.after {
		r.answerStale(read)
		return nil
	}
	s.waiting = append(s.waiting, read)
	s.live++
	s.needed = max(s.needed, read.after)
	if p := r.primary; p != nil {
		p.fresh = len(p.backups) > 0
	}
	r.askFresher()
	return nil
}

// isSurelyPrimary reports whether at this moment nobody can have acknowledged anything in a later view.
func (r *Replica) isSurelyPrimary() bool { return r.holdsLease(r.view) || r.leads && r.quorum == 1 }

// CancelReadStale gives a read up that waits: its answer is not OK, and tells the age that there is. One that was
// answered is left alone.
func (r *Replica) CancelReadStale(token uint64) {
	s := &r.staleness
	at, found := slices.BinarySearchFunc(s.waiting, token, func(read staleRead, token uint64) int {
		if read.token < token {
			return -1
		}
		return int(min(read.token-token, 1))
	})
	if !found || s.waiting[at].over {
		return
	}
	s.waiting[at].over = true
	s.live--
	age := uint64(math.MaxUint64)
	if s.known {
		age = r.clockMargin().Longest(r.leasing.now - s.asOf)
	}
	s.answered = append(s.answered, StaleRead{Token: token, Age: age})
}

// AsOf is the time of this replica's clock before which whatever anyone had acknowledged is applied here; false: none
// is known.
func (r *Replica) AsOf() (uint64, bool) { return r.staleness.asOf, r.staleness.known }

func (r *Replica) clockMargin() ClockMargin {
	if r.config.Omit.Has(RuleStaleMargin) {
		return 0
	}
	return r.config.ClockMargin
}

// hear notes that everything acknowledged before the clock showed a stamp is at or below commit.
func (r *Replica) hear(stamp uint64, commit OpNumber) {
	s := &r.staleness
	last := len(s.heard) - 1
	switch {
	case s.known && stamp <= s.asOf, last >= 0 && stamp <= s.heard[last].stamp:
		return // late, or once more
	case last >= 0 && (s.heard[last].commit >= commit || len(s.heard) == heardMax):
		s.heard[last] = heardCommit{stamp: stamp, commit: max(commit, s.heard[last].commit)}
	default:
		s.heard = append(s.heard, heardCommit{stamp: stamp, commit: commit})
	}
	r.settleStale()
}

// settleStale answers the reads that what is applied is new enough for.
func (r *Replica) settleStale() {
	s := &r.staleness
	applied, n := r.applied, 0
	if r.config.Omit.Has(RuleStaleApplied) {
		applied = math.MaxUint64
	}
	for n < len(s.heard) && s.heard[n].commit <= applied {
		s.known, s.asOf = true, s.heard[n].stamp
		n++
	}
	if n == 0 {
		return
	}
	s.heard = slices.Delete(s.heard, 0, n)
	if len(s.waiting) == 0 {
		return
	}
	s.needed = 0
	s.waiting = slices.DeleteFunc(s.waiting, func(read staleRead) bool {
		if !read.over && s.asOf > read.after {
			r.answerStale(read)
			s.live--
			return true
		}
		s.needed = max(s.needed, read.after)
		return read.over
	})
}

// answerStale answers a read that the state is new enough for. What is newer than the call has no age.
func (r *Replica) answerStale(read staleRead) {
	s := &r.staleness
	answer := StaleRead{Token: read.token, OK: true}
	if read.called > s.asOf {
		answer.Age = r.clockMargin().Longest(read.called - s.asOf)
	}
	s.answered = append(s.answered, answer)
}

// askFresher asks the primary for a later stamp, if a read needs one and none is under way.
func (r *Replica) askFresher() {
	s := &r.staleness
	if s.asking || r.primary != nil || r.status != StatusNormal || r.view == 0 || !r.member {
		return
	}
	if last := len(s.heard) - 1; last >= 0 && s.heard[last].stamp > s.needed {
		return // it is here, and to be applied
	}
	if !r.giveStamp() {
		return
	}
	s.asking, s.ticks = true, 0
	r.send(r.primaryOf(r.view), Message{Kind: KindCommitOK, Stamp: s.askedAt, Clock: r.config.Clock, Agree: true})
}

// giveStamp makes what the clock shows the stamp of all reads that wait, if there are any and it is nobody's yet.
func (r *Replica) giveStamp() bool {
	s, now := &r.staleness, r.leasing.now
	if s.live == 0 || now <= s.askedAt {
		return false
	}
	s.askedAt, s.needed = now, min(s.needed, now-1)
	for i := range s.waiting {
		s.waiting[i].after = min(s.waiting[i].after, now-1)
	}
	return true
}

// commonStamp is a stamp that is no read's own; 0: none.
func (r *Replica) commonStamp() uint64 { return max(r.leasing.now, 1) - 1 }

// stampRound remembers when a round of this primary's began.
func (r *Replica) stampRound() {
	p := r.primary
	own := stamp{time: r.commonStamp(), before: p.round}
	if r.giveStamp() {
		own.time = r.staleness.askedAt
	}
	p.stamps = keepStamp(p.stamps, own)
}

// tickStale asks again what was not answered: the message may be lost, or the view another one.
func (r *Replica) tickStale() {
	s := &r.staleness
	if s.ticks++; s.ticks >= r.config.ResendTicks {
		s.asking = false
	}
	r.askFresher()
}

// takeEcho takes back a stamp of this replica's own, which came with a COMMIT.
func (r *Replica) takeEcho(m *Message) {
	s, now := &r.staleness, r.leasing.now
	if r.config.Witness || m.Stamp == 0 || m.Clock != r.config.Clock && !r.config.Omit.Has(RuleStaleClock) || m.Stamp > now {
		return
	}
	if m.Stamp >= s.askedAt {
		s.asking = false
	}
	if r.config.Omit.Has(RuleStaleFromStamp) {
		r.hear(now, m.Commit)
	} else {
		r.hear(m.Stamp, m.Commit)
	}
	r.askFresher()
}

// takeStamp keeps a backup's stamp until it is confirmed. One who asks for it is answered as soon as it is.
func (r *Replica) takeStamp(b *backup, m *Message) {
	p := r.primary
	if p.deaf {
		return
	}
	taken := stamp{time: m.Stamp, clock: m.Clock, before: p.round + 1}
	if r.config.Omit.Has(RuleStaleRound) {
		taken.before = p.round
	}
	if taken.time > 0 && !b.echo.covers(taken) {
		b.stamps = keepStamp(b.stamps, taken)
	}
	if m.Agree && taken.time > 0 && !(b.asks && b.asked.covers(taken)) {
		b.asked, b.asks = taken, true
	}
	r.confirmStamps()
	for i := range p.backups {
		b := &p.backups[i]
		switch {
		case !b.asks:
		case b.echo.covers(b.asked):
			r.sendCommit(b, p.round, 0)
		case p.round < b.asked.before:
			p.fresh = true // no round has begun since
		}
	}
}

// keepStamp keeps the newest stamp for each round that may confirm it.
func keepStamp(stamps []stamp, taken stamp) []stamp {
	last := len(stamps) - 1
	switch {
	case last >= 0 && stamps[last].covers(taken):
	case last >= 0 && (stamps[last].before == taken.before || len(stamps) == stampsMax):
		stamps[last] = taken
	default:
		stamps = append(stamps, taken)
	}
	return stamps
}

// confirmStamps finds the stamps that came before a moment at which this replica was the primary for certain: before a
// round began that a quorum has answered, or under a lease.
func (r *Replica) confirmStamps() {
	p := r.primary
	if !r.leads && !r.config.Omit.Has(RuleStaleLeads) {
		return
	}
	answered := p.round + 1
	if !r.isSurelyPrimary() && !r.config.Omit.Has(RuleStaleConfirmed) {
		answered = r.answeredRound()
	}
	var own stamp
	if own, p.stamps = lastConfirmed(p.stamps, answered); own.time > 0 {
		r.hear(own.time, r.commit)
	}
	for i := range p.backups {
		b := &p.backups[i]
		var confirmed stamp
		if confirmed, b.stamps = lastConfirmed(b.stamps, answered); confirmed.time > 0 {
			b.echo = confirmed
		}
	}
}

// lastConfirmed takes the stamps off that a round confirms, and returns the newest of them.
func lastConfirmed(stamps []stamp, answered uint64) (newest stamp, rest []stamp) {
	n := 0
	for n < len(stamps) && stamps[n].before <= answered {
		newest = stamps[n]
		n++
	}
	return newest, slices.Delete(stamps, 0, n)
}

// answeredRound is the last round that a quorum has answered, of which this replica is one.
func (r *Replica) answeredRound() uint64 {
	p := r.primary
	var room [MembersMax]uint64
	rounds := append(room[:0], p.round)
	for i := range p.backups {
		rounds = append(rounds, p.backups[i].round)
	}
	slices.Sort(rounds)
	return rounds[len(rounds)-r.quorum]
}

// sendCommit sends one backup a COMMIT, with the newest of its stamps that is confirmed.
func (r *Replica) sendCommit(b *backup, round, lease uint64) {
	b.asks = b.asks && !b.echo.covers(b.asked)
	r.send(b.id, Message{
		Kind: KindCommit, Op: r.log.last(), Commit: r.commit, Kept: min(r.floor, r.commit), Round: round, Lease: lease,
		Stamp: b.echo.time, Clock: b.echo.clock,
	})
}
