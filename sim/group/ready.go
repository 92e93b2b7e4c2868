package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// startReady begins to act on a Ready, up to the point where it may have to wait for the disk. The process
// may die between any two steps, and among the messages of one.
func (s *simulation) startReady(h *host) {
	h.busy, h.ready = true, h.replica.Ready()
	if h.ready.Empty() {
		s.violated(claimReady, "r%d has a Ready that is empty", h.id)
	}
	for i := range h.ready.StaleReads {
		s.answerStale(h, &h.ready.StaleReads[i])
	}
	h.crashStep = -1
	rate := s.mixture.fault.crashAtStep
	if h.ready.FetchCheckpoint != nil {
		rate *= 25 // these are rare
	}
	if h.ready.MustSync && s.mixture.durability != core.DurabilitySync {
		rate *= 10 // a promise that nobody has heard of, by a replica that has to recover
	}
	if s.faultRandom.chance(rate) {
		h.crashStep = Event(s.faultRandom.between(int(EventCrashBeforeReady), int(EventCrashBeforeAdvance)))
	}
	if s.crashes(h, EventCrashBeforeReady) || !s.sendAll(h, true, EventCrashAmongEarlySends) || s.crashes(h, EventCrashBeforeWrite) {
		return
	}
	b := batch{
		states: h.ready.HardState != nil, truncate: h.ready.Truncate, truncateAbove: h.ready.TruncateAbove,
		entries: h.ready.Entries, truncateBelow: h.ready.TruncateBelow, replace: h.ready.Replace != nil,
	}
	if b.replace {
		b.base = h.ready.Replace.Op
	}
	if b.states {
		b.hardState = *h.ready.HardState
	}
	if b.empty() {
		s.finishReady(h)
		return
	}
	s.write(h, b)
}

// write hands the batch to the disk; the rest of the Ready follows when the disk is done.
func (s *simulation) write(h *host, b batch) {
	b.entries = s.memory.entries.clone(b.entries)
	h.disk.write(b)
	h.deferring = s.defers(h)
	if s.mixture.durability == core.DurabilityAsync && s.diskRandom.chance(s.mixture.disk.flush) {
		_ = h.disk.sync() // in the background; finishReady tells of a failure
	}
	if s.tracing() {
		s.trace(h, "writes%s, sync %v, deferred %v", describeBatch(&b), h.ready.MustSync, h.deferring)
	}
	latency := instant(0)
	if h.ready.MustSync && !h.deferring {
		latency = s.diskRandom.span(0, 2)
	}
	if !h.deferring && s.diskRandom.chance(s.mixture.disk.slow) {
		s.covered.count(EventSlowWrite)
		latency = s.diskRandom.span(1, s.mixture.disk.slowMax)
	}
	if latency == 0 {
		s.finishReady(h)
		return
	}
	s.after(latency, eventDiskDone, h, 0)
}

// finishReady is the rest of a Ready, from the disk's answer on.
func (s *simulation) finishReady(h *host) {
	if h.ready.MustSync && !h.deferring {
		if s.crashes(h, EventCrashBeforeSync) {
			return
		}
		_ = h.disk.sync()
	}
	if err := h.disk.failed; err != nil {
		s.violated(claimDisk, "r%d: %v", h.id, err)
	}
	if s.crashes(h, EventCrashBeforeLateSends) || !s.sendAll(h, false, EventCrashAmongLateSends) {
		return
	}
	if h.ready.FetchCheckpoint != nil {
		if s.crashes(h, EventCrashBeforeFetch) {
			return
		}
		if h.witness {
			s.takeBase(h, h.ready.FetchCheckpoint)
		} else {
			s.fetchCheckpoint(h, h.ready.FetchCheckpoint)
		}
	}
	if len(h.ready.Committed) > 0 {
		if s.crashes(h, EventCrashBeforeApply) {
			return
		}
		s.apply(h, h.ready.Committed)
	}
	if s.crashes(h, EventCrashBeforeAnswer) {
		return
	}
	s.answer(h)
	if s.crashes(h, EventCrashBeforeAdvance) || s.checks.violation != nil {
		return
	}
	h.ready, h.busy = core.Ready{}, false
	s.advance(h)
	s.checks.observe(h)
	s.recovered(h)
	if h.witness {
		s.createBase(h)
	}
}

