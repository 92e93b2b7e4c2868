package core

// HasReady reports whether Ready would hold anything.
func (r *Replica) HasReady() bool {
	if r.failure != nil {
		return len(r.reads) > 0 || len(r.staleness.answered) > 0 || len(r.dropped) > 0 || r.leadership != nil || r.handedOver != nil || r.reconfigured != nil
	}
	return len(r.out) > 0 || r.stateChanged() || r.logChanged() ||
		r.commit > r.applied || len(r.reads) > 0 || len(r.staleness.answered) > 0 || len(r.dropped) > 0 || r.leadership != nil || r.fetch != nil ||
		r.handedOver != nil || r.reconfigured != nil || r.entered != nil ||
		r.primary != nil && !r.primary.deaf && (len(r.primary.asked) > 0 || r.primary.fresh || r.owesPrepare())
}

// owesPrepare reports whether a backup can be sent a PREPARE.
func (r *Replica) owesPrepare() bool {
	for i := range r.primary.backups {
		if r.hasRoom(&r.primary.backups[i]) {
			return true
		}
	}
	return false
}

func (r *Replica) stateChanged() bool {
	epoch := r.membership.Epoch > 0 && r.record != r.hardState.Membership && !r.config.Omit.Has(RuleEpochDurable)
	return epoch || r.view != r.hardState.View || r.lastNormalView != r.hardState.LastNormalView
}

// Ready returns what the driver has to do. Between Ready and Advance no other method may be called but Status.
func (r *Replica) Ready() Ready {
	if r.failure != nil {
		ready := Ready{
			Reads: r.reads, StaleReads: r.staleness.answered, Dropped: r.dropped, Leadership: r.leadership, Handover: r.handedOver,
			Reconfiguration: r.reconfigured,
		}
		r.ready, r.synced, r.handed = true, false, r.applied
		return ready
	}
	r.flushPrimary()
	ready := Ready{
		Messages: r.out, FetchCheckpoint: r.fetch, Reads: r.reads, StaleReads: r.staleness.answered, Dropped: r.dropped, Leadership: r.leadership,
		Handover:        r.handedOver,
		Reconfiguration: r.reconfigured, Membership: r.entered,
	}
	if r.recontact {
		r.recontact, ready.Contacts = false, r.Contacts()
	}
	r.changeLog(&ready)
	promised := r.stateChanged()
	if promised || len(ready.Entries) > 0 || ready.Truncate || ready.Replace != nil {
		// The commit-number rides along: it saves work after a restart and costs nothing here.
		ready.HardState = &HardState{View: r.view, LastNormalView: r.lastNormalView, Commit: min(r.commit, r.log.last()), Membership: r.record}
		if r.config.Omit.Has(RuleEpochDurable) {
			ready.HardState.Membership = r.hardState.Membership
		}
		ready.MustSync = r.mustSync(&ready, promised)
	}
	ready.Deferrable = r.deferrable(&ready, promised)
	if len(r.deferred) > 0 && hasPromise(ready.Messages) {
		ready.MustSync = true
	}
	r.synced = ready.MustSync
	if promised && !r.config.Omit.Has(RuleViewDurable) {
		for i := range ready.Messages {
			ready.Messages[i].BeforePersist = false
		}
	}
	r.ready, r.handed = true, r.commit
	if len(r.dropped) > 0 {
		r.handed = max(r.applied, min(r.commit, r.applyMax))
	}
	ready.Committed = r.log.slice(r.applied+1, r.handed)
	return ready
}

// mustSync reports whether a Ready has to reach the disk. What is acknowledged without that may be lost in a crash,
// and is recovered from the others; a promise of a view is not.
func (r *Replica) mustSync(ready *Ready, promised bool) bool {
	switch {
	case promised && r.config.Omit.Has(RuleViewDurable):
		return len(ready.Entries) > 0 || ready.Truncate
	case r.config.Durability == DurabilitySync, ready.Replace != nil:
		return true
	default:
		return promised
	}
}

