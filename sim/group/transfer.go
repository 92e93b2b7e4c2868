package group

import "github.com/viewline/viewline/replication/vr/core"

// transfer is a whole checkpoint on its way from one replica to another, or from a machine to its own disk.
type transfer struct {
	from, to int
	// life is the incarnation of the replica that wants it.
	life       uint32
	atLeast    core.OpNumber
	checkpoint checkpoint
}

func (s *simulation) keep(t transfer) int {
	s.transfers = append(s.transfers, t)
	return len(s.transfers) - 1
}

// createCheckpoint starts to write a checkpoint of the machine as it is now, beside everything else.
func (s *simulation) createCheckpoint(h *host) {
	if h.creating || h.machine.applied < h.disk.checkpoint.meta.Op+s.mixture.limits.checkpointEvery {
		return
	}
	h.creating = true
	number := s.keep(transfer{from: h.number, to: h.number, checkpoint: h.machine.checkpoint()})
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

// fetchTicksMax is after how long a fetch whose other side says nothing is given up.
const fetchTicksMax = 20

// fetchCheckpoint asks another replica for its newest checkpoint.
func (s *simulation) fetchCheckpoint(h *host, wanted *core.FetchCheckpoint) {
	s.covered.count(EventCheckpointWanted)
	s.trace(h, "fetches checkpoint %d from r%d", wanted.Meta.Op, wanted.From)
	if h.fetching || wanted.From == h.id || wanted.From < 1 || int(wanted.From) > len(s.hosts) {
		s.violated(claimReady, "r%d fetches a checkpoint from r%d, fetching %v", h.id, wanted.From, h.fetching)
		return
	}
	h.fetching = true
	number := s.keep(transfer{from: int(wanted.From - 1), to: h.number, life: h.incarnation, atLeast: wanted.Meta.Op})
	if s.transferLost(h.number, int(wanted.From-1)) {
		s.transferFails(number)
		return
	}
	s.events.push(event{at: s.now + s.transferRandom.span(1, momentsPerTick), kind: eventServeCheckpoint, argument: number})
}

func (s *simulation) transferLost(from, to int) bool {
	lost := s.transferRandom.chance(s.mixture.fault.transferLoss)
	return lost || s.network.isBlocked(from, to)
}

// transferFails tells the replica that wants a checkpoint, after a while, that it does not come.
func (s *simulation) transferFails(number int) {
	s.covered.count(EventTransferLost)
	t := &s.transfers[number]
	s.events.push(event{
		at: s.now + s.transferRandom.span(1, fetchTicksMax)*momentsPerTick, kind: eventCheckpointFailed, replica: t.to,
		incarnation: t.life, argument: number,
	})
}

// serveCheckpoint is the moment in which the other side opens its checkpoint, whatever it has by now.
func (s *simulation) serveCheckpoint(number int) {
	t := &s.transfers[number]
	server := s.hosts[t.from]
	switch {
	case !server.running() || server.paused || s.transferLost(t.from, t.to):
		s.transferFails(number)
	case server.disk.checkpoint.meta.Op < max(t.atLeast, 1) && (server.disk.durability == core.DurabilityMemory || server.spoiled):
		s.transferFails(number) // it has named it, and lost it since
	case server.disk.checkpoint.meta.Op < max(t.atLeast, 1):
		s.violated(claimReady, "r%d is asked for checkpoint %d, which it named, and has %d", server.id, t.atLeast, server.disk.checkpoint.meta.Op)
	default:
		t.checkpoint = server.disk.checkpoint
		s.events.push(event{
			at: s.now + s.transferRandom.span(1, 6*momentsPerTick), kind: eventCheckpointArrived, replica: t.to,
			incarnation: t.life, argument: number,
		})
	}
}

// checkpointFetched: the last byte is here, or certainly none comes any more.
func (s *simulation) checkpointFetched(h *host, number int, arrived bool) {
	if !arrived {
		s.trace(h, "checkpoint does not come")
		s.enqueue(h, input{kind: inputFetchFailed})
		return
	}
	s.enqueue(h, input{kind: inputInstalled, transfer: number})
}

// installCheckpoint makes a fetched checkpoint durable, restores it, and tells the replica. The process may
// die when the checkpoint is durable and the replica does not know.
func (s *simulation) installCheckpoint(h *host, c checkpoint) {
	h.fetching = false
	s.covered.count(EventTransferDone)
	s.trace(h, "installs checkpoint %d", c.meta.Op)
	if h.machine.applied >= c.meta.Op {
		h.replica.CheckpointFailed()
		return
	}
	s.checks.installs(h, c)
	h.disk.install(c)
	if s.faultRandom.chance(4*s.mixture.fault.crashAtStep) && s.crash(h, true) {
		s.covered.count(EventCrashAfterInstall)
		return
	}
	h.installed = true
	h.machine.restore(c)
	before := h.replica.Status()
	h.replica.CheckpointInstalled(c.meta)
	s.countIf(h.replica.Status().Epoch > before.Epoch, EventEnteredByCheckpoint)
}
