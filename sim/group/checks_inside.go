package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// restarted checks what a replica starts from: a checkpoint of committed operations.
func (c *checks) restarted(h *host) {
	if c.violation == nil {
		c.installs(h, h.disk.checkpoint)
		c.observe(h)
	}
}

// installs checks that a checkpoint has the state that was committed at its op-number.
func (c *checks) installs(h *host, from checkpoint) {
	op := from.meta.Op
	if op == 0 {
		return
	}
	if int(op) > len(c.committed) {
		c.s.violated(claimCommitted, "r%d takes checkpoint %d; %d are committed", h.id, op, len(c.committed))
		return
	}
	at := c.committed[op-1]
	if at.state != from.state && !h.witness || at.hash != from.meta.Hash || at.view != from.meta.View {
		c.s.violated(claimState, "r%d takes a checkpoint at %d of view %d and state %x; committed are view %d and state %x",
			h.id, op, from.meta.View, from.state, at.view, at.state)
	}
	if epoch := c.epochAt(op + 1); from.meta.Membership != epoch.record {
		c.s.violated(claimState, "r%d takes a checkpoint at %d with the membership %x of epoch %d", h.id, op, from.meta.Membership, epoch.epoch)
	}
}

// observe compares a replica's status with the one seen before, in this life, and with its disk.
func (c *checks) observe(h *host) {
	before, now := h.status.Status, &h.status
	was, commit := reign{now.Epoch, now.View}, now.Commit
	h.replica.Describe(now)
	if failure := h.replica.Failure(); failure != nil {
		c.s.violated(claimRuns, "r%d has stopped: %v", h.id, failure)
		return
	}
	durable := reign{epochOf(h.disk.hardState.Membership), h.disk.hardState.View}
	is := reign{now.Epoch, now.View}
	if is.before(was) || now.Commit < commit || is.before(durable) {
		c.s.violated(claimNumbers, "r%d goes from view %v commit %d to view %v commit %d, with view %v on its disk",
			h.id, was, commit, is, now.Commit, durable)
		return
	}
	if h.claimed = h.claimed && is == was; now.Status < core.StatusStopped && !h.claimed {
		if primary := c.primaries[is]; primary != 0 && primary != now.Primary {
			c.s.violated(claimPrimary, "r%d takes r%d for the primary of view %v, another takes r%d", h.id, now.Primary, is, primary)
			return
		}
		c.primaries[is] = now.Primary
		h.claimed = now.Primary != 0
	}
	if now.Status == core.StatusNormal && (before != core.StatusNormal || was != is) {
		c.s.covered.count(EventViewEntered)
	}
	if before == core.StatusViewChange && was.before(is) {
		c.s.covered.count(EventViewAbandoned)
	}
	left := now.Status == core.StatusLeft && before != core.StatusLeft
	c.s.countIf(left, EventLeft)
	c.s.countIf(left && slices.Contains(now.Members, h.id), EventOutlived)
}

func (r reign) before(other reign) bool {
	return r.epoch < other.epoch || r.epoch == other.epoch && r.view < other.view
}

// sent checks a message that leaves: whoever speaks for a view is its primary, and what is promised is
// durable.
func (c *checks) sent(h *host, m *core.Message) {
	if m.From != h.id || m.To == h.id || m.To < 1 || int(m.To) > len(c.s.hosts) {
		c.s.violated(claimReady, "r%d sends %s", h.id, describe(m))
		return
	}
	if h.running() && takesPart(m.Kind) && h.replica.Standing().Status == core.StatusRecovering {
		c.s.violated(claimNoPart, "r%d recovers, and sends %s", h.id, describe(m))
		return
	}
	switch m.Kind {
	case core.KindPrepare, core.KindCommit, core.KindStartView:
		if primary := c.primaryOf(m.Epoch, m.View); primary != h.id {
			c.s.violated(claimPrimary, "r%d sends %s; the primary of that view is r%d", h.id, describe(m), primary)
			return
		}
	case core.KindPrepareOK, core.KindStartViewChange, core.KindDoViewChange, core.KindNewState, core.KindCommitOK,
		core.KindRecoveryResponse, core.KindEpochStarted:
	case core.KindStartEpoch, core.KindGetCommitted, core.KindNewCommitted, core.KindGetState, core.KindProbe, core.KindProbeOK, core.KindRecovery:
		return // they promise nothing
	default:
		c.s.violated(claimReady, "r%d sends %s", h.id, describe(m))
		return
	}
	if !c.s.options.OutcomesOnly {
		c.promised(h, m)
		c.speaks(h, m)
	}
}

