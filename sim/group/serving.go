package group

import (
	"errors"

	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// serveCheckpoint is the moment in which the other side opens its checkpoint: the newest, whatever it is by now, or the one
// that is to be gone on with.
func (s *simulation) serveCheckpoint(number int) {
	t := &s.transfers[number]
	server := s.hosts[t.from]
	if !server.running() || server.paused || s.transferLost(t.from, t.to) {
		s.transferFails(number)
		return
	}
	t.served = server.incarnation
	if t.request.Resume {
		if t.held = server.holding.Resume(t.request.Identity); t.held > 0 {
			s.beginServing(server, number, server.held[t.held])
			return
		}
	}
	newest := s.parcelOf(server, server.disk.checkpoint)
	switch err := server.holding.Answers(&t.request, &newest.identity); {
	case server.disk.checkpoint.meta.Op == 0 && t.request.Resume:
		s.refuse(number, false)
	case errors.Is(err, transfer.ErrGone):
		s.refuse(number, true)
	case err != nil && (server.inMemory() || server.spoiled || server.other != nil):
		s.transferFails(number) // it has named it, and lost it since, or another life of it has named it
	case err != nil:
		s.violated(claimReady, "r%d is asked for checkpoint %d, which it named, and has %d",
			server.id, t.request.AtLeast, server.disk.checkpoint.meta.Op)
	default:
		s.hold(server, number, newest)
	}
}

// hold makes a checkpoint one that is held for whoever fetches it.
func (s *simulation) hold(server *host, number int, newest *parcel) {
	held, release, again, err := server.holding.Add(newest.identity)
	if release > 0 {
		s.covered.count(EventHeldReleased)
		delete(server.held, release)
	}
	switch {
	case err != nil:
		s.covered.count(EventHoldingBusy)
		s.refuse(number, false)
		return
	case again:
		newest = server.held[held]
	default:
		server.held[held] = newest
	}
	s.transfers[number].held = held
	s.beginServing(server, number, newest)
}

// beginServing sends the first chunk.
func (s *simulation) beginServing(server *host, number int, p *parcel) {
	t := &s.transfers[number]
	t.parcel = p
	s.trace(server, "gives chunk %d of checkpoint %d to r%d", t.next, p.identity.Meta.Op, t.to+1)
	s.chunkLeaves(number, s.transferRandom.span(1, 6*momentsPerTick))
}

// sendChunk sends the next chunk, if the way and the checkpoint are still there.
func (s *simulation) sendChunk(number int) {
	t := &s.transfers[number]
	server := s.hosts[t.from]
	lost := s.chunkRandom.chance(s.mixture.fault.transferLoss/4) || s.network.isBlocked(t.from, t.to)
	switch {
	case !server.running() || server.incarnation != t.served || server.paused || lost:
		s.transferFails(number)
	case !server.holding.Holds(t.held):
		s.refuse(number, true)
	default:
		s.chunkLeaves(number, s.chunkRandom.span(1, s.mixture.chunks.everyMax))
	}
}

func (s *simulation) chunkLeaves(number int, takes instant) {
	t := &s.transfers[number]
	s.events.push(event{at: s.now + takes, kind: eventCheckpointArrived, replica: t.to, incarnation: t.life, argument: number})
}

// refuse answers that there is no such checkpoint, or no place to hold one.
func (s *simulation) refuse(number int, gone bool) {
	s.countIf(gone, EventCheckpointGone)
	s.transfers[number].gone = gone
	s.failAfter(number, s.chunkRandom.span(1, momentsPerTick))
}

// stopServing is what the end of an attempt is for who serves it.
func (s *simulation) stopServing(t *shipment) {
	server, held := s.hosts[t.from], t.held
	t.held = 0
	if held == 0 || !server.running() || server.incarnation != t.served || !server.holding.Leave(held) {
		return
	}
	if s.mixture.chunks.holdTimeout == 0 {
		s.expire(server, held)
		return
	}
	server.held[held].idle = s.now
	s.after(s.mixture.chunks.holdTimeout, eventHoldExpires, server, int(held))
}

// holdExpires: a while ago there was nobody any more who read a checkpoint.
func (s *simulation) holdExpires(server *host, held uint64) {
	if p := server.held[held]; p != nil && s.now-p.idle >= s.mixture.chunks.holdTimeout {
		s.expire(server, held)
	}
}

func (s *simulation) expire(server *host, held uint64) {
	if server.holding.Expire(held) {
		s.countIf(s.mixture.chunks.holdTimeout > 0, EventHeldExpired)
		delete(server.held, held)
	}
}

// created tells a replica of its own checkpoint, and above which of those that it holds for others the log is kept.
func (s *simulation) created(h *host, meta core.CheckpointMeta) {
	least, released := h.holding.Replaced(meta.Op)
	for _, number := range released {
		s.covered.count(EventHeldReleased)
		delete(h.held, number)
	}
	s.countIf(least > 0 && least < meta.Op, EventLogHeld)
	kept := h.replica.Status().FirstRetained
	h.replica.RetainAbove(least)
	h.replica.CheckpointCreated(meta)
	s.checks.keepsHeld(h, kept)
}

// keepsHeld checks that a checkpoint of its own has taken nothing from a replica's log that those need who fetch one that
// it holds.
func (c *checks) keepsHeld(h *host, before core.OpNumber) {
	first, lost := h.replica.Status().FirstRetained, core.OpNumber(0)
	for _, p := range h.held {
		if above := p.identity.Meta.Op; before <= above+1 && first > above+1 {
			lost = max(lost, above)
		}
	}
	if lost > 0 && !c.s.options.OutcomesOnly {
		c.s.violated(claimHeld, "r%d keeps its log from %d on, and holds checkpoint %d for others", h.id, first, lost)
	}
}

// coverResumed counts an attempt that goes on with what is here.
func (s *simulation) coverResumed(h *host, t *shipment) {
	if t.before == 0 {
		return
	}
	first := t.request.To == h.disk.part.from
	s.countIf(first, EventTransferGoesOn)
	s.countIf(!first, EventTransferElsewhere)
	h.disk.part.from = t.request.To
}
