package group

import (
	"errors"

	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// shipment is a checkpoint on its way: from a machine to its own disk in one piece, or, chunk by chunk, from one replica to
// another, as far as one attempt to fetch it comes.
type shipment struct {
	from, to   int
	checkpoint checkpoint

	// life is the incarnation of the replica that wants it, served that of the one which gives it.
	life, served uint32
	request      transfer.Request
	parcel       *parcel
	// before is how many chunks were there when the attempt began, next the one that comes next.
	before, next uint64
	held         uint64 // its number among those that are held; 0: not yet, or not any more
	gone         bool   // who was asked has it no more
}

func (s *simulation) keep(t shipment) int {
	s.transfers = append(s.transfers, t)
	return len(s.transfers) - 1
}

// createCheckpoint starts to write a checkpoint of the machine as it is now, beside everything else.
func (s *simulation) createCheckpoint(h *host) {
	if h.creating || h.machine.applied < h.disk.checkpoint.meta.Op+s.mixture.limits.checkpointEvery {
		return
	}
	h.creating = true
	number := s.keep(shipment{from: h.number, to: h.number, checkpoint: h.machine.checkpoint()})
	delay := s.diskRandom.span(0, 2*momentsPerTick)
	if s.diskRandom.chance(s.mixture.disk.slow) {
		delay += s.diskRandom.span(0, 4*s.mixture.disk.slowMax)
	}
	s.after(delay, eventCheckpointCreated, h, number)
}

// checkpointCreated: it is durable. One that was fetched meanwhile may be newer; then this one is dropped.
func (s *simulation) checkpointCreated(h *host, number int) {
	h.creating = false
	created := s.transfers[number].checkpoint
	if created.meta.Op <= h.disk.checkpoint.meta.Op {
		return
	}
	s.covered.count(EventCheckpointCreated)
	s.trace(h, "checkpoint %d is durable", created.meta.Op)
	h.disk.install(created)
	s.enqueue(h, input{kind: inputCreated, transfer: number})
}

// fetchTicksMax is after how long an attempt is given up when the other side says nothing.
const fetchTicksMax = 20

// fetchCheckpoint asks another replica for its newest checkpoint, or goes on with what is on the disk of one.
func (s *simulation) fetchCheckpoint(h *host, wanted *core.FetchCheckpoint) {
	s.covered.count(EventCheckpointWanted)
	s.trace(h, "fetches checkpoint %d from r%d", wanted.Meta.Op, wanted.From)
	if h.fetching || wanted.From == h.id || wanted.From < 1 || int(wanted.From) > len(s.hosts) {
		s.violated(claimReady, "r%d fetches a checkpoint from r%d, fetching %v", h.id, wanted.From, h.fetching)
		return
	}
	h.fetching = true
	h.fetch = transfer.NewFetch(*wanted, h.replica.Sources(), s.options.OmitTransfer)
	if part := &h.disk.part; part.here && h.fetch.GoOn(part.identity, h.machine.applied) {
		s.verifyPart(h)
		s.countIf(part.life != h.incarnation, EventTransferAfterRestart)
		part.life = h.incarnation
	}
	s.attempt(h)
}

// attempt asks for what is missing.
func (s *simulation) attempt(h *host) {
	request := h.fetch.Request()
	t := shipment{from: int(request.To - 1), to: h.number, life: h.incarnation, request: request}
	if request.Resume {
		t.before = h.disk.part.received().Chunks
		t.next = t.before
		s.trace(h, "goes on at chunk %d with r%d", t.next, request.To)
	}
	h.attempt = s.keep(t)
	if s.transferLost(h.number, t.from) {
		s.transferFails(h.attempt)
		return
	}
	s.events.push(event{at: s.now + s.transferRandom.span(1, momentsPerTick), kind: eventServeCheckpoint, argument: h.attempt})
}

func (s *simulation) transferLost(from, to int) bool {
	lost := s.transferRandom.chance(s.mixture.fault.transferLoss)
	return lost || s.network.isBlocked(from, to)
}

// transferFails tells the replica that wants a checkpoint, after a while, that it does not come.
func (s *simulation) transferFails(number int) {
	s.covered.count(EventTransferLost)
	s.failAfter(number, s.transferRandom.span(1, fetchTicksMax)*momentsPerTick)
}

func (s *simulation) failAfter(number int, delay instant) {
	t := &s.transfers[number]
	s.events.push(event{at: s.now + delay, kind: eventCheckpointFailed, replica: t.to, incarnation: t.life, argument: number})
}

// missed is the end of an attempt; what follows is the fetch's to say.
func (s *simulation) missed(h *host, number int) {
	t := &s.transfers[number]
	s.stopServing(t)
	here := uint64(0)
	if _, known := h.fetch.Identity(); known {
		here = h.disk.part.received().Chunks
	}
	switch h.fetch.Missed(t.gone, t.before, here) {
	case transfer.NextAgain:
		s.after(s.chunkRandom.span(1, momentsPerTick*instant(s.mixture.limits.config.ResendTicks)), eventFetchAgain, h, 0)
	case transfer.NextElsewhere:
		s.attempt(h)
	case transfer.NextAnew:
		s.covered.count(EventTransferAnew)
		h.disk.part = part{}
		s.attempt(h)
	case transfer.NextGiveUp:
		s.trace(h, "checkpoint does not come")
		h.fetch = nil
		s.enqueue(h, input{kind: inputFetchFailed})
	}
}

// chunkArrived: the next chunk of an attempt is here, with the first one what it is of.
func (s *simulation) chunkArrived(h *host, number int) {
	t := &s.transfers[number]
	if t.next == t.before {
		begins, err := h.fetch.Agree(t.parcel.identity, t.parcel.bytes())
		if err != nil {
			s.trace(h, "refuses a checkpoint: %v", err)
			s.missed(h, number)
			return
		}
		if begins {
			h.disk.part = part{here: true, identity: t.parcel.identity, life: h.incarnation, from: t.request.To}
		}
		s.coverResumed(h, t)
	}
	if t.next < uint64(len(t.parcel.chunks)) {
		if err := s.takeChunk(h, s.onTheWay(t.parcel.chunks[t.next])); err != nil {
			s.trace(h, "refuses chunk %d: %v", t.next, err)
			s.missed(h, number)
			return
		}
		t.next++
	}
	if t.next < uint64(len(t.parcel.chunks)) {
		s.sendChunk(number)
		return
	}
	s.lastChunk(h, number)
}

// takeChunk verifies a chunk and writes it. A part of what is written is synced.
func (s *simulation) takeChunk(h *host, chunk transfer.Chunk) error {
	p := &h.disk.part
	received := p.received()
	if err := errors.Join(h.fetch.More(received.Bytes), received.Check(chunk, s.options.OmitTransfer)); err != nil {
		s.covered.count(EventChunkRefused)
		return err
	}
	s.covered.count(EventChunkTaken)
	p.chunks = append(p.chunks, chunk)
	if s.mixture.chunks.syncEvery > 0 && len(p.chunks)%s.mixture.chunks.syncEvery == 0 {
		p.synced = len(p.chunks)
	}
	return nil
}

// lastChunk: everything is here, or something else than what was to come.
func (s *simulation) lastChunk(h *host, number int) {
	t, p := &s.transfers[number], &h.disk.part
	if err := h.fetch.End(p.received().Bytes); err != nil {
		s.missed(h, number)
		return
	}
	s.stopServing(t)
	from := h.fetch.From()
	h.fetch = nil
	if err := p.received().Whole(&p.identity, transfer.DigestOf(p.checksums()), s.options.OmitTransfer); err != nil {
		s.trace(h, "drops a checkpoint: %v", err)
		h.disk.part = part{}
		s.enqueue(h, input{kind: inputFetchFailed})
		return
	}
	t.checkpoint = checkpoint{meta: p.identity.Meta, state: p.state()}
	s.enqueue(h, input{kind: inputInstalled, transfer: number, to: from})
}

// installCheckpoint makes a fetched checkpoint durable, restores it, and tells the replica. The process may
// die when the checkpoint is durable and the replica does not know.
func (s *simulation) installCheckpoint(h *host, in *input) {
	c := s.transfers[in.transfer].checkpoint
	h.fetching = false
	s.covered.count(EventTransferDone)
	s.trace(h, "installs checkpoint %d", c.meta.Op)
	if h.machine.applied >= c.meta.Op || h.witness && h.replica.Status().Applied >= c.meta.Op {
		h.replica.CheckpointFailed()
		return
	}
	s.checks.installs(h, c)
	if h.witness {
		s.checks.witnessed(h, c.meta.Op)
	}
	h.disk.install(c)
	if s.faultRandom.chance(4*s.mixture.fault.crashAtStep) && s.crash(h, true) {
		s.covered.count(EventCrashAfterInstall)
		return
	}
	h.installed = true
	h.machine.restore(c)
	before := h.replica.Standing()
	h.replica.GoOnFrom(in.to)
	h.replica.CheckpointInstalled(c.meta)
	s.countIf(h.replica.Standing().Epoch > before.Epoch, EventEnteredByCheckpoint)
}
