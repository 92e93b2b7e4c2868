package group

import (
	"errors"

	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// host is one replica with what is around it: the driver, the state machine, the disk and the clock. Being a
// driver it decides nothing about the protocol.
type host struct {
	number int // from 0
	id     core.ReplicaID
	random stream
	// tickEvery is what this host's clock takes for a tick.
	tickEvery instant
	witness   bool // it has no state machine, in any of its lives

	// lifeState is of the life that it is in, other that of another one which is not lost, and lives how many there were after
	// the first. copy is an old copy of its disk.
	lifeState
	other *lifeState
	lives uint64
	copy  *image

	// replica is nil while the process is down; dead: it stays down.
	replica     *core.Replica
	incarnation uint32
	paused      bool
	dead        bool
	// gone: it has left, and was shut down.
	gone bool
	// reconfigures is which of all pending RECONFIGURATIONs is its own newest, from 1.
	reconfigures int
	entered      core.EpochNumber // as coverEpoch saw it last
	// What follows tells how it recovers: answered has a bit for each replica that answered its last question.
	lastNonce        uint64
	answered         uint64
	asked, installed bool
	machine          machine
	// inbox holds what has arrived and waits for its turn; tickOwed that a tick does.
	inbox    []input
	tickOwed bool
	// busy: a Ready is being acted on. crashStep is where in it the process will die, or -1.
	busy      bool
	deferring bool // it is written behind the replica
	ready     core.Ready
	crashStep Event
	// creating and fetching: a checkpoint is under way. attempt is the shipment of the fetch's newest question.
	creating, fetching bool
	fetch              *transfer.Fetch
	attempt            int
	// holding is which checkpoints others fetch here, held what they are by their numbers.
	holding transfer.Holding
	held    map[uint64]*parcel
	// proposals are the accepted ones that wait for their fate, reads those that wait for an answer, with
	// what they have to see.
	proposals map[core.OpNumber]operation
	reads     map[uint64]core.OpNumber
	stale     map[uint64]staleAsked
	// status is the last one seen; leading is what the replica last reported.
	status  core.ReplicaStatus
	leading bool
	// claimed: whom it takes for the primary of its view was compared with whom the others take for it.
	claimed bool
	// led is the last view that a client may take this replica for the primary of.
	led core.ViewNumber
	// clockRate is what its clock shows more in a moment, clockAhead what it showed in the first.
	clockRate, clockAhead uint64
	// clockStopped is what it showed when the last life ended.
	clockStopped uint64
	// sent is what this replica has sent to each other one.
	sent [hostsMax]sentBefore
}

// inputKind is what a replica is told.
type inputKind uint8

const (
	inputMessage inputKind = iota + 1
	inputCreated
	inputInstalled
	inputFetchFailed
	inputPropose
	inputRead
	inputHandOver
	inputCancelHandover
	inputReconfigure
	inputStale
	inputCancelStale
	inputDurable
)

// input is one thing that a replica is told.
type input struct {
	kind       inputKind
	flight     *flight // of a message
	transfer   int     // of a checkpoint that was created or fetched
	view       core.ViewNumber
	operations span // that are proposed
	filler     int
	token      uint64
	floor      core.OpNumber
	to         core.ReplicaID // of a handover; whom a checkpoint came from
	members    []core.Member  // of a reconfiguration
	dry        bool
	bound      uint64 // of a stale read
}

func newHost(s *simulation, number int) *host {
	random := streamReplica + uint64(number)
	if number >= membersMax {
		random = streamNewcomers + uint64(number)
	}
	h := s.memory.newHost()
	h.number, h.id, h.random = number, core.ReplicaID(number+1), newStream(s.options.Seed, random)
	h.tickEvery, h.crashStep = momentsPerTick, -1
	if s.mixture.fault.drift {
		h.tickEvery = s.faultRandom.span(momentsPerTick-2, momentsPerTick+3)
	}
	h.clockRate, h.clockAhead = s.drawClock()
	h.holding = transfer.NewHolding(s.mixture.chunks.behindMax, s.options.OmitTransfer)
	h.disk.durability = s.mixture.durability
	h.disk.inspect = func(b *batch) { s.checks.aboutToChange(h, b) }
	return h
}

// reached is how far this replica is: what it has applied, or, without a state, what it knows to be committed.
func (h *host) reached() core.OpNumber {
	if h.witness {
		return h.status.Commit
	}
	return h.machine.applied
}

func (h *host) running() bool { return h.replica != nil }

func (h *host) inMemory() bool { return h.disk.durability == core.DurabilityMemory }

// boot starts the process from what its disk holds.
func (s *simulation) boot(h *host) {
	config := s.mixture.limits.config
	config.Self, config.Rand, config.Omit = h.id, h.random.source.Uint64, s.options.Omit
	config.Durability = s.mixture.durability
	again := h.incarnation > 0
	if again {
		s.newClock(h)
		s.wipe(h)
		s.spoil(h)
	}
	config.Incarnation, config.Witness = h.life, h.witness
	s.leaseConfig(h, &config)
	config.Members, config.Joining = h.told, h.joins
	if !h.joins {
		config.Members, config.FirstWitness = s.checks.epochs[0].members, s.firstWitness()
	}
	restored := h.disk.restored()
	h.machine.restore(h.disk.checkpoint)
	replica, err := core.New(config, restored)
	if err != nil {
		s.violated(claimRuns, "r%d does not start: %v", h.id, err)
		return
	}
	h.replica, h.status, h.claimed = replica, core.ReplicaStatus{}, false
	clear(h.proposals)
	clear(h.reads)
	clear(h.stale)
	if again {
		s.coverRestart(h)
	}
	h.lossy = h.lossy && (h.replica.Status().Status == core.StatusRecovering || h.lacksItsEpoch())
	h.disk.clean = false
	s.trace(h, "started, incarnation %d", h.incarnation)
	s.checks.restarted(h)
	s.pump(h)
}

func (s *simulation) coverRestart(h *host) {
	s.covered.count(EventRestart)
	state := &h.disk.hardState
	s.countIf(h.replica.Status().Status == core.StatusLeaving, EventRestartLeaving)
	s.countIf(epochOf(h.disk.checkpoint.meta.Membership) > epochOf(state.Membership), EventRestartByCheckpointsEpoch)
	if state.View > state.LastNormalView {
		s.covered.count(EventRestartInViewChange)
	}
	s.coverRecovery(h)
	if s.checks.primaryOf(epochOf(state.Membership), state.View) == h.id {
		s.covered.count(EventRestartOfPrimary)
	}
	if last, any := h.disk.last(); any && last < h.disk.checkpoint.meta.Op {
		s.covered.count(EventRestartAboveLog)
	}
}

// mayLose reports whether the group is to survive that a replica loses what a crash takes: f of them at a time. (A
// group of one that has lost something does not start any more, whatever is tried.)
func (s *simulation) mayLose(h *host) bool {
	if s.mixture.durability == core.DurabilitySync || s.options.BeyondF && len(s.hosts) > 1 {
		return true
	}
	promised := h.disk.hardState.LastNormalView > 0
	// One that has lost something has no more to lose, until it enters another epoch. That may be on its way to the disk,
	// and a crash keep it.
	if epochOf(h.disk.hardState.Membership) <= h.lostIn && h.lossy {
		return true
	}
	for _, group := range s.checks.groups() {
		if group.has(h) && (promised || s.owes(&group, h)) && s.lossyOf(&group, h) >= (len(group.members)-1)/2 {
			return false
		}
	}
	return true
}

// lossyOf counts the replicas of a group, but for one, that may lack what they acknowledged.
func (s *simulation) lossyOf(group *epochRecord, but *host) int {
	count := 0
	for _, h := range s.hosts {
		if h != but && s.mayLack(group, h) {
			count++
		}
	}
	return count
}

// mayLack reports whether a replica counts among the f of a group.
func (s *simulation) mayLack(group *epochRecord, h *host) bool {
	return (h.lossy || s.slowest(h)) && group.has(h) || group.lacks(h) || s.unbegun(group, h)
}

// lossy counts those of the newest epoch.
func (s *simulation) lossy() int { return s.lossyOf(s.checks.newest(), nil) }

// failuresMax is the paper's f, of the newest epoch.
func (s *simulation) failuresMax() int { return (len(s.checks.newest().members) - 1) / 2 }

// lacksItsEpoch reports whether this replica has left its group, and lost the beginning of the epoch that it left it in.
func (h *host) lacksItsEpoch() bool {
	status := h.replica.Status()
	return status.Status == core.StatusLeaving && status.Commit < h.replica.Membership().Op
}

// crash kills the process, and with the power all that was not synced, and reports that it has. Where that would be
// one crash more than the durability survives, the process ends cleanly, if it can.
func (s *simulation) crash(h *host, restart bool) bool {
	if !s.mayLose(h) {
		if h.busy || h.paused {
			return false
		}
		s.covered.count(EventCrashSpared)
		s.stop(h, restart)
		return true
	}
	unsynced := len(h.disk.unsynced)
	survivors := unsynced
	if s.mixture.disk.powerFails || s.mixture.durability != core.DurabilitySync {
		survivors = s.diskRandom.below(unsynced + 1)
	}
	if survivors < unsynced {
		s.covered.count(EventWritesLostAtCrash)
	} else if unsynced > 0 {
		s.covered.count(EventWritesKeptAtCrash)
	}
	if err := h.disk.crash(survivors); err != nil {
		s.violated(claimDisk, "r%d: %v", h.id, err)
	}
	if h.disk.lossy() {
		h.lossy, h.lostIn = true, epochOf(h.disk.hardState.Membership)
	}
	h.bereft = h.bereft || s.mixture.durability != core.DurabilitySync
	if h.creating {
		s.covered.count(EventCrashDuringCheckpoint)
	}
	if h.fetching {
		s.covered.count(EventCrashDuringTransfer)
	}
	s.losePart(h, s.mixture.disk.powerFails || s.mixture.durability != core.DurabilitySync)
	s.trace(h, "crash, %d of %d unsynced writes kept", survivors, unsynced)
	s.goDown(h, restart)
	return true
}

// stop ends the process in order. One that recovers has not all that it acknowledged and leaves no mark.
func (s *simulation) stop(h *host, restart bool) {
	s.covered.count(EventCleanStop)
	s.trace(h, "stops cleanly")
	if h.replica.Status().Status != core.StatusRecovering {
		h.disk.end()
	}
	s.losePart(h, false)
	s.goDown(h, restart)
}

// goDown is what every end of a process comes to.
func (s *simulation) goDown(h *host, restart bool) {
	for i := range h.inbox {
		s.discard(&h.inbox[i])
	}
	if h.fetch != nil {
		s.stopServing(&s.transfers[h.attempt])
		h.fetch = nil
	}
	h.holding = transfer.NewHolding(s.mixture.chunks.behindMax, s.options.OmitTransfer)
	clear(h.held)
	h.replica, h.inbox, h.ready = nil, h.inbox[:0], core.Ready{}
	h.deferring = false
	h.busy, h.paused, h.tickOwed, h.creating, h.fetching, h.leading = false, false, false, false, false, false
	h.crashStep = -1
	h.incarnation++
	h.clockStopped = s.clock(h)
	if restart {
		down := s.faultRandom.span(0, instant(s.mixture.fault.downTickMax)*momentsPerTick)
		s.after(down, eventRestart, h, 0)
	}
}

// tick lets the host's clock tick. A clock does not wait for a busy or stopped process, and such a process
// finds one tick when it comes back, not all that it missed.
func (s *simulation) tick(h *host) {
	if !h.dead {
		s.events.push(event{at: s.now + h.tickEvery, kind: eventTick, replica: h.number})
	}
	if !h.running() {
		return
	}
	h.tickOwed = true
	s.pump(h)
}

// deliver brings a message to its replica.
func (s *simulation) deliver(slot int) {
	arrived := s.network.take(slot)
	h := s.hosts[arrived.message.To-1]
	in := input{kind: inputMessage, flight: arrived}
	if !h.running() {
		s.discard(&in)
		return
	}
	s.enqueue(h, in)
}

// discard is what becomes of an input that has been taken, or never will be.
func (s *simulation) discard(in *input) {
	if in.flight != nil {
		s.network.land(in.flight)
		in.flight = nil
	}
}

// enqueue gives an input to a host, if there is room; inputs that nobody repeats are never refused.
func (s *simulation) enqueue(h *host, in input) {
	if len(h.inbox) >= s.mixture.limits.inboxMax && (in.kind == inputMessage || in.kind == inputPropose) {
		s.covered.count(EventInboxOverflowed)
		if in.kind == inputPropose {
			s.checks.refused(in.operations)
		}
		s.discard(&in)
		return
	}
	h.inbox = append(h.inbox, in)
	s.pump(h)
}

// readiesMax is how many Readies may follow one another at one moment.
const readiesMax = 1000

// pump lets a host work until it waits for the disk or has nothing to do.
func (s *simulation) pump(h *host) {
	for range readiesMax {
		if !h.running() || h.paused || h.busy || s.checks.violation != nil {
			return
		}
		if !s.takeInputs(h) {
			return
		}
		s.checks.observe(h)
		switch {
		case len(h.inbox) > 0 && !h.replica.HasReady():
		case !h.replica.HasReady():
			return
		case len(h.inbox) == 0 && s.faultRandom.chance(s.mixture.fault.gather):
			s.covered.count(EventInputsGathered)
			return
		default:
			s.startReady(h)
		}
	}
	s.violated(claimProgress, "r%d: %d Readies without an end", h.id, readiesMax)
}

// takeInputs tells the replica some of what waits; false: it died on the way.
func (s *simulation) takeInputs(h *host) bool {
	h.replica.SetTime(s.clock(h))
	if h.tickOwed {
		h.tickOwed = false
		h.replica.Tick()
	}
	count := min(len(h.inbox), s.mixture.limits.inputsMax)
	for i := range count {
		s.take(h, &h.inbox[i])
		if !h.running() || s.checks.violation != nil {
			return false
		}
		s.discard(&h.inbox[i])
	}
	h.inbox = h.inbox[:copy(h.inbox, h.inbox[count:])]
	return true
}

func (s *simulation) take(h *host, in *input) {
	switch in.kind {
	case inputMessage:
		s.step(h, &in.flight.message)
	case inputCreated:
		s.created(h, s.transfers[in.transfer].checkpoint.meta)
	case inputInstalled:
		s.installCheckpoint(h, in)
	case inputFetchFailed:
		h.fetching = false
		h.replica.CheckpointFailed()
	case inputPropose:
		s.propose(h, in)
	case inputRead:
		s.readBarrier(h, in)
	case inputHandOver:
		s.handOver(h, in.to)
	case inputCancelHandover:
		h.replica.CancelHandover()
	case inputReconfigure:
		s.reconfigure(h, in)
	case inputStale:
		s.readStale(h, in)
	case inputCancelStale:
		h.replica.CancelReadStale(in.token)
	case inputDurable:
		h.replica.Durable(in.token)
	}
}

func (s *simulation) step(h *host, m *core.Message) {
	s.hash = mix(s.hash, uint64(m.Kind)<<56^uint64(m.From)<<48^uint64(m.View)<<32^uint64(m.Op)<<16^uint64(m.Commit))
	s.coverSlow(m)
	before := h.replica.Standing()
	err := h.replica.Step(*m)
	now := h.replica.Standing()
	s.coverEntry(h, before, now, m.Kind)
	s.countIf(m.Kind == core.KindRecovery && before.Status == core.StatusNormal && before.View > 0 && now.View > before.View,
		EventRecoveryRaisesView)
	s.countIf(now.Awaited > before.Awaited, EventGrantHeldBack)
	if s.tracing() {
		s.trace(h, "<- %s", describe(m))
	}
	if errors.Is(err, core.ErrIncarnation) {
		s.covered.count(EventStaleRefused)
		s.trace(h, "%v", err)
		return
	}
	if err != nil {
		s.violated(claimRefused, "r%d refuses %s: %v", h.id, describe(m), err)
	}
}
