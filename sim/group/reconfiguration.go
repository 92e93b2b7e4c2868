package group

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// hostsMax is how many replicas a run may have in all: those of the first epoch, and all that ever join.
const hostsMax = 16

// reconfigurationMixture is how often the members change. It has a stream of its own.
type reconfigurationMixture struct {
	rate int // changes asked for, a tick
	join int // newcomers that start, a tick
	// Of a thousand: dry are only tried, odd are drawn without any sense, removePrimary are to remove whoever is asked.
	dry, odd, removePrimary int
	joiningMax              int // newcomers at one time
	leave                   int // of a thousand, a tick: who has left is shut down
}

func drawReconfigurations(seed uint64) reconfigurationMixture {
	s := newStream(seed, streamReconfiguration)
	m := reconfigurationMixture{
		rate: sometimes(&s, 10, 120), join: s.between(10, 120), dry: s.between(0, 200), odd: s.between(0, 200),
		removePrimary: s.between(0, 500), joiningMax: s.between(1, 4), leave: s.between(20, 500),
	}
	if m.rate == 0 {
		return reconfigurationMixture{}
	}
	return m
}

// strikeMembers starts newcomers, asks for other members and shuts down who has left.
func (s *simulation) strikeMembers() {
	rates, r := &s.mixture.reconfiguration, &s.reconfigurationRandom
	if rates.rate == 0 {
		return
	}
	for _, h := range s.hosts {
		if h.running() && h.status.Status == core.StatusLeft && r.chance(rates.leave) && !h.paused {
			if h.busy {
				continue // what it has left for is told when that is done
			}
			if h.other != nil && s.checks.newest().lacks(h) {
				s.stop(h, true) // it is another life that the group needs
				continue
			}
			s.covered.count(EventLeftShutDown)
			s.trace(h, "is shut down for good")
			h.dead, h.gone = true, true
			s.goDown(h, false)
		}
	}
	if r.chance(rates.join) {
		s.joinOne()
	}
	if r.chance(rates.rate) {
		s.askReconfiguration()
	}
}

// joining are the newcomers that run.
func (s *simulation) joining() []*host {
	var found []*host
	for _, h := range s.hosts {
		if h.running() && h.status.Status == core.StatusTransitioning {
			found = append(found, h)
		}
	}
	return found
}

// joinOne starts a newcomer on an empty host, with the next id. It is told the members of some epoch.
func (s *simulation) joinOne() {
	r := &s.reconfigurationRandom
	if len(s.hosts) >= hostsMax || len(s.joining()) >= s.mixture.reconfiguration.joiningMax {
		return
	}
	tells := s.hosts[r.below(len(s.hosts))]
	if !tells.running() || tells.status.Status == core.StatusTransitioning {
		return
	}
	h := newHost(s, len(s.hosts))
	h.told, h.joins = slices.Clone(tells.status.Members), true
	h.witness = s.witnessRandom.chance(s.mixture.witnesses.join)
	s.hosts = append(s.hosts, h)
	s.covered.count(EventNewcomer)
	s.boot(h)
	s.events.push(event{at: s.now + r.span(1, h.tickEvery), kind: eventTick, replica: h.number})
}

// askReconfiguration asks whoever believes to be primary for other members.
func (s *simulation) askReconfiguration() {
	rates, r := &s.mixture.reconfiguration, &s.reconfigurationRandom
	found := s.believers()
	if len(found) == 0 {
		return
	}
	h := found[r.below(len(found))]
	ids, come, odd := s.drawMembers(h)
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); !odd {
		ids = s.trim(ids, come)
	}
	if len(ids) == 0 {
		return
	}
	members := s.livesOf(h, ids, come, odd)
	s.enqueue(h, input{kind: inputReconfigure, members: members, dry: r.chance(rates.dry)})
}

// drawMembers draws the next members: some leave, some newcomers come, later lives of members among them, or, now and
// then, anybody is anything.
func (s *simulation) drawMembers(h *host) (ids, newcomers []core.ReplicaID, odd bool) {
	rates, r := &s.mixture.reconfiguration, &s.reconfigurationRandom
	if r.chance(rates.odd) {
		for _, other := range s.hosts {
			if r.chance(500) {
				ids = append(ids, other.id)
			}
		}
		return ids, nil, true
	}
	if back := s.comeBack(h); len(back) > 0 {
		return append(slices.Clone(h.status.Members), back...), back, false
	}
	before := h.status.Members
	leave, come := r.below(len(before)+1), r.below(len(s.joining())+1)
	switch r.below(4) {
	case 0:
		leave = 0
	case 1:
		come = 0
	case 2:
		leave = min(leave, 1)
	}
	ids = slices.Clone(before)
	for range leave {
		at := r.below(len(ids))
		if own := slices.Index(ids, h.id); own >= 0 && r.chance(rates.removePrimary) {
			at = own
		}
		ids = slices.Delete(ids, at, at+1)
	}
	for _, newcomer := range s.joining()[:come] {
		if len(ids) < membersMax || slices.Contains(ids, newcomer.id) {
			ids, newcomers = append(ids, newcomer.id), append(newcomers, newcomer.id)
		}
	}
	return ids, newcomers, false
}