// Advance says that everything in the last Ready is done.
func (r *Replica) Advance() {
	if r.ready && r.synced {
		r.deferred = nil
	}
	r.advance()
}

// advance is what Advance and Defer have in common.
func (r *Replica) advance() {
	if !r.ready {
		return
	}
	r.ready = false
	clear(r.out) // what the messages refer to may go; their room is used again
	r.out = r.out[:0]
	r.reads, r.dropped, r.leadership, r.fetch, r.compacted, r.handedOver = nil, nil, nil, nil, 0, nil
	r.reconfigured, r.entered, r.staleness.answered = nil, nil, nil
	r.applied = r.handed
	if r.failure != nil {
		return
	}
	r.hardState = HardState{View: r.view, LastNormalView: r.lastNormalView, Membership: r.record}
	r.log.persisted, r.log.unstable = r.log.last(), r.log.last()+1
	r.renew = r.renew && r.lacksLog()
	if r.primary != nil {
		r.primary.durable = r.durableTo()
		r.countAcknowledged()
	}
	r.settleStale()
	r.advanceHandover()
	r.checkInvariants()
}

// Applied is the last operation that the state machine has, as far as Advance was called; of a witness, the last one that is
// known to be committed.
func (r *Replica) Applied() OpNumber { return r.applied }

// ReplicaStatus describes a replica at a moment.
type ReplicaStatus struct {
	Status Status
	// Epoch is the one that the replica is in, Members are its members, ascending. For a replica that is none of them, it
	// is the last epoch that it knows.
	Epoch   EpochNumber
	Members []ReplicaID
	// Member: this replica is one of them. Learners is how many replicas that want to become members are heard.
	Member         bool
	Learners       int
	View           ViewNumber
	LastNormalView ViewNumber
	Primary        ReplicaID // of View; 0 in view 0
	Op             OpNumber
	Commit         OpNumber
	Applied        OpNumber
	FirstRetained  OpNumber
	Checkpoint     CheckpointMeta
	Leading        bool
	Transferring   bool
	// HandingOver: a handover is under way. Successor is who this replica has left its view for; 0 before that.
	HandingOver bool
	Successor   ReplicaID
	// Awaited is a later view that a lease which this replica granted keeps it from; 0: none.
	Awaited ViewNumber
}

// Standing is what of a replica's status its part in the protocol depends on: cheap enough to be looked at around every
// step.
type Standing struct {
	Status  Status
	Epoch   EpochNumber
	View    ViewNumber
	Awaited ViewNumber // as in ReplicaStatus
}

// Standing tells the replica's standing.
func (r *Replica) Standing() Standing {
	return Standing{Status: r.status, Epoch: r.membership.Epoch, View: r.view, Awaited: r.awaited()}
}

// awaited is a later view that a lease keeps this replica from; 0: none.
func (r *Replica) awaited() ViewNumber {
	if r.leasing.awaited > r.view {
		return r.leasing.awaited
	}
	return 0
}

// Status describes the replica.
func (r *Replica) Status() (status ReplicaStatus) {
	r.Describe(&status)
	return status
}

// Describe is Status in the memory of a status that is no longer needed.
func (r *Replica) Describe(status *ReplicaStatus) {
	status.Status, status.Epoch, status.Members = r.status, r.membership.Epoch, r.config.Members
	status.Member, status.Learners = r.member, len(r.learners)
	status.View, status.LastNormalView, status.Primary = r.view, r.lastNormalView, r.primaryOf(r.view)
	status.Op, status.Commit, status.Applied = r.log.last(), r.commit, r.applied
	status.FirstRetained, status.Checkpoint = r.log.base.Op+1, r.checkpoint
	status.Leading, status.Transferring, status.Awaited = r.leads, r.transfer != nil, r.awaited()
	status.HandingOver, status.Successor = r.handover != nil, 0
	if h := r.handover; h != nil && h.view > 0 {
		status.Successor = h.to
	}
}
