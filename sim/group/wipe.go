package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// wipeMixture is how often a replica loses its disk while it is down, or is given an old copy of it. It has a stream of its
// own. The simulator's operator notices, and brings the replica back as a later life of its id, by a reconfiguration.
type wipeMixture struct {
	restart int // restarts after which the disk is another, of those that the group is to survive
	old     int // of them, those with an old copy of the disk; the others are empty
	copies  int // copies that are made of somebody's disk, a tick
	// Of a thousand: kept are disks that were not lost after all, and swap the restarts at which somebody starts that life of
	// the replica again, at its address, or the other one.
	kept, swap int
}

// lifeState is what belongs to one life of a replica.
type lifeState struct {
	// life is the incarnation by which memberships tell it.
	life uint64
	disk disk
	// lossy: it may lack what it acknowledged, until it has recovered; lostIn is the epoch it was in when it lost it.
	lossy  bool
	lostIn core.EpochNumber
	// spoiled: its disk was damaged or lost, in this life or before it.
	spoiled bool
	// bereft: since it was ready to become a member it may have lost what it had learnt.
	bereft bool
	// joins: it was started as a newcomer, and told these members.
	joins bool
	told  []core.ReplicaID
}

func drawWipes(seed uint64) wipeMixture {
	s := newStream(seed, streamWipes)
	return wipeMixture{restart: sometimes(&s, 50, 600), old: s.between(0, 700), copies: s.between(20, 200), kept: s.between(0, 500), swap: s.between(100, 600)}
}

// strikeDisks copies somebody's disk, now and then.
func (s *simulation) strikeDisks() {
	if s.mixture.wipes.restart == 0 || s.mixture.reconfiguration.rate == 0 {
		return
	}
	r := &s.wipeRandom
	if h := s.hosts[r.below(len(s.hosts))]; r.chance(s.mixture.wipes.copies) && h.disk.used {
		kept := h.disk.durable().clone(nil)
		h.copy = &kept
	}
}

// durable is what a crash leaves for certain.
func (d *disk) durable() *image {
	if d.durability == core.DurabilitySync {
		return &d.image
	}
	return &d.left
}

// wipe gives a replica that starts again another disk, now and then, and a later life with it.
func (s *simulation) wipe(h *host) {
	rates, r := &s.mixture.wipes, &s.wipeRandom
	if s.mixture.reconfiguration.rate == 0 || s.swapLives(h) || !r.chance(rates.restart) || !s.mayRun(h, h.lives+1, false) {
		return
	}
	disk, kept := disk{durability: h.disk.durability, inspect: h.disk.inspect}, h.lifeState
	if h.other = nil; r.chance(rates.kept) {
		h.other = &kept
	}
	if old := h.copy; old != nil && r.chance(rates.old) {
		s.covered.count(EventDiskRolledBack)
		disk.used, disk.image, disk.left = true, old.clone(nil), old.clone(nil)
	} else {
		s.covered.count(EventDiskWiped)
	}
	h.lives++
	h.lifeState = lifeState{life: h.lives, disk: disk, spoiled: true, joins: true, told: s.someMembers(h)}
	h.entered = 0
	s.trace(h, "has lost its disk, and comes back as life %d with %d on it", h.life, h.disk.durableTo())
}

// swapLives starts the other life of a replica of which there are two, now and then, and reports whether it has.
func (s *simulation) swapLives(h *host) bool {
	if h.other == nil || !s.wipeRandom.chance(s.mixture.wipes.swap) || !s.mayRun(h, h.other.life, h.other.lossy) {
		return false
	}
	s.countIf(h.other.life < h.life, EventEarlierLifeStarted)
	s.trace(h, "is started as life %d, in the place of life %d", h.other.life, h.life)
	h.lifeState, *h.other = *h.other, h.lifeState
	h.entered = 0
	return true
}

// mayRun reports whether every group is to survive that this replica runs in a life, which may have lost something, and in
// no other.
func (s *simulation) mayRun(h *host, life uint64, lossy bool) bool {
	for _, group := range s.checks.groups() {
		at := slices.Index(group.members, h.id)
		if at >= 0 && (group.lives[at] != life || lossy) && s.lossyOf(&group, h) >= (len(group.members)-1)/2 {
			return false
		}
	}
	return true
}

