package group

import "github.com/viewline/viewline/replication/vr/core"

// damageMixture is how often a disk has gone bad while its replica was down. It has a stream of its own.
type damageMixture struct {
	restart    int // restarts that find damage, of those that the group is to survive
	checkpoint int // of them, those in which the checkpoint is damaged
	both       int // of them, those in which entries are too
}

func drawDamage(seed uint64) damageMixture {
	s := newStream(seed, streamDamage)
	return damageMixture{restart: sometimes(&s, 50, 500), checkpoint: s.between(0, 600), both: s.between(0, 300)}
}

// damage is what of an image does not verify. It is found at each start, until the log is replaced.
type damage struct {
	// entryFrom is the first entry that is damaged, 0: none. What is above does not join what is below.
	entryFrom core.OpNumber
	// checkpointAt is of what the damaged checkpoint was, 0: it is sound.
	checkpointAt core.OpNumber
}

// spoil damages the disk of a replica that starts again, now and then, where the group has to survive it: who is
// damaged counts as one that may have lost what it acknowledged, and f of them may be at a time.
func (s *simulation) spoil(h *host) {
	s.countIf(h.disk.damage != damage{}, EventRestartBeforeRepair)
	rates, r := &s.mixture.damage, &s.damageRandom
	if !r.chance(rates.restart) || !s.mayDamage(h) {
		return
	}
	before := h.disk.damage
	checkpointToo := r.chance(rates.checkpoint)
	if checkpointToo && h.disk.checkpoint.meta.Op > 0 {
		h.disk.checkpointAt = max(h.disk.checkpointAt, h.disk.checkpoint.meta.Op)
		s.covered.count(EventCheckpointSpoiled)
	}
	if entries := h.disk.entries; len(entries) > 0 && (!checkpointToo || r.chance(rates.both)) {
		h.disk.entryFrom = entries[r.below(len(entries))].Op
		s.covered.count(EventEntriesSpoiled)
	}
	if h.disk.damage == before {
		return
	}
	if s.mixture.durability != core.DurabilitySync {
		h.disk.left = h.disk.clone(h.disk.left.entries) // at a start they are the same
	}
	h.spoiled, h.bereft, h.lossy, h.lostIn = true, true, true, epochOf(h.disk.promised().Membership)
	s.trace(h, "finds entry %d and checkpoint %d damaged", h.disk.entryFrom, h.disk.checkpointAt)
}

// mayDamage reports whether the group is to survive that this replica's disk is damaged.
func (s *simulation) mayDamage(h *host) bool {
	beyond := s.options.BeyondF && len(s.hosts) > 1 && s.mixture.durability != core.DurabilitySync
	for _, group := range s.checks.groups() {
		if group.has(h) && s.lossyOf(&group, h) >= (len(group.members)-1)/2 {
			return beyond
		}
	}
	return true
}

// install makes a checkpoint the newest. A damaged one of a later operation stays beside it.
func (d *image) install(c checkpoint) {
	d.checkpoint = c
	if c.meta.Op >= d.checkpointAt {
		d.checkpointAt = 0
	}
}

// sound is what a start finds: the entries below the damage, and above a damaged checkpoint none, since there is no
// state for them.
func (d *image) sound() (entries []core.Entry, damaged bool) {
	damaged = d.damage != damage{}
	if d.checkpointAt > 0 {
		d.checkpoint = checkpoint{}
	}
	entries = d.entries
	for d.entryFrom > 0 && len(entries) > 0 && entries[len(entries)-1].Op >= d.entryFrom {
		entries = entries[:len(entries)-1]
	}
	if len(entries) > 0 && entries[0].Op > d.checkpoint.meta.Op+1 {
		return nil, true
	}
	return entries, damaged
}
