package core

import (
	"errors"
	"fmt"
)

// Replica is one replica's protocol state. It belongs to one goroutine.
type Replica struct {
	config Config
	// membership is that of the epoch which this replica is in, record its bytes; "" while nobody has told who the members
	// are. config.Members are its members.
	membership Membership
	record     EncodedMembership
	others     []ReplicaID // members, ascending
	// advised are those whom the configuration names, to be asked where no members are known who could be.
	advised []ReplicaID
	// quorum is f+1 of 2f+1 (and a majority of an even group).
	quorum int
	member bool // this replica is one
	flooring

	status Status
	// view and lastNormalView: the paper's v and v'. Invariant: lastNormalView <= view.
	view, lastNormalView ViewNumber
	log                  log
	// Invariant: applied <= commit <= log.last(). commitMax is the largest commit-number heard of in this view
	// or before it, which may lie above the log.
	commit, commitMax, applied OpNumber
	checkpoint                 CheckpointMeta
	// fetched is up to where the log came by a checkpoint, perhaps of a later view than this replica is in.
	fetched OpNumber
	// renew: storage is damaged, and its log is to be replaced as soon as this replica takes part.
	renew   bool
	failure error

	// elapsed counts ticks since the primary was heard, or since the view change began; timeout is drawn.
	// attempts counts view changes since the last normal view that worked.
	elapsed, timeout, attempts int
	// claims are views that members named and that are too far ahead to follow on one member's word.
	claims map[ReplicaID]ViewNumber

	probe      *probing
	viewChange *viewChanging // while status is view-change
	transfer   *transferring
	recovery   *recovery // while status is recovering
	primary    *leading  // while this replica is primary and status is normal
	handover   *handingOver
	leasing    leasing
	staleness  staleness

	// heard is a later epoch than this replica's, whose beginning is not here yet; epoch 0: none.
	heard    Membership
	learning *learning // while something is missing that only those of another epoch have
	leaving  *leaving  // while status is leaving
	learners []learner
	// told are those whom this replica has told of an epoch in the last toldTicks.
	told      []ReplicaID
	toldTicks int
	// parting is for how many more ticks those of the epoch before are contacts; recontact: the contacts have changed.
	parting       int
	recontact     bool
	reconfiguring *reconfiguring

	// deferred are the Readies that were deferred and are not durable, deferrals is the number of the last one.
	deferred  []deferral
	deferrals uint64

	// What the next Ready will hold.
	hardState  HardState // as storage has it
	out        []Outgoing
	reads      []Read
	dropped    []Dropped
	leadership *Leadership
	leads      bool
	handedOver *Handover
	// reconfigured is how a reconfiguration ended, entered an epoch that has begun.
	reconfigured *Reconfiguration
	entered      *Membership
	fetch        *FetchCheckpoint
	fetching     bool       // a checkpoint is on its way, by the driver: one at a time
	compacted    OpNumber   // first op-number to keep, when it has risen
	retained     OpNumber   // see RetainAbove
	spared       ViewNumber // one above the view whose primary was spared; see askElsewhere
	ready        bool       // a Ready is with the driver
	handed       OpNumber   // last op-number of Committed in it
	synced       bool       // its MustSync
	applyMax     OpNumber   // when dropped is not empty: the last op-number that Committed may go to
}

// New makes a replica from what its storage held; the zero Restored the first time. Errors are ErrConfig and
// ErrRestored.
func New(config Config, restored Restored) (*Replica, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	r := &Replica{config: config.withDefaults(), claims: map[ReplicaID]ViewNumber{}}
	if err := r.restoreEpoch(restored); err != nil {
		return nil, err
	}
	if r.failure != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, r.failure)
	}
	if err := r.restoreLog(restored); err != nil {
		return nil, err
	}
	if r.lastNormalView > r.view {
		return nil, fmt.Errorf("%w: last-normal-view %d above view %d", ErrRestored, r.lastNormalView, r.view)
	}
	r.renew = restored.Damaged
	r.commit = max(r.checkpoint.Op, min(restored.HardState.Commit, r.log.last()))
	r.commitMax, r.applied, r.fetched = r.commit, r.checkpoint.Op, r.checkpoint.Op
	r.skipApplying()
	r.startLeases()
	r.recontact = false // the driver asks for the contacts that a replica begins with
	if r.joins() && len(r.teachers()) == 0 {
		return nil, fmt.Errorf("%w: the only replica of its group is in a later life, and nobody has what it knew", ErrRestored)
	}
	if !r.member {
		r.takeRole()
		return r, nil
	}
	if r.recovers(restored) {
		if len(r.others) == 0 {
			return nil, fmt.Errorf("%w: the only replica of its group may have lost what it acknowledged, and nobody has it", ErrRestored)
		}
		r.becomeRecovering(restored)
		return r, nil
	}
	r.restart()
	return r, nil
}

