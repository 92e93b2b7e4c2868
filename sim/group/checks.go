package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// The claims that are checked all the time.
const (
	claimRuns         = "a replica starts and never stops by itself"
	claimProgress     = "everything finishes once a quorum is healed"
	claimCalm         = "a group that works stays in its view"
	claimReady        = "a Ready makes sense"
	claimRefused      = "no member refuses what another one sends"
	claimDisk         = "what is written fits what is on the disk"
	claimDurable      = "nothing durable is taken back"
	claimPromise      = "a promise is durable before it is sent"
	claimQuorum       = "what is committed is durable on a quorum"
	claimKept         = "what is committed stays durable on a quorum"
	claimPrimary      = "a view has one primary"
	claimViewstamp    = "a viewstamp names one operation"
	claimCommitted    = "what is committed never changes"
	claimState        = "equal op-numbers have equal states"
	claimOnce         = "an operation is applied once, and only if it was accepted"
	claimOrder        = "operations are applied one after the other"
	claimNumbers      = "view-number and commit-number never fall"
	claimAcknowledged = "an acknowledgement is for the operation that was proposed"
	claimReads        = "a read sees everything acknowledged before it was asked for"
	claimStale        = "a stale read sees everything acknowledged more than its age before it was asked for"
	claimNoPart       = "a recovering replica takes no part"
	claimAnswered     = "a replica recovers by the answers of f+1 others to its last question"
	claimStopped      = "a group that lost too much stays stopped"
	claimLeads        = "who leads has applied everything inherited"
	claimEpochs       = "epochs follow one another, each begun by the one before, and no id comes back"
	claimLives        = "of all lives of a replica that one takes part which the epoch names"
	claimHeld         = "the log above a checkpoint that is held for others is kept"
	claimForce        = "a force loses nothing that is on a disk which starts from what it has"
	claimWitness      = "a witness applies, answers and leads nothing, and leaves out of its log what others have"
	claimHandover     = "a handover ends as it says, and a group that works loses no proposal by it"
)

// commitRecord is what the first replica to apply an op-number applied there.
type commitRecord struct {
	hash      core.Hash
	view      core.ViewNumber
	operation operation
	state     uint64
}

// reign is a view of an epoch.
type reign struct {
	epoch core.EpochNumber
	view  core.ViewNumber
}

// leader is who led a view, and in which epoch.
type leader struct {
	epoch core.EpochNumber
	id    core.ReplicaID
}

// operationRecord is the fate of one proposed operation, as far as it is certain.
type operationRecord struct {
	appliedAt core.OpNumber
	refused   bool
}

// viewstamp is the paper's: the view in which an operation was proposed, and its op-number.
type viewstamp struct {
	view core.ViewNumber
	op   core.OpNumber
}

// checks is the global observer, who sees all disks and all messages at once.
type checks struct {
	s          *simulation
	violation  *Violation
	committed  []commitRecord // that of op-number 1 first
	operations []operationRecord
	viewstamps map[viewstamp]core.Hash
	primaries  map[reign]core.ReplicaID
	// Leading views ascend over the epochs, so that a view that leads needs no epoch to be told by.
	leaders map[core.ViewNumber]leader
	epochs  []epochRecord // that of epoch 0 first
	pending []pendingEpoch
	// visible is the last op-number of which a client was told, by an acknowledgement or by a read.
	visible core.OpNumber
	reached []reachedVisible // how it rose
}

// newChecks observes a simulation, in the memory of checks that are over, or of zero ones.
func newChecks(s *simulation, old *checks) checks {
	if old.leaders == nil {
		old.viewstamps, old.primaries, old.leaders = map[viewstamp]core.Hash{}, map[reign]core.ReplicaID{}, map[core.ViewNumber]leader{}
	}
	clear(old.viewstamps)
	clear(old.primaries)
	clear(old.leaders)
	return checks{
		s: s, viewstamps: old.viewstamps, primaries: old.primaries, leaders: old.leaders, epochs: make([]epochRecord, 1),
		committed: old.committed[:0], operations: old.operations[:0],
	}
}