// crashes kills the process here if that was drawn.
func (s *simulation) crashes(h *host, step Event) bool {
	if h.crashStep != step || !s.mayLose(h) {
		return false
	}
	s.covered.count(step)
	s.trace(h, "%s", step)
	s.crash(h, true)
	return true
}

// sendAll sends the messages that may leave before the disk, or the others. When the process is to die among
// them, only the first few leave.
func (s *simulation) sendAll(h *host, early bool, among Event) bool {
	count := len(h.ready.Messages)
	dies := h.crashStep == among && count > 1 && s.mayLose(h)
	if dies {
		count = s.faultRandom.between(1, count-1)
	}
	for i := range count {
		if out := &h.ready.Messages[i]; out.BeforePersist == early {
			s.send(h, &out.Message)
		}
	}
	return !dies || !s.crashes(h, among)
}

func (s *simulation) send(h *host, m *core.Message) {
	s.checks.sent(h, m)
	s.coverSent(h, m)
	if s.checks.violation != nil {
		return
	}
	arrivals, count := s.network.send(s.now, h.number, int(m.To-1), m, &s.covered)
	for _, arrival := range arrivals[:count] {
		s.events.push(event{at: arrival.at, kind: eventDeliver, argument: arrival.slot})
	}
	if s.tracing() {
		verdict := ""
		if count == 0 {
			verdict = " (lost)"
		}
		s.trace(h, "-> %s%s", describe(m), verdict)
	}
}

// apply executes what is committed, acknowledges this replica's own proposals, and starts a checkpoint when
// one is due.
func (s *simulation) apply(h *host, entries []core.Entry) {
	for i := range entries {
		entry := &entries[i]
		if !s.checks.applies(h, entry) {
			return
		}
		h.machine.apply(entry)
		s.checks.applied(h, entry)
		if s.tracing() {
			s.trace(h, "applies %d/v%d, operation %d", entry.Op, entry.View, operationID(entry.Payload))
		}
		if entry.Kind == core.EntryOperation {
			s.acknowledge(h, entry)
		}
	}
	s.createCheckpoint(h)
}

// acknowledge tells the client of its operation, if this replica proposed it and still follows its fate. What a
// Ready drops it never commits, so that whatever is in the place of such a proposal is that proposal.
func (s *simulation) acknowledge(h *host, entry *core.Entry) {
	proposed, ours := h.proposals[entry.Op]
	if !ours {
		return
	}
	delete(h.proposals, entry.Op)
	s.checks.acknowledged(h, proposed, entry)
}

// answer is the sixth step of a Ready.
func (s *simulation) answer(h *host) {
	for _, read := range h.ready.Reads {
		floor, asked := h.reads[read.Token]
		if !asked {
			s.violated(claimReads, "r%d answers read %d, which does not wait", h.id, read.Token)
			return
		}
		delete(h.reads, read.Token)
		s.checks.answered(h, read, floor)
	}
	for _, dropped := range h.ready.Dropped {
		for op := dropped.First; op <= dropped.Last; op++ {
			if _, ours := h.proposals[op]; ours {
				s.covered.count(EventProposalDropped)
				delete(h.proposals, op)
			}
		}
		if s.liveness.handover.begun && slices.Contains(s.liveness.core, h) {
			s.violated(claimHandover, "r%d drops its proposals %d to %d", h.id, dropped.First, dropped.Last)
		}
	}
	if leadership := h.ready.Leadership; leadership != nil {
		s.trace(h, "leading %v in view %d", leadership.Leading, leadership.View)
		s.checks.leadership(h, leadership)
	}
	if h.ready.Reconfiguration != nil {
		s.checks.reconfigurationEnded(h, h.ready.Reconfiguration)
	}
	if h.ready.Membership != nil {
		s.coverEpoch(h, h.ready.Membership)
	}
	if h.ready.Handover != nil {
		s.checks.handoverEnded(h, h.ready.Handover)
	}
}