// primaryOf gives a view's primary; view 0, before the first, has none.
func (r *Replica) primaryOf(view ViewNumber) ReplicaID {
	if view == 0 {
		return 0
	}
	return r.active[uint64(view)%uint64(len(r.active))]
}

// leadsView reports whether proposals and reads for a view are this replica's to take.
func (r *Replica) leadsView(view ViewNumber) bool {
	return r.leads && r.view == view
}

// drawTimeout draws the time-out anew, longer after each view change that did not work.
func (r *Replica) drawTimeout() {
	spread := uint64(r.config.ViewChangeTicksMax - r.config.ViewChangeTicksMin + 1)
	r.timeout = (r.config.ViewChangeTicksMin + int(r.config.Rand()%spread)) << min(max(r.attempts-1, 0), 3)
	r.elapsed = 0
}

// Step takes a message from another member. It returns ErrRefused, saying why, for one that no correct member
// sends; late and repeated messages are no errors.
func (r *Replica) Step(m Message) error {
	if r.failure != nil {
		return ErrStopped
	}
	if err := r.check(&m); err != nil {
		if errors.Is(err, ErrIncarnation) && m.From != r.config.Self {
			r.tellEpoch(m.From) // it may not have heard that its life is over
		}
		if m.Epoch != r.membership.Epoch && r.config.Omit.Has(RuleEpochOfMessage) {
			return nil // a mutant that refuses would be found by that
		}
		return err
	}
	switch {
	case m.Kind >= KindStartEpoch:
		r.stepEpoch(&m)
	case m.Epoch != r.membership.Epoch && !r.config.Omit.Has(RuleEpochOfMessage):
		r.otherEpoch(&m)
	case r.status == StatusRecovering:
		r.stepRecovering(&m)
	case !r.member: // late
	case r.withinReach(&m) && !r.heldBack(&m):
		r.handle(&m)
	}
	r.advanceHandover()
	r.checkInvariants()
	return nil
}

// handle gives a message to the handler of its kind.
func (r *Replica) handle(m *Message) {
	switch m.Kind {
	case KindPrepare:
		r.onPrepare(m)
	case KindPrepareOK:
		r.onPrepareOK(m)
	case KindCommit:
		r.onCommit(m)
	case KindCommitOK:
		r.onCommitOK(m)
	case KindStartViewChange:
		r.onStartViewChange(m)
	case KindDoViewChange:
		r.onDoViewChange(m)
	case KindStartView:
		r.onStartView(m)
	case KindGetState:
		r.onGetState(m)
	case KindNewState:
		r.onNewState(m)
	case KindProbe:
		r.onProbe(m)
	case KindProbeOK:
		r.onProbeOK(m)
	case KindRecovery:
		r.onRecovery(m)
	case KindRecoveryResponse: // late: it has recovered
	case KindStartEpoch, KindEpochStarted, KindGetCommitted, KindNewCommitted: // stepEpoch's
	}
}

// viewMax leaves room to count on from any view that is believed.
const viewMax = 1 << 62

// Tick lets one unit of time pass.
func (r *Replica) Tick() {
	if r.failure != nil {
		return
	}
	r.tickLearning()
	r.tickLeaving()
	r.tickContacts()
	if r.status == StatusRecovering || !r.member {
		r.tickRecovery()
		r.checkInvariants()
		return
	}
	if r.primary != nil {
		r.tickPrimary()
	} else {
		r.elapsed++
	}
	r.tickProbe()
	r.tickLeases()
	r.tickStale()
	r.tickViewChange()
	r.tickTransfer()
	r.tickHandover()
	r.advanceHandover()
	r.checkInvariants()
}

// send queues a message of the replica's own view.
func (r *Replica) send(to ReplicaID, m Message) {
	m.From, m.To, m.Epoch, m.Incarnation = r.config.Self, to, r.membership.Epoch, r.config.Incarnation
	if m.View == 0 {
		m.View = r.view
	}
	// Only what promises nothing new may overtake the disk: a primary's PREPARE and COMMIT.
	before := m.Kind == KindPrepare || m.Kind == KindCommit
	if m.Kind == KindPrepareOK && r.config.Omit.Has(RulePrepareOKDurable) || r.config.Omit.Has(RuleViewDurable) {
		before = true
	}
	r.out = append(r.out, Outgoing{Message: m, BeforePersist: before})
}

func (r *Replica) broadcast(m Message) {
	for _, to := range r.others {
		r.send(to, m)
	}
}

// fail stops the replica: an invariant is broken, and going on could destroy more.
func (r *Replica) fail(format string, arguments ...any) {
	if r.failure == nil {
		r.failure = fmt.Errorf("vr: replica %d: broken invariant: %s", r.config.Self, fmt.Sprintf(format, arguments...))
		r.stopLeading()
		r.status = StatusStopped
		r.settleReconfiguration()
	}
}

// Failure says which invariant was broken, or nil. A replica with a failure takes part in nothing.
func (r *Replica) Failure() error { return r.failure }
