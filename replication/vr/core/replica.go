package core

import (
	"errors"
	"fmt"
	"slices"
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

// restoreEpoch finds out which epoch this replica is in, and in which view. A checkpoint of a later epoch than that of
// the hard state was made durable just before the restart: nothing was promised yet in its epoch.
func (r *Replica) restoreEpoch(restored Restored) error {
	r.hardState, r.advised = restored.HardState, r.config.Members
	r.view, r.lastNormalView = r.hardState.View, r.hardState.LastNormalView
	newest := Membership{}
	for _, record := range []EncodedMembership{r.hardState.Membership, restored.Checkpoint.Membership} {
		if record == "" {
			continue
		}
		m, err := record.Decode()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRestored, err)
		}
		if m.Epoch > newest.Epoch && record != r.hardState.Membership {
			r.view, r.lastNormalView = m.View, m.View
		}
		if m.Epoch > newest.Epoch || newest.Members == nil {
			newest = m
		}
	}
	if newest.Members != nil {
		r.setMembership(newest)
		return nil
	}
	return r.firstMembership()
}

// firstMembership goes by the configuration, which tells the members of epoch 0, or, one who is to become a member,
// whom to ask.
func (r *Replica) firstMembership() error {
	first := Membership{}
	for _, id := range r.config.Members {
		if !r.config.Joining || id != r.config.Self || r.config.Omit.Has(RuleWipedStays) {
			first.Members = append(first.Members, Member{ID: id, Witness: id == r.config.FirstWitness})
			first.LargestID = id
		}
	}
	r.setMembership(first)
	if r.config.Joining && !r.member {
		r.record = "" // it was not told
		if !r.joins() {
			return fmt.Errorf("%w: replica %d cannot join %v: a new id is above all others", ErrConfig, r.config.Self, first.IDs())
		}
	}
	return nil
}

// restoreLog takes over checkpoint and entries. Entries that the checkpoint contradicts, or that end below it,
// were overtaken by a checkpoint from another replica just before the restart, and go.
func (r *Replica) restoreLog(restored Restored) error {
	r.checkpoint = restored.Checkpoint
	entries := restored.Entries
	for i := 1; i < len(entries); i++ {
		if entries[i].Op != entries[i-1].Op+1 {
			return fmt.Errorf("%w: op-number %d follows %d", ErrRestored, entries[i].Op, entries[i-1].Op)
		}
	}
	for i := range entries {
		// Whoever is no member has what is committed, of whatever view.
		if e := &entries[i]; e.View > r.lastNormalView && e.Op > restored.HardState.Commit {
			return fmt.Errorf("%w: entry %d is of view %d, above last-normal-view %d", ErrRestored, e.Op, e.View, r.lastNormalView)
		}
	}
	r.log = log{base: r.checkpoint, unstable: r.checkpoint.Op + 1, persisted: r.checkpoint.Op}
	if len(entries) == 0 {
		// A checkpoint of another replica may have become durable just before the restart: then storage's log still
		// ends somewhere below it, and has to be told to go on from there.
		if r.checkpoint.Op > 0 {
			r.compacted = r.checkpoint.Op + 1
		}
		return nil
	}
	first, last := entries[0], entries[len(entries)-1]
	switch {
	case first.Op > r.checkpoint.Op+1:
		return fmt.Errorf("%w: the log starts at %d, the checkpoint is at %d", ErrRestored, first.Op, r.checkpoint.Op)
	case first.Op == r.checkpoint.Op+1:
		r.log.entries = slices.Clone(entries)
	default:
		// The hash below the first entry is not known any more, so the first entry itself becomes the base.
		kept := log{base: CheckpointMeta{Op: first.Op, View: first.View, Hash: first.Hash}, entries: slices.Clone(entries[1:])}
		if m, err := r.checkpoint.Membership.Decode(); err == nil && m.Op <= first.Op {
			kept.base.Membership = r.checkpoint.Membership
		}
		hash, ok := kept.hashAt(r.checkpoint.Op)
		if ok && hash != r.checkpoint.Hash && r.checkpoint.Op <= restored.HardState.Commit {
			return fmt.Errorf("%w: op-number %d is committed with hash %x, and has %x in the checkpoint", ErrRestored,
				r.checkpoint.Op, hash, r.checkpoint.Hash)
		}
		if !ok || hash != r.checkpoint.Hash {
			r.log.persisted = last.Op
			r.compacted = r.checkpoint.Op + 1
			return nil
		}
		r.log = kept
	}
	r.log.persisted, r.log.unstable, r.log.bytes = last.Op, last.Op+1, bytesOf(r.log.entries)
	return nil
}

