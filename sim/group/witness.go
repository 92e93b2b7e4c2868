package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// witnessMixture is how often a group has a witness. It has a stream of its own.
type witnessMixture struct {
	first bool // the last member of a first epoch of 2 to 4 is one
	join  int  // newcomers that are one, of a thousand
}

// witnessedMax is the largest group with a witness.
const witnessedMax = 4

func drawWitnesses(seed uint64, members int) witnessMixture {
	s := newStream(seed, streamWitnesses)
	m := witnessMixture{first: s.chance(350), join: sometimes(&s, 100, 600)}
	m.first = m.first && members >= 2 && members <= witnessedMax
	if !m.first && members > witnessedMax {
		m.join = 0
	}
	return m
}

// firstWitness is the witness of the first epoch; 0: it has none.
func (s *simulation) firstWitness() core.ReplicaID {
	if !s.mixture.witnesses.first {
		return 0
	}
	return core.ReplicaID(s.mixture.members)
}

// createBase lets a witness that has nothing to make a checkpoint of go on from the least checkpoint of the others.
func (s *simulation) createBase(h *host) {
	meta, ok := h.replica.WitnessBase()
	if !ok || h.creating || meta.Op < h.disk.checkpoint.meta.Op+s.mixture.limits.checkpointEvery {
		return
	}
	s.covered.count(EventWitnessGoesOn)
	s.checks.witnessed(h, meta.Op)
	h.creating = true
	number := s.keep(shipment{from: h.number, to: h.number, checkpoint: checkpoint{meta: meta}})
	s.after(s.diskRandom.span(0, momentsPerTick), eventCheckpointCreated, h, number)
}

// takeBase is what a witness does instead of fetching a checkpoint: it needs no more of it than its place in the log.
func (s *simulation) takeBase(h *host, wanted *core.FetchCheckpoint) {
	s.covered.count(EventWitnessBegins)
	h.fetching = true
	number := s.keep(shipment{from: int(wanted.From - 1), to: h.number, checkpoint: checkpoint{meta: wanted.Meta}, life: h.incarnation})
	s.enqueue(h, input{kind: inputInstalled, transfer: number, to: wanted.From})
}

// witnessed checks what a witness leaves out of its log: of the active members of an epoch so many have all of that in
// their own storage that one is in every quorum. It may be behind, so that any epoch since will do, its own or not. So does
// the one before, as long as those are there that the epoch leaves behind: they go when it has begun on as many.
func (c *checks) witnessed(h *host, op core.OpNumber) {
	if c.s.options.OutcomesOnly || h.replica.Standing().Status == core.StatusTransitioning {
		return // one that is no member yet has promised nothing
	}
	first := int(c.epochAt(op + 1).epoch)
	if !slices.ContainsFunc(c.epochs[first:], func(group epochRecord) bool { return group.has(h) }) {
		return
	}
	for i := max(first-1, 0); i < len(c.epochs); i++ {
		if group := &c.epochs[i]; c.below(group, op) > len(group.members)-group.quorum() {
			return
		}
	}
	c.s.violated(claimWitness, "r%d goes on from %d, and too few active members have what is below", h.id, op)
}

// below counts the active members of a group that have everything up to an op-number, or may have had it, and have not
// gone.
func (c *checks) below(group *epochRecord, op core.OpNumber) int {
	have := 0
	for _, h := range c.s.hosts {
		left := h.gone || h.status.Status == core.StatusLeft // in the life that it is in
		if !h.witness && (!left && group.has(h) && (h.lossy || h.disk.durableTo() >= op) || group.lacks(h)) {
			have++
		}
	}
	return have
}

// sensible reports whether these can be the members of a group, as far as witnesses go. Nobody is asked for anything else,
// but in odd draws.
func (s *simulation) sensible(members []core.Member) bool {
	witnesses := 0
	for _, member := range members {
		if member.Witness {
			witnesses++
		}
	}
	return witnesses == 0 || witnesses == 1 && len(members) > 1 && len(members) <= witnessedMax
}

// trim leaves members out until it is a group with one witness or none, an even or odd one: those who come first.
func (s *simulation) trim(members, come []core.ReplicaID) []core.ReplicaID {
	leave := func(of []core.ReplicaID, which func(h *host) bool) int {
		return slices.IndexFunc(of, func(id core.ReplicaID) bool { return which(s.hosts[id-1]) })
	}
	kept := slices.Clone(members)
	for range members {
		var asked []core.Member
		for _, id := range kept {
			asked = append(asked, core.Member{ID: id, Witness: s.hosts[id-1].witness})
		}
		if s.sensible(asked) {
			return kept
		}
		at := leave(kept, func(h *host) bool { return slices.Contains(come, h.id) })
		if at < 0 {
			at = leave(kept, func(h *host) bool { return h.witness })
		}
		kept = slices.Delete(kept, at, at+1)
	}
	return kept
}

// coverWitness counts operations that are committed on fewer active members than a quorum.
func (c *checks) coverWitness(entry *core.Entry) {
	group, have, witness := c.epochAt(entry.Op), 0, false
	for _, h := range c.s.hosts {
		witness = witness || h.witness && group.has(h)
		if !h.witness && group.has(h) && h.disk.holds(entry.Op, entry.Hash) {
			have++
		}
	}
	c.s.countIf(witness && have < group.quorum(), EventWitnessDecides)
}

// withState are those of some hosts that are no witnesses.
func withState(hosts []*host) []*host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h *host) bool { return h.witness })
}

// mayLeave reports whether so many active members of the newest epoch are healed that those before them may leave.
func (s *simulation) mayLeave() bool {
	newest, active := s.checks.newest(), 0
	for _, id := range newest.members {
		if !s.hosts[id-1].witness {
			active++
		}
	}
	return len(withState(s.present())) >= min(newest.quorum(), active)
}

// unbegun reports whether a crash or a damaged disk may have taken what a newcomer has learnt that owes it to its group.
func (s *simulation) unbegun(group *epochRecord, h *host) bool { return h.bereft && s.owes(group, h) }

// owes reports whether a newcomer to a group with a witness is not in its epoch yet: without a state of its own the witness
// cannot teach it again, so that it counts among the f when it loses what it has learnt.
func (s *simulation) owes(group *epochRecord, h *host) bool {
	if group.epoch == 0 || h.witness || !group.has(h) {
		return false
	}
	witness := slices.ContainsFunc(group.members, func(id core.ReplicaID) bool { return s.hosts[id-1].witness })
	before := s.checks.epochs[min(int(group.epoch), len(s.checks.epochs))-1]
	return witness && !before.has(h) && epochOf(h.disk.promised().Membership) < group.epoch
}