// newOperations are operations that nobody has proposed yet.
func (c *checks) newOperations(count int) span {
	first := operation(len(c.operations) + 1)
	for range count {
		c.operations = append(c.operations, operationRecord{})
	}
	return span{first: first, last: operation(len(c.operations))}
}

// viewChanges counts the views that got a leader, but for the first of them.
func (c *checks) viewChanges() int { return max(len(c.leaders)-1, 0) }

func (c *checks) primaryOf(epoch core.EpochNumber, view core.ViewNumber) core.ReplicaID {
	return c.primaries[reign{epoch, view}]
}

// hadPrimary reports whether a replica was the primary of a view, in one epoch or another.
func (c *checks) hadPrimary(view core.ViewNumber, id core.ReplicaID) bool {
	return slices.ContainsFunc(c.epochs, func(e epochRecord) bool { return c.primaryOf(e.epoch, view) == id })
}

func (c *checks) stateHash() uint64 {
	hash := mix(uint64(len(c.committed)), uint64(len(c.operations)))
	if len(c.committed) > 0 {
		hash = mix(hash, c.committed[len(c.committed)-1].state)
	}
	return hash
}

// applies checks that an entry is the next one for this machine.
func (c *checks) applies(h *host, entry *core.Entry) bool {
	if h.witness {
		c.s.violated(claimWitness, "r%d applies %d", h.id, entry.Op)
		return false
	}
	if entry.Op != h.machine.applied+1 {
		c.s.violated(claimOrder, "r%d applies %d after %d", h.id, entry.Op, h.machine.applied)
		return false
	}
	return true
}

// applied compares what a replica has applied with what any replica applied there, in this life or another.
func (c *checks) applied(h *host, entry *core.Entry) {
	now := commitRecord{hash: entry.Hash, view: entry.View, operation: operationID(entry.Payload), state: h.machine.state}
	if int(entry.Op) <= len(c.committed) {
		c.compare(h, entry.Op, now)
		return
	}
	c.committed = append(c.committed, now)
	c.s.covered.count(EventCommitted)
	if c.primaryOf(h.status.Epoch, h.status.View) != 0 && entry.View < h.status.View {
		c.s.covered.count(EventInheritedCommitted)
	}
	if entry.Kind == core.EntryReconfiguration {
		c.begins(h, entry)
	} else {
		c.firstApplied(h, entry.Op, now.operation)
	}
	c.coverWitness(entry)
	if group := c.epochAt(entry.Op); c.holders(group, entry.Op, entry.Hash, nil) < group.quorum() && !c.s.options.OutcomesOnly {
		holders := c.holders(group, entry.Op, entry.Hash, nil)
		c.s.violated(claimQuorum, "r%d applies %d/v%d, which %d replicas have", h.id, entry.Op, entry.View, holders)
	}
}

func (c *checks) compare(h *host, op core.OpNumber, now commitRecord) {
	first := c.committed[op-1]
	if first.hash != now.hash || first.view != now.view || first.operation != now.operation {
		c.s.violated(claimCommitted, "r%d has operation %d of view %d at %d, where operation %d of view %d was applied before",
			h.id, now.operation, now.view, op, first.operation, first.view)
		return
	}
	if first.state != now.state {
		c.s.violated(claimState, "r%d has state %x at %d, and another had %x", h.id, now.state, op, first.state)
	}
}

func (c *checks) firstApplied(h *host, op core.OpNumber, applied operation) {
	if applied == 0 || int(applied) > len(c.operations) {
		c.s.violated(claimOnce, "r%d applies at %d what nobody proposed (operation %d)", h.id, op, applied)
		return
	}
	record := &c.operations[applied-1]
	if record.appliedAt != 0 || record.refused {
		c.s.violated(claimOnce, "r%d applies operation %d at %d, applied before at %d, refused %v",
			h.id, applied, op, record.appliedAt, record.refused)
	}
	record.appliedAt = op
}