// restart decides how a replica takes part again whose log has all that it acknowledged: it needs no recovery
// protocol (docs/DIVERGENCE.md).
func (r *Replica) restart() {
	r.status = StatusNormal
	r.drawTimeout()
	switch {
	case r.view > r.lastNormalView:
		r.becomeViewChange(r.view)
	case r.view > 0 && r.primaryOf(r.view) == r.config.Self:
		// It may have sent PREPAREs that it does not remember; in its old view it could give their op-numbers
		// to other operations.
		if r.config.Omit.Has(RuleNeverResume) {
			r.becomePrimary()
			return
		}
		r.becomeViewChange(r.view + 1)
	case r.view == 0:
		// Nobody was ever primary; there is no one to wait for.
		r.timeout = r.config.HeartbeatTicks + int(r.config.Rand()%uint64(r.config.HeartbeatTicks))
		if len(r.others) == 0 {
			r.becomeViewChange(1)
		}
	}
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

// check refuses what no correct member sends, whatever state this replica is in.
func (r *Replica) check(m *Message) error {
	switch {
	case m.Kind < KindPrepare || m.Kind > KindNewCommitted:
		return fmt.Errorf("%w: unknown kind %d", ErrRefused, m.Kind)
	case m.To != r.config.Self:
		return fmt.Errorf("%w: %w: it is for replica %d", ErrRefused, ErrStranger, m.To)
	}
	if err := r.checkIncarnation(m); err != nil {
		return err
	}
	switch {
	case m.Kind >= KindStartEpoch:
		return r.checkEpoch(m)
	case m.Epoch != r.membership.Epoch && !r.config.Omit.Has(RuleEpochOfMessage):
		return nil // it counts for nothing, whatever it says
	case !r.member && (r.config.Incarnation > 0 || r.membership.Has(r.config.Self)):
		return nil // it is for another life of this replica
	case !r.member || !slices.Contains(r.others, m.From):
		return fmt.Errorf("%w: %w: replica %d is not another member", ErrRefused, ErrStranger, m.From)
	case m.View == 0 && m.Kind != KindProbe && m.Kind != KindProbeOK:
		return fmt.Errorf("%w: %v in view 0", ErrRefused, m.Kind)
	case m.View > viewMax:
		return fmt.Errorf("%w: %w: view %d", ErrRefused, ErrViewNumber, m.View)
	case m.LastNormalView > m.View:
		return fmt.Errorf("%w: last-normal-view %d above view %d", ErrRefused, m.LastNormalView, m.View)
	case (m.Kind == KindPrepare || m.Kind == KindCommit || m.Kind == KindStartView) && r.primaryOf(m.View) != m.From:
		return fmt.Errorf("%w: %v from replica %d, which is not primary of view %d", ErrRefused, m.Kind, m.From, m.View)
	case m.Kind == KindPrepare && len(m.Entries) == 0:
		return fmt.Errorf("%w: an empty PREPARE", ErrRefused)
	case m.Kind == KindDoViewChange && r.primaryOf(m.View) != r.config.Self:
		return fmt.Errorf("%w: DOVIEWCHANGE of view %d for another primary", ErrRefused, m.View)
	}
	if err := r.checkRecovery(m); err != nil {
		return err
	}
	return checkEntries(m)
}

// checkRecovery is check for the two messages of a recovery.
func (r *Replica) checkRecovery(m *Message) error {
	logged := m.Op != 0 || m.Commit != 0 || m.Hash != 0
	switch {
	case m.Kind != KindRecovery && m.Kind != KindRecoveryResponse:
		return nil
	case len(m.Entries) > 0:
		return fmt.Errorf("%w: %v with entries", ErrRefused, m.Kind)
	case m.Kind == KindRecovery && m.First == 0:
		return fmt.Errorf("%w: RECOVERY from op-number 0", ErrRefused)
	case m.Kind == KindRecovery:
		return nil
	case m.LastNormalView != m.View:
		return fmt.Errorf("%w: RECOVERYRESPONSE of view %d by a member that is not normal in it", ErrRefused, m.View)
	case logged && r.primaryOf(m.View) != m.From && !r.config.Omit.Has(RuleRecoveryPrimary):
		return fmt.Errorf("%w: RECOVERYRESPONSE with a log from replica %d, which is not primary of view %d", ErrRefused, m.From, m.View)
	case m.Commit > m.Op:
		return fmt.Errorf("%w: RECOVERYRESPONSE with commit-number %d above op-number %d", ErrRefused, m.Commit, m.Op)
	}
	return nil
}

// checkEntries holds a suffix against its own hashes.
func checkEntries(m *Message) error {
	previous := m.PreviousHash
	for i := range m.Entries {
		e := &m.Entries[i]
		switch {
		case e.Op != m.First+OpNumber(i) || e.Op == 0:
			return fmt.Errorf("%w: entry %d in the place of %d", ErrRefused, e.Op, m.First+OpNumber(i))
		case e.View > m.View && m.Kind != KindNewCommitted || e.View == 0 || e.View > viewMax:
			return fmt.Errorf("%w: entry %d of view %d in a message of view %d", ErrRefused, e.Op, e.View, m.View)
		case !e.Follows(previous):
			return fmt.Errorf("%w: entry %d does not link to the one below", ErrRefused, e.Op)
		}
		if e.Kind == EntryReconfiguration {
			if _, err := begunBy(e); err != nil {
				return fmt.Errorf("%w: entry %d: %w", ErrRefused, e.Op, err)
			}
		}
		previous = e.Hash
	}
	last := len(m.Entries) - 1
	switch {
	case last < 0 || m.Kind == KindNewState:
		return nil
	case m.Kind == KindNewCommitted && m.Entries[last].Op > m.Commit:
		// Who learns would keep what nobody says is committed, and could not be restarted with it.
		return fmt.Errorf("%w: entry %d above commit-number %d", ErrRefused, m.Entries[last].Op, m.Commit)
	case m.Kind != KindNewCommitted && m.Entries[last].Op > m.Op:
		return fmt.Errorf("%w: entry %d above op-number %d", ErrRefused, m.Entries[last].Op, m.Op)
	}
	return nil
}

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
