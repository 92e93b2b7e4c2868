package group

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// Options says what to run. The zero value runs seed 0 with every rule in force.
type Options struct {
	// Seed decides everything.
	Seed uint64
	// Omit takes rules of the core out, to see that the checks notice.
	Omit omit.Set
	// OmitTransfer takes rules of the transfer of checkpoints out.
	OmitTransfer omit.Set
	// OmitForce takes rules of an operator's force out.
	OmitForce omit.Set
	// OutcomesOnly leaves out the checks that look into messages and disks on the way, and judges only what
	// was applied, acknowledged and read.
	OutcomesOnly bool
	// Durability is what the replicas' disks promise; zero: as the seed draws it.
	Durability Choice
	// BeyondF lets more replicas lose what they acknowledged than the durability survives. The group may then stop for
	// good; it must do nothing wrong, and if it lost too much it must stay stopped.
	BeyondF bool
	// Leases says whether primaries have leases; zero: as the seed draws it. ClocksApart lets the hosts' clocks differ
	// by more than the leases allow for: then reads are not safe.
	Leases      LeaseChoice
	ClocksApart bool
	// Calm is what of the seed's troubles the run does without; TroubleTicks is how long they go on at the most, zero:
	// as long as the seed drew. Reduce finds them.
	Calm         Calm
	TroubleTicks int
	// Trace gets one line an event, as a table; nil: no trace.
	Trace io.Writer
}

// Report is what came of one seed.
type Report struct {
	Seed uint64
	// Violation is the first claim found broken, or nil.
	Violation *Violation
	// EventHash is over every event of the run: equal for equal Options.
	EventHash uint64
	Coverage  Coverage
	// Committed counts operations, ViewChanges the views after the first that got a primary.
	Committed, ViewChanges int
	// HealTicks is how long the liveness phase took.
	HealTicks int
	Events    uint64
}

// Violation is a claim of the protocol found broken.
type Violation struct {
	Claim  string
	Detail string
	Tick   int
}

// Error tells all of it.
func (v *Violation) Error() string {
	return fmt.Sprintf("tick %d: %s: %s", v.Tick, v.Claim, v.Detail)
}

// simulation is one seed's run.
type simulation struct {
	options   Options
	mixture   mixture
	memory    *memory
	now       instant
	events    *eventQueue
	network   network
	hosts     []*host
	transfers []shipment
	client    client
	checks    checks
	covered   Coverage
	hash      uint64
	happened  uint64
	liveness  liveness

	diskRandom, faultRandom, transferRandom, handoverRandom, damageRandom, leaseRandom, reconfigurationRandom, wipeRandom, witnessRandom, chunkRandom stream

	staleRandom, behindRandom stream

	staleToken uint64
}

// eventsMax ends a run that goes round in circles.
const eventsMax = 2_000_000

// Run plays one seed. A panic of the core is a violation like any other.
func Run(options Options) Report { return new(Player).Run(options) }

// Player plays one seed after the other, each in the memory of the one before. It belongs to one goroutine.
type Player struct{ last *simulation }

// Run plays one seed, as the function of that name does.
func (p *Player) Run(options Options) Report {
	drawn := drawMixture(options.Seed)
	drawn.drawDurability(options.Seed, options.Durability)
	drawn.drawLeases(&options)
	drawn.drawStale(&options)
	if options.BeyondF {
		drawn.reconfiguration = reconfigurationMixture{} // nobody would know who has to be there
		drawn.witnesses.join = 0
	}
	drawn.drawSlow(options.Seed)
	drawn.drawBehind(options.Seed)
	if options.BeyondF {
		drawn.slow = slowMixture{} // nobody would know who may fail beside it
	}
	options.Calm.apply(&drawn)
	drawn.allowForSlow()
	if options.TroubleTicks > 0 {
		drawn.safetyTicks = min(drawn.safetyTicks, options.TroubleTicks)
	}
	s := newSimulation(p.last, options, drawn)
	p.last = nil // nobody knows what a run leaves that is broken off
	report := s.run()
	if report.Violation == nil {
		p.last = s
	}
	return report
}

func (s *simulation) run() (report Report) {
	defer func() {
		if reason := recover(); reason != nil {
			s.violated("panic", "%v\n%s", reason, debug.Stack())
		}
		report = s.report()
	}()
	s.start()
	for s.checks.violation == nil && !s.liveness.done {
		e, any := s.events.pop()
		if !any || s.happened >= eventsMax {
			s.violated(claimProgress, "after %d events: %s", s.happened, s.situation())
			break
		}
		s.happened++
		s.now = e.at
		s.happen(&e)
	}
	return report
}

// newSimulation sets a run up, in the memory of one that is over; nil: there is none.
func newSimulation(last *simulation, options Options, mixture mixture) *simulation {
	if last == nil {
		last = &simulation{memory: &memory{}}
	}
	seed, old := options.Seed, *last
	s := last
	*s = simulation{
		options: options, mixture: mixture, hash: seed, memory: old.memory, events: &old.memory.events,
		transfers: old.transfers[:0], hosts: old.hosts[:0],
		diskRandom: newStream(seed, streamDisk), faultRandom: newStream(seed, streamFaults),
		transferRandom: newStream(seed, streamTransfer), handoverRandom: newStream(seed, streamHandover+1), damageRandom: newStream(seed, streamDamage+1),
		leaseRandom:           newStream(seed, streamLeases+1),
		reconfigurationRandom: newStream(seed, streamReconfiguration+1),
		wipeRandom:            newStream(seed, streamWipes+1),
		witnessRandom:         newStream(seed, streamWitnesses+1),
		chunkRandom:           newStream(seed, streamChunks+1),
		staleRandom:           newStream(seed, streamStaleness+1),
		behindRandom:          newStream(seed, streamBehind+1),
	}
	room := s.mixture.members
	if s.mixture.reconfiguration.rate > 0 {
		room = hostsMax
	}
	s.memory.reset(old.hosts)
	s.network = newNetwork(&old.network, seed, room, s.mixture.network)
	s.slowDown(room)
	s.client = newClient(seed)
	s.checks = newChecks(s, &old.checks)
	for number := range s.mixture.members {
		h := newHost(s, number)
		h.witness = h.id == s.firstWitness()
		s.hosts = append(s.hosts, h)
		s.checks.epochs[0].members = append(s.checks.epochs[0].members, h.id)
		s.checks.epochs[0].lives = append(s.checks.epochs[0].lives, 0)
	}
	return s
}

