package core

import "slices"

// CheckpointCreated says that a checkpoint of this replica's own state is durable. The log is kept down to the
// checkpoint before it, so that a replica that is a little behind needs entries only.
func (r *Replica) CheckpointCreated(meta CheckpointMeta) {
	if r.failure != nil || meta.Op <= r.checkpoint.Op {
		return
	}
	if hash, ok := r.log.hashAt(meta.Op); !ok || hash != meta.Hash || meta.Op > r.applied {
		r.fail("a checkpoint at op-number %d was made, whose hash %x is not that of the log", meta.Op, meta.Hash)
		return
	}
	keep := r.checkpoint
	r.checkpoint = meta
	if r.retained > 0 && r.retained < keep.Op {
		keep, _ = r.MetaAt(max(r.retained, r.log.base.Op))
	}
	keep = r.keepForWitnesses(keep)
	if keep.Op > r.log.base.Op {
		r.log.dropBelow(keep)
		// The storage keeps the base itself too: after a restart its hash is known by that alone.
		r.compacted = keep.Op
	}
}

// RetainAbove keeps the log above an op-number, from the next checkpoint on; 0: above the checkpoint before the newest,
// as always. Another replica is fetching the checkpoint of that op-number, and will ask for what follows it.
func (r *Replica) RetainAbove(op OpNumber) { r.retained = op }

// MetaAt describes a checkpoint of the state after applying everything up to an op-number; false when that is
// not the op-number of a retained entry, or of an epoch that is over.
func (r *Replica) MetaAt(op OpNumber) (CheckpointMeta, bool) {
	switch {
	case op == r.checkpoint.Op:
		return r.checkpoint, true
	case op == r.log.base.Op:
		return r.log.base, true
	case op > r.log.base.Op && op <= r.log.last() && op >= r.membership.Op:
		e := r.log.at(op)
		meta := CheckpointMeta{Op: op, View: e.View, Hash: e.Hash}
		if r.membership.Epoch > 0 {
			meta.Membership = r.record
		}
		return meta, true
	default:
		return CheckpointMeta{}, false
	}
}

// fetchCheckpoint asks the driver for a checkpoint, since the entries that are missing are gone at the sender.
func (r *Replica) fetchCheckpoint(m *Message) {
	if m.Checkpoint.Op <= r.applied {
		return
	}
	r.fetching = true
	r.fetch = &FetchCheckpoint{From: m.From, Meta: m.Checkpoint}
}

// CheckpointInstalled says that a checkpoint from another replica is durable, and that the state machine has
// been restored from it. It must lie above everything that was applied. A log that is the same at its
// op-number goes on; any other is of a dead branch or too short, and starts anew above it.
func (r *Replica) CheckpointInstalled(meta CheckpointMeta) {
	if r.failure != nil {
		return
	}
	if meta.Op <= r.applied {
		r.fail("a checkpoint at op-number %d was installed over a state at %d", meta.Op, r.applied)
		return
	}
	hash, retained := r.log.hashAt(meta.Op)
	same := retained && hash == meta.Hash
	if retained && !same && meta.Op <= r.commit {
		r.fail("op-number %d is committed with hash %x here, and has %x in a checkpoint", meta.Op, hash, meta.Hash)
		return
	}
	if !same {
		r.abdicate()
		r.log.reset(meta)
		r.compacted = meta.Op + 1
	}
	r.checkpoint, r.applied, r.fetched, r.spared = meta, meta.Op, meta.Op, 0
	r.commit = max(r.commit, meta.Op)
	r.commitMax = max(r.commitMax, r.commit)
	r.skipApplying()
	if !r.enterCheckpoint(meta) {
		r.overtaken(same)
	}
	r.settleReconfiguration()
	r.settleStale()
	r.checkpointDone()
}

// enterCheckpoint enters the epoch that a checkpoint is of, if it is a later one, and reports whether it is.
func (r *Replica) enterCheckpoint(meta CheckpointMeta) bool {
	if meta.Membership == "" {
		return false
	}
	m, err := meta.Membership.Decode()
	switch {
	case err != nil || m.Op > meta.Op:
		r.fail("a checkpoint at op-number %d is of epoch %d, begun at %d: %v", meta.Op, m.Epoch, m.Op, err)
		return true
	case m.Epoch <= r.membership.Epoch:
		return false
	}
	r.enterEpoch(m)
	return true
}

// overtaken draws the conclusions from a state that came from elsewhere.
func (r *Replica) overtaken(same bool) {
	switch {
	case r.primary != nil && !same:
		// What this primary proposed is not the group's log any more.
		r.becomeViewChange(r.view + 1)
	case r.primary != nil:
		r.primary.bytes = 0
		for op := r.commit + 1; op <= r.log.last(); op++ {
			r.primary.bytes += len(r.log.at(op).Payload)
		}
	case r.status == StatusViewChange && r.transfer == nil:
		r.renewDoViewChange()
	}
}

// GoOnFrom says, before CheckpointInstalled, whom the checkpoint is from. That one has what follows it.
func (r *Replica) GoOnFrom(member ReplicaID) {
	if t := r.transfer; t != nil && t.kind != gather && slices.Contains(r.others, member) {
		t.from = member
	}
}

// CheckpointFailed says that the checkpoint which was asked for could not be fetched, or is not needed any more.
// The transfer that wanted it asks again after ResendTicks, another member where another can answer: one that
// cannot serve its checkpoint would otherwise be asked for it as fast as messages travel.
func (r *Replica) CheckpointFailed() {
	r.fetching = false
	if r.transfer != nil {
		r.transfer.ticks = 0
		r.rewind() // what is under way may still come, and joins nothing any more
	}
	if r.learning != nil {
		r.learning.ticks, r.learning.buffer, r.learning.below = 0, nil, r.commit
	}
}

// checkpointDone goes on with the transfer that is under way, if one is.
func (r *Replica) checkpointDone() {
	r.fetching = false
	if r.transfer != nil && r.failure == nil {
		r.restartTransfer()
	}
	if r.learning != nil && r.failure == nil {
		r.relearn()
	}
}