// someMembers are those of an epoch that another replica is in, whom one that comes back may ask.
func (s *simulation) someMembers(h *host) []core.ReplicaID {
	tells := s.hosts[s.wipeRandom.below(len(s.hosts))]
	others := slices.Clone(tells.status.Members)
	if others = slices.DeleteFunc(others, func(id core.ReplicaID) bool { return id == h.id }); len(others) > 0 {
		return others
	}
	return slices.DeleteFunc(slices.Clone(s.checks.newest().members), func(id core.ReplicaID) bool { return id == h.id })
}

// comeBack are the members that learn in a later life, where the next change is to be about them alone.
func (s *simulation) comeBack(h *host) []core.ReplicaID {
	var back []core.ReplicaID
	for _, other := range s.joining() {
		if other.life > 0 && slices.Contains(h.status.Members, other.id) {
			back = append(back, other.id)
		}
	}
	if len(back) > 0 && s.wipeRandom.chance(800) {
		return back
	}
	return nil
}

// livesOf gives each id the life that a member of the next epoch is to be in: one that comes is in its host's, and one that
// stays keeps its own. Where the members are drawn without sense, so are the lives.
func (s *simulation) livesOf(h *host, ids, come []core.ReplicaID, odd bool) []core.Member {
	own := h.replica.Membership()
	members := make([]core.Member, len(ids))
	for i, id := range ids {
		is, found := own.Member(id)
		members[i] = core.Member{ID: id, Incarnation: is.Incarnation, Witness: s.hosts[id-1].witness}
		if !found || slices.Contains(come, id) || odd && s.hosts[id-1].life != is.Incarnation && s.wipeRandom.chance(500) {
			members[i].Incarnation = s.hosts[id-1].life
		}
	}
	return members
}

// hopeless reports whether more of these members than a group survives are lives that do not run. No operator asks for
// that, and nothing forbids it while the replicas were heard a moment ago.
func (s *simulation) hopeless(members []core.Member) bool {
	over := 0
	for _, member := range members {
		if s.hosts[member.ID-1].life != member.Incarnation {
			over++
		}
	}
	return over > 0 && over > (len(members)-1)/2
}

// lives are the members' incarnations.
func lives(members []core.Member) []uint64 {
	found := make([]uint64, len(members))
	for i := range members {
		found[i] = members[i].Incarnation
	}
	return found
}

// raised counts the members that come back in a later life.
func (e *epochRecord) raised(next []core.Member) int {
	count := 0
	for _, member := range next {
		if at := slices.Index(e.members, member.ID); at >= 0 && e.lives[at] < member.Incarnation {
			count++
		}
	}
	return count
}

// has reports whether a replica is a member, in the life that it is in.
func (e *epochRecord) has(h *host) bool {
	at := slices.Index(e.members, h.id)
	return at >= 0 && e.lives[at] == h.life
}

// lacks reports whether the member of this id is another life of the replica than the one that it is in.
func (e *epochRecord) lacks(h *host) bool {
	at := slices.Index(e.members, h.id)
	return at >= 0 && e.lives[at] != h.life
}

// holds reports whether the member of this id has an entry on its disk. One that lost something, or everything, may have had
// it, and takes no part before it has it again.
func (e *epochRecord) holds(h *host, op core.OpNumber, hash core.Hash) bool {
	at := slices.Index(e.members, h.id)
	switch {
	case at < 0:
		return false
	case e.lives[at] == h.life:
		return h.lossy || h.disk.holds(op, hash)
	case h.other != nil && h.other.life == e.lives[at]:
		return h.other.lossy || h.other.disk.holds(op, hash)
	default:
		return true
	}
}

// speaks checks that a message which promises something is of a life that its epoch names.
func (c *checks) speaks(h *host, m *core.Message) {
	if int(m.Epoch) >= len(c.epochs) {
		return // nobody has applied its beginning yet
	}
	if epoch := &c.epochs[m.Epoch]; m.Incarnation != h.life || !epoch.has(h) {
		c.s.violated(claimLives, "r%d sends %s in life %d; epoch %d is of %v in lives %v", h.id, describe(m), h.life, m.Epoch, epoch.members, epoch.lives)
	}
}