// reconfigure is the moment in which the replica is asked.
func (s *simulation) reconfigure(h *host, in *input) {
	if s.liveness.begun || s.hopeless(in.members) {
		return // who has to be there for a change was decided
	}
	before := h.status.Members
	_, err := h.replica.Reconfigure(in.members, in.dry)
	s.trace(h, "is asked for the members %v, dry %v: %v", in.members, in.dry, errorOrNone(err))
	switch {
	case errors.Is(err, core.ErrNotPrimary):
	case errors.Is(err, core.ErrReconfiguring), errors.Is(err, core.ErrHandingOver):
		s.covered.count(EventReconfigurationBusy)
	case errors.Is(err, core.ErrMembership):
		s.covered.count(EventReconfigurationSenseless)
	case errors.Is(err, core.ErrNewcomer):
		s.covered.count(EventNewcomerNotReady)
	case errors.Is(err, core.ErrQuorum):
		s.covered.count(EventNextQuorumMissing)
	case err != nil:
		s.violated(claimRuns, "an error that no reconfiguration has: %v", err)
	case in.dry:
		s.covered.count(EventReconfigurationDry)
	default:
		s.coverChange(h, before, in.members)
		for i := range in.members {
			if other := s.hosts[in.members[i].ID-1]; other.running() && other.status.Op >= h.status.Checkpoint.Op {
				other.bereft = false // it is ready
			}
		}
		op := h.replica.Status().Op
		meta, _ := h.replica.MetaAt(op)
		s.checks.pending = append(s.checks.pending, pendingEpoch{epoch: h.status.Epoch + 1, op: op, hash: meta.Hash, members: idsOf(in.members), lives: lives(in.members)})
		h.reconfigures = len(s.checks.pending)
	}
}

func errorOrNone(err error) string {
	if err == nil {
		return "taken"
	}
	return err.Error()
}

func idsOf(members []core.Member) []core.ReplicaID {
	ids := make([]core.ReplicaID, len(members))
	for i := range members {
		ids[i] = members[i].ID
	}
	return ids
}

// coverChange counts what kind of change was proposed.
func (s *simulation) coverChange(h *host, before []core.ReplicaID, after []core.Member) {
	left, stays, removed := len(before), 0, true
	for _, member := range after {
		removed = removed && member.ID != h.id
		if slices.Contains(before, member.ID) {
			stays++
			left--
		}
	}
	came := len(after) - stays
	s.countIf(left == 0 && came > 0, EventGrow)
	s.countIf(came == 0 && left > 0, EventShrink)
	s.countIf(s.checks.newest().raised(after) > 0, EventLifeRaised)
	s.countIf(came > 0 && left > 0, EventReplace)
	s.countIf(stays == 0, EventReplaceAll)
	s.countIf(removed, EventPrimaryRemoved)
	s.countIf(len(after) == 1, EventShrinkToOne)
}

// epochRecord is an epoch that has begun: the first replica has applied its RECONFIGURATION.
type epochRecord struct {
	epoch   core.EpochNumber
	op      core.OpNumber
	members []core.ReplicaID
	lives   []uint64 // of the members, in their order
	record  core.EncodedMembership
}

func (e *epochRecord) quorum() int { return len(e.members)/2 + 1 }

// pendingEpoch is a RECONFIGURATION that was proposed. over: it certainly never happens. done: it certainly has.
type pendingEpoch struct {
	epoch   core.EpochNumber
	op      core.OpNumber
	hash    core.Hash
	members []core.ReplicaID
	lives   []uint64
	over    bool
	done    bool
}

// recordOf is the membership that a RECONFIGURATION makes, as it is stored.
func recordOf(entry *core.Entry) core.EncodedMembership {
	data := binary.BigEndian.AppendUint64(nil, uint64(entry.Op))
	data = binary.BigEndian.AppendUint64(data, uint64(entry.View)+1)
	data = binary.BigEndian.AppendUint64(data, uint64(entry.Hash))
	return core.EncodedMembership(append(data, entry.Payload...))
}

// epochOf is the epoch of a membership's bytes.
func epochOf(record core.EncodedMembership) core.EpochNumber {
	if len(record) < 33 {
		return 0
	}
	epoch := uint64(0)
	for i := 25; i < 33; i++ {
		epoch = epoch<<8 | uint64(record[i])
	}
	return core.EpochNumber(epoch)
}

// epochAt is the epoch that an op-number belongs to; a RECONFIGURATION is the last of its own.
func (c *checks) epochAt(op core.OpNumber) *epochRecord {
	at := len(c.epochs) - 1
	for c.epochs[at].op >= op && at > 0 {
		at--
	}
	return &c.epochs[at]
}

// newest is the last epoch that has begun.
func (c *checks) newest() *epochRecord { return &c.epochs[len(c.epochs)-1] }