// holders counts the replicas of a group, but for one, on whose disks an entry is, whether they run or not.
func (c *checks) holders(group *epochRecord, op core.OpNumber, hash core.Hash, but *host) int {
	count := 0
	for _, h := range c.s.hosts {
		if h != but && group.holds(h, op, hash) {
			count++
		}
	}
	return count
}

// refused: a replica has said that these operations certainly did not and will not happen.
func (c *checks) refused(operations span) {
	for o := operations.first; o <= operations.last; o++ {
		record := &c.operations[o-1]
		record.refused = true
		if record.appliedAt != 0 {
			c.s.violated(claimOnce, "operation %d is refused and was applied at %d", o, record.appliedAt)
		}
	}
}

func (c *checks) acknowledged(h *host, proposed operation, entry *core.Entry) {
	c.s.covered.count(EventAcknowledged)
	if applied := operationID(entry.Payload); applied != proposed {
		c.s.violated(claimAcknowledged, "r%d acknowledges operation %d at %d, where operation %d is", h.id, proposed, entry.Op, applied)
	}
	c.see(entry.Op)
}

func (c *checks) answered(h *host, read core.Read, floor core.OpNumber) {
	if c.s.tracing() {
		c.s.trace(h, "read %d: %v", read.Token, read.OK)
	}
	if !read.OK {
		c.s.covered.count(EventReadFailed)
		return
	}
	c.s.covered.count(EventReadOK)
	c.s.countIf(read.Lease, EventReadByLease)
	c.s.countIf(!read.Lease, EventReadByRound)
	if h.machine.applied < floor {
		c.s.violated(claimReads, "r%d answers read %d at %d; %d was told before it was asked for", h.id, read.Token, h.machine.applied, floor)
	}
	c.see(h.machine.applied)
	if c.s.liveness.begun {
		c.s.liveness.readOK = true
	}
}

// leadership checks a replica's claim to lead: nobody else ever made it for that view, and everything that
// was committed in earlier views is applied.
func (c *checks) leadership(h *host, now *core.Leadership) {
	was := h.leading
	h.leading = now.Leading
	if !now.Leading {
		if status := h.replica.Status(); was && status.View == now.View && status.Status == core.StatusNormal {
			c.s.covered.count(EventSteppedDown)
		}
		return
	}
	if h.witness {
		c.s.violated(claimWitness, "r%d leads view %d", h.id, now.View)
	}
	c.s.covered.count(EventLed)
	h.led = now.View
	own := leader{epoch: h.status.Epoch, id: h.id}
	if h.running() {
		own.epoch = h.replica.Status().Epoch
	}
	if other, led := c.leaders[now.View]; led && other != own {
		c.s.violated(claimPrimary, "%+v leads view %d, which %+v led", own, now.View, other)
	}
	for view, other := range c.leaders {
		if view < now.View && other.epoch > own.epoch || view > now.View && other.epoch < own.epoch {
			c.s.violated(claimPrimary, "%+v leads view %d, and %+v led view %d", own, now.View, other, view)
		}
	}
	c.leaders[now.View] = own
	inherited := len(c.committed)
	for inherited > 0 && c.committed[inherited-1].view >= now.View {
		inherited--
	}
	if int(h.machine.applied) < inherited {
		c.s.violated(claimLeads, "r%d leads view %d with %d applied; %d are committed in earlier views",
			h.id, now.View, h.machine.applied, inherited)
	}
}

// finally is checked when the liveness phase is over.
func (c *checks) finally(quorum []*host) {
	for _, h := range quorum {
		if h.witness {
			continue
		}
		if int(h.machine.applied) != len(c.committed) || h.machine.applied < c.visible {
			c.s.violated(claimAcknowledged, "r%d has applied %d of %d, and %d were told", h.id, h.machine.applied, len(c.committed), c.visible)
			return
		}
		last := h.machine
		if last.applied > 0 && c.committed[last.applied-1].state != last.state {
			c.s.violated(claimState, "r%d ends in state %x at %d", h.id, last.state, last.applied)
		}
	}
}