// takesPart reports whether a message of a kind is more than a question, or what is certain in any epoch.
func takesPart(kind core.Kind) bool {
	switch kind {
	case core.KindRecovery, core.KindGetState, core.KindStartEpoch, core.KindGetCommitted:
		return false
	default:
		return true
	}
}

// promised checks a message that promises something about its sender against the sender's disk.
func (c *checks) promised(h *host, m *core.Message) {
	durable := h.disk.promised()
	epoch := epochOf(durable.Membership)
	switch {
	case m.Epoch > epoch:
		c.s.violated(claimPromise, "r%d sends %s of epoch %d with epoch %d on its disk", h.id, describe(m), m.Epoch, epoch)
	case m.Epoch < epoch: // an epoch that it has left
	case m.View > durable.View:
		c.s.violated(claimPromise, "r%d sends %s with view %d on its disk", h.id, describe(m), durable.View)
	case m.Kind == core.KindDoViewChange && m.LastNormalView > durable.LastNormalView:
		c.s.violated(claimPromise, "r%d sends %s with last-normal view %d on its disk", h.id, describe(m), durable.LastNormalView)
	case m.Kind == core.KindPrepareOK && m.View == durable.View && m.Op > h.disk.durableTo():
		c.s.violated(claimPromise, "r%d sends %s with %d on its disk", h.id, describe(m), h.disk.durableTo())
	}
}

// aboutToChange checks a batch before it becomes durable.
func (c *checks) aboutToChange(h *host, b *batch) {
	if c.s.options.OutcomesOnly {
		return
	}
	if state, durable := &b.hardState, &h.disk.hardState; b.states {
		was, is := epochOf(durable.Membership), epochOf(state.Membership)
		fell := is < was || is == was && (state.View < durable.View || state.LastNormalView < durable.LastNormalView)
		if fell || state.Commit < durable.Commit && !b.replace || state.LastNormalView > state.View {
			c.s.violated(claimDurable, "r%d goes from %+v to %+v", h.id, *durable, *state)
			return
		}
	}
	for i := range b.entries {
		entry := &b.entries[i]
		at := viewstamp{view: entry.View, op: entry.Op}
		if hash, known := c.viewstamps[at]; known && hash != entry.Hash {
			c.s.violated(claimViewstamp, "r%d writes %d/v%d with operation %d; another operation has that viewstamp",
				h.id, at.op, at.view, operationID(entry.Payload))
			return
		}
		c.viewstamps[at] = entry.Hash
	}
	c.s.countIf(b.replace, EventRepaired)
	if b.truncate || b.replace {
		c.truncates(h, b)
	}
	if b.truncateBelow > 0 {
		c.s.covered.count(EventLogTruncatedBelow)
	}
}

// truncates checks that what is committed has a quorum without a log that loses it. Such a log there may well
// be: a replica that had the operation uncommitted takes part in a view that began without it, while the next
// view, which has it from another replica, has committed it.
func (c *checks) truncates(h *host, b *batch) {
	last, any := h.disk.last()
	if !any || last <= b.truncateAbove {
		return
	}
	c.s.covered.count(EventLogTruncatedAbove)
	for op := max(b.truncateAbove, h.disk.checkpoint.meta.Op) + 1; op <= last && int(op) <= len(c.committed); op++ {
		committed := c.committed[op-1].hash
		if !h.disk.holds(op, committed) || contains(b.entries, op, committed) {
			continue
		}
		group := c.epochAt(op)
		if group.lacks(h) {
			return // what an old copy of its disk had, nobody counts on
		}
		if !c.kept(group, op, committed, h) {
			others := c.holders(group, op, committed, h)
			c.s.violated(claimKept, "r%d removes %d from its log, which is committed and which %d others have", h.id, op, others)
			return
		}
	}
}

// kept reports whether a quorum of an entry's group has it without one replica, or a quorum of a later group, which has
// taken over what was before it.
func (c *checks) kept(group *epochRecord, op core.OpNumber, hash core.Hash, but *host) bool {
	for i := range c.epochs {
		if e := &c.epochs[i]; e.epoch >= group.epoch && c.holders(e, op, hash, but) >= e.quorum() {
			return true
		}
	}
	return false
}

func contains(entries []core.Entry, op core.OpNumber, hash core.Hash) bool {
	if len(entries) == 0 || op < entries[0].Op {
		return false
	}
	at := int(op - entries[0].Op)
	return at < len(entries) && entries[at].Hash == hash
}