// begins checks a RECONFIGURATION that is applied for the first time.
func (c *checks) begins(h *host, entry *core.Entry) {
	m, err := recordOf(entry).Decode()
	before := c.newest()
	if err != nil || m.Epoch != before.epoch+1 || entry.Op <= before.op || !slices.Equal(m.Previous, before.members) {
		c.s.violated(claimEpochs, "r%d applies %d, a RECONFIGURATION into epoch %d after epoch %d: %+v, %v", h.id, entry.Op, m.Epoch, before.epoch, m, err)
		return
	}
	for _, id := range m.IDs() {
		if !slices.Contains(before.members, id) && slices.ContainsFunc(c.epochs, func(e epochRecord) bool { return slices.Contains(e.members, id) }) {
			c.s.violated(claimEpochs, "r%d is a member again in epoch %d", id, m.Epoch)
		}
	}
	for i := range c.pending {
		if p := &c.pending[i]; p.op == entry.Op && (p.over && p.hash == entry.Hash || p.done && p.hash != entry.Hash) {
			c.s.violated(claimEpochs, "epoch %d begins at %d, where one was said to be overtaken, or another done", m.Epoch, entry.Op)
		}
	}
	for _, member := range m.Members {
		if at := slices.Index(before.members, member.ID); at >= 0 && before.lives[at] > member.Incarnation || c.s.hosts[member.ID-1].lives < member.Incarnation {
			c.s.violated(claimLives, "epoch %d has r%d in life %d, after %v in lives %v", m.Epoch, member.ID, member.Incarnation, before.members, before.lives)
		}
	}
	c.s.covered.count(EventEpoch)
	c.epochs = append(c.epochs, epochRecord{epoch: m.Epoch, op: entry.Op, members: m.IDs(), lives: lives(m.Members), record: recordOf(entry)})
}

// reconfigurationEnded checks what a replica says of its own proposal.
func (c *checks) reconfigurationEnded(h *host, ended *core.Reconfiguration) {
	c.s.trace(h, "its reconfiguration into epoch %d is %v", ended.Epoch, ended.Outcome)
	p := &c.pending[h.reconfigures-1]
	committed := int(p.op) <= len(c.committed) && c.committed[p.op-1].hash == p.hash
	switch ended.Outcome {
	case core.ReconfigurationDone:
		c.s.covered.count(EventReconfigurationDone)
		// It may be applied a little later, behind proposals that were dropped.
		if p.done = true; !committed && int(p.op) <= len(c.committed) {
			c.s.violated(claimEpochs, "r%d says that epoch %d has begun at %d", h.id, ended.Epoch, p.op)
		}
	case core.ReconfigurationOvertaken:
		c.s.covered.count(EventReconfigurationOvertaken)
		if p.over = true; committed {
			c.s.violated(claimEpochs, "r%d says that epoch %d never begins, and it has at %d", h.id, ended.Epoch, p.op)
		}
	default:
		c.s.covered.count(EventReconfigurationUnknown)
	}
}

// started reports whether a quorum of the newest epoch has entered it, for good.
func (c *checks) started() bool {
	newest, count := c.newest(), 0
	for _, h := range c.s.hosts {
		if newest.has(h) && epochOf(h.disk.promised().Membership) >= newest.epoch {
			count++
		}
	}
	return count >= newest.quorum()
}

// groups are the memberships that have to have a quorum for the group to go on: the newest, the one before while it
// may be needed, and all that may still begin.
func (c *checks) groups() []epochRecord {
	groups := []epochRecord{*c.newest()}
	if len(c.epochs) > 1 && !c.started() {
		groups = append(groups, c.epochs[len(c.epochs)-2])
	}
	for _, p := range c.pending {
		if int(p.op) > len(c.committed) && !p.over && p.epoch > c.newest().epoch {
			groups = append(groups, epochRecord{epoch: p.epoch, members: p.members, lives: p.lives})
		}
	}
	return groups
}

// coverEpoch counts how a replica came into an epoch.
func (s *simulation) coverEpoch(h *host, m *core.Membership) {
	s.trace(h, "is in epoch %d from %d on, members %v", m.Epoch, m.Op, m.IDs())
	s.countIf(m.Epoch > h.entered+1 && !h.joins, EventEnteredOverTwo)
	h.entered = m.Epoch
}

// coverEntry counts by what a message brought a replica into an epoch.
func (s *simulation) coverEntry(h *host, before, now core.Standing, kind core.Kind) {
	if now.Epoch == before.Epoch {
		return
	}
	s.countIf(before.Status == core.StatusTransitioning && now.Status == core.StatusNormal, EventEnteredAsNewcomer)
	s.countIf(before.Status == core.StatusTransitioning && now.Status == core.StatusNormal && h.life > 0, EventEnteredInLaterLife)
	s.countIf(before.Status == core.StatusTransitioning && now.Status == core.StatusNormal && h.witness, EventEnteredAsWitness)
	s.countIf(before.Status == core.StatusRecovering, EventEnteredRecovering)
	switch kind {
	case core.KindNewCommitted:
		s.countIf(before.Status != core.StatusTransitioning, EventEnteredByLearning)
	default:
		s.covered.count(EventEnteredByCommit)
	}
}