func (s *simulation) start() {
	s.traceHeader()
	switch s.mixture.members {
	case 1:
		s.covered.count(EventGroupOfOne)
	case membersMax:
		s.covered.count(EventGroupOfSeven)
	}
	switch s.mixture.durability {
	case core.DurabilityAsync:
		s.covered.count(EventGroupInAsync)
	case core.DurabilityMemory:
		s.covered.count(EventGroupInMemory)
	case core.DurabilitySync:
	}
	s.countIf(s.mixture.leases.duration > 0, EventGroupWithLeases)
	s.countIf(s.firstWitness() != 0, EventGroupWithWitness)
	for _, h := range s.hosts {
		s.boot(h)
		if h.tickEvery != momentsPerTick {
			s.covered.count(EventClocksDrift)
		}
		s.events.push(event{at: s.faultRandom.span(1, h.tickEvery), kind: eventTick, replica: h.number})
	}
	s.events.push(event{at: momentsPerTick, kind: eventFaults})
	s.events.push(event{at: momentsPerTick, kind: eventClient})
	if s.mixture.stale.everyTickMax > 0 {
		s.events.push(event{at: momentsPerTick, kind: eventStale})
	}
}

// happen lets one event happen, unless it was of an earlier life of its replica.
func (s *simulation) happen(e *event) {
	s.hash = mix(s.hash, uint64(e.at)<<24^uint64(e.kind)<<16^uint64(e.replica)<<8^uint64(e.argument))
	h := s.hosts[e.replica]
	switch e.kind {
	case eventTick:
		s.tick(h)
	case eventDeliver:
		s.deliver(e.argument)
	case eventFaults:
		s.strike()
	case eventClient:
		s.request()
	case eventStale:
		s.askStale()
	case eventHealPartition:
		s.healPartition(e.argument)
	case eventServeCheckpoint:
		s.serveCheckpoint(e.argument)
	case eventRestart:
		if h.incarnation == e.incarnation && !h.dead {
			s.boot(h)
		}
	default:
		if h.incarnation == e.incarnation && h.running() {
			s.happenTo(h, e)
		}
	}
}

// happenTo is happen for what only one life of one replica is concerned by.
func (s *simulation) happenTo(h *host, e *event) {
	switch e.kind {
	case eventResume:
		s.resume(h)
	case eventCancelHandover:
		s.enqueue(h, input{kind: inputCancelHandover})
	case eventCancelStale:
		s.enqueue(h, input{kind: inputCancelStale, token: uint64(e.argument)})
	case eventDiskDone:
		if h.paused {
			s.later(e, momentsPerTick)
			return
		}
		s.finishReady(h)
		s.pump(h)
	case eventWrittenBehind:
		if h.paused {
			s.later(e, momentsPerTick)
			return
		}
		s.writtenBehind(h, e.argument)
	case eventCheckpointCreated:
		if h.paused {
			s.later(e, momentsPerTick)
			return
		}
		s.checkpointCreated(h, e.argument)
	case eventCheckpointArrived:
		s.chunkArrived(h, e.argument)
	case eventCheckpointFailed:
		s.missed(h, e.argument)
	case eventFetchAgain:
		s.attempt(h)
	case eventHoldExpires:
		s.holdExpires(h, uint64(e.argument))
	default:
		panic(fmt.Sprintf("event of kind %d is nobody's", e.kind))
	}
}

// later puts an event off.
func (s *simulation) later(e *event, delay instant) {
	e.at = s.now + delay
	s.events.push(*e)
}

// after schedules something for this life of a replica.
func (s *simulation) after(delay instant, kind eventKind, h *host, argument int) {
	s.events.push(event{at: s.now + delay, kind: kind, replica: h.number, incarnation: h.incarnation, argument: argument})
}

func (s *simulation) report() Report {
	return Report{
		Seed: s.options.Seed, Violation: s.checks.violation, EventHash: mix(s.hash, s.checks.stateHash()),
		Coverage: s.covered, Committed: len(s.checks.committed), ViewChanges: s.checks.viewChanges(),
		HealTicks: s.liveness.took, Events: s.happened,
	}
}

// violated records the first broken claim.
func (s *simulation) violated(claim, format string, arguments ...any) {
	if s.checks.violation == nil {
		s.checks.violation = &Violation{
			Claim: claim, Detail: fmt.Sprintf(format, arguments...), Tick: int(s.now / momentsPerTick),
		}
	}
}

// believers are the replicas that run, or would if they were not paused, and believe to be primary. The slice is good
// until the next call.
func (s *simulation) believers() []*host {
	found := s.memory.believers[:0]
	for _, h := range s.hosts {
		if h.running() && h.status.Status == core.StatusNormal && h.status.Primary == h.id {
			found = append(found, h)
		}
	}
	s.memory.believers = found
	return found
}
