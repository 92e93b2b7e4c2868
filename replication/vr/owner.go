package vr

import (
	"fmt"
	"runtime"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// owner is the one goroutine that holds the core, the state machine's Apply and, but for what behind writes, the
// storage's Write. What comes while it is busy waits in the mailbox.
type owner struct {
	*Replica
	core *core.Replica

	// applied is what the state machine has; checkpointed is the newest durable checkpoint.
	applied, checkpointed core.OpNumber
	appliedBytes          int // since the newest snapshot was taken
	leading               bool
	view                  core.ViewNumber
	seen                  core.ReplicaStatus // as observe saw it last

	pending pendings
	reads   map[uint64][]read // by the token that the core knows them by
	token   uint64
	stale   map[uint64]*staleRead // by the token that the core knows them by
	handing *handover             // the caller of the handover that is under way
	// changing is the caller of the reconfiguration that was proposed.
	changing *reconfiguration

	behind behind

	job     jobKind               // what runs
	wanted  *core.FetchCheckpoint // to be fetched when nothing runs
	resting int                   // ticks until a checkpoint is tried again
	// damaged: the storage was, and the log that replaces it is not here yet. renewing: the checkpoint is, and a new one
	// is to be written.
	damaged, renewing bool
	writing           []chan<- error // callers of Checkpoint, served by the job that runs
	asking            []chan<- error // callers of Checkpoint, served by the next one

	// Memory that is used again.
	spare    work
	payloads [][]byte
	answers  []answer
}

func newOwner(r *Replica, machine *core.Replica, loaded Loaded) *owner {
	return &owner{
		Replica: r, core: machine, applied: loaded.Checkpoint.Op, checkpointed: loaded.Checkpoint.Op, view: loaded.HardState.View,
		damaged: len(loaded.Damage) > 0, behind: newBehind(r.options.Storage), reads: map[uint64][]read{}, stale: map[uint64]*staleRead{}, seen: core.ReplicaStatus{View: loaded.HardState.View},
	}
}

// run drives the core until Close, or until something happens after which it must not go on.
func (o *owner) run() {
	defer close(o.stopped)
	o.jobs.Go(o.behind.run)
	ticker := time.NewTicker(o.options.TickInterval)
	defer ticker.Stop()
	o.observe(ownRestart)
	err := o.drain()
	for err == nil {
		ticked := false
		select {
		case <-o.mailbox.wake:
		case <-ticker.C:
			ticked = true
		case written := <-o.behind.done:
			if err = o.wrote(written); err != nil {
				continue
			}
			o.core.Durable(o.behind.durable)
		case <-o.stopping:
			o.finish(nil)
			return
		}
		runtime.Gosched() // who was just answered may submit again, into the same batch
		taken := o.mailbox.take(o.spare)
		err = o.feed(&taken, ticked)
		taken.clear()
		o.spare = taken
		if err == nil {
			err = o.drain()
		}
		o.publish()
	}
	o.finish(err)
}

// feed gives the core everything that waited. Time passes after the messages: a heartbeat that arrived during a
// long fsync counts before the time-out that it prevents.
func (o *owner) feed(taken *work, ticked bool) error {
	if taken.damage != nil {
		o.checkpointDamaged(taken.damage)
	}
	if taken.finished != nil {
		if err := o.jobFinished(taken.finished); err != nil {
			o.refuseWork(taken, stoppedBy(err))
			return err
		}
	}
	// After everything has arrived that was taken, and before the core sees any of it.
	o.core.SetTime(o.clock())
	for i := range taken.messages {
		o.step(&taken.messages[i])
	}
	if ticked {
		o.resting = max(o.resting-1, 0)
		o.core.Tick()
		o.observe(primaryLost)
	}
	o.askCheckpoints(taken.checkpoints)
	o.propose(taken.proposals)
	o.askReads(taken.reads)
	o.askStale(taken.stale)
	o.handOver(taken.handovers)
	o.reconfigure(taken.reconfigurations)
	return nil
}

// drain acts on everything that the core has ready, and starts a checkpoint when one is due.
func (o *owner) drain() error {
	for {
		for o.core.HasReady() {
			o.observe(higherView)
			ready := o.core.Ready()
			deferred, err := o.act(&ready)
			if err != nil {
				return err
			}
			o.advance(deferred)
		}
		o.observe(higherView)
		if err := o.core.Failure(); err != nil {
			return err
		}
		if err := o.startJob(); err != nil {
			return err
		}
		if !o.core.HasReady() {
			return nil
		}
	}
}

// act does what a Ready says, in the order that it demands: a message that promises something leaves after the
// promise is durable, an answer after the operation is applied. It reports whether the Ready is deferred.
func (o *owner) act(ready *core.Ready) (deferred bool, err error) {
	if ready.Contacts != nil {
		o.options.Transport.Reach(ready.Contacts)
	}
	o.answerStale(ready.StaleReads)
	o.send(ready.Messages, true)
	if deferred, err = o.persist(ready); err != nil {
		return false, err
	}
	o.send(ready.Messages, false)
	if ready.FetchCheckpoint != nil && o.job != jobFetches {
		// While one is being fetched there is no need to remember another: when it ends the core asks anew.
		o.wanted = ready.FetchCheckpoint
	}
	if err := o.apply(ready.Committed); err != nil {
		return false, err
	}
	o.answerReads(ready.Reads)
	for _, dropped := range ready.Dropped {
		o.answerUnknown(o.pending.takeRange(dropped.First, dropped.Last), errDropped)
	}
	if ready.Leadership != nil {
		o.report(*ready.Leadership)
	}
	if ready.Handover != nil {
		o.answerHandover(ready.Handover)
	}
	if ready.Membership != nil {
		o.enter(ready.Membership)
	}
	if ready.Reconfiguration != nil {
		o.answerReconfiguration(ready.Reconfiguration)
	}
	return deferred, nil
}

// send sends the messages that may leave before the Ready is durable, or the others. A PREPARE that goes to all
// backups is encoded once.
func (o *owner) send(messages []core.Outgoing, beforePersist bool) {
	var last *core.Message
	var payload []byte
	for i := range messages {
		if messages[i].BeforePersist != beforePersist {
			continue
		}
		m := &messages[i].Message
		if last == nil || !sameContent(last, m) {
			last, payload = m, encodeMessage(m)
		}
		o.counters.sent.add(m.Kind, len(payload))
		o.counters.countGrant(m)
		o.traceMessage(TraceSent, m, nil)
		o.options.Transport.Send(m.To, payload)
	}
}

// persist makes durable what has to be, or has it written behind the owner, and reports whether that is so.
func (o *owner) persist(ready *core.Ready) (deferred bool, err error) {
	batch := Batch{
		HardState: ready.HardState, Truncate: ready.Truncate, TruncateAbove: ready.TruncateAbove, Entries: ready.Entries,
		TruncateBelow: ready.TruncateBelow, Replace: ready.Replace, Sync: ready.MustSync,
	}
	nothing := batch.HardState == nil && !batch.Truncate && len(batch.Entries) == 0 && batch.TruncateBelow == 0 && batch.Replace == nil
	switch {
	case ready.Deferrable && o.behind.hasRoom():
		o.behind.give(batch)
		return true, nil
	case nothing && !ready.MustSync:
		return false, nil
	}
	if err := o.settle(); err != nil || nothing {
		return false, err
	}
	began := time.Now()
	if err := o.options.Storage.Write(batch); err != nil {
		return false, fmt.Errorf("vr: write: %w", err)
	}
	if ready.MustSync {
		o.counters.durableWrites.Add(time.Since(began))
		o.trace(TraceEvent{Kind: TraceDurable, Durable: o.seen.Op})
	}
	o.counters.entriesPersisted.Add(uint64(len(ready.Entries)))
	return false, nil
}

// apply executes what is committed. A RECONFIGURATION is the group's own: the state machine's op-numbers skip it.
func (o *owner) apply(entries []core.Entry) error {
	for len(entries) > 0 {
		run := 0
		for run < len(entries) && entries[run].Kind == core.EntryOperation {
			run++
		}
		if err := o.applyRun(entries[:run]); err != nil {
			return err
		}
		if entries = entries[run:]; len(entries) > 0 {
			o.applied = entries[0].Op
			entries = entries[1:]
		}
	}
	return nil
}

// applyRun executes a contiguous run of operations and answers for those that were proposed here.
func (o *owner) applyRun(entries []core.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	operations, size := make([][]byte, len(entries)), 0
	for i := range entries {
		if want := o.applied + 1 + core.OpNumber(i); entries[i].Op != want {
			return fmt.Errorf("vr: broken invariant: operation %d is committed where %d is to be applied", entries[i].Op, want)
		}
		operations[i] = entries[i].Payload
		size += len(entries[i].Payload)
	}
	results := o.options.StateMachine.Apply(replication.OpNumber(entries[0].Op), operations)
	if len(results) != len(operations) {
		return fmt.Errorf("%w: Apply returned %d results for %d operations", errStateMachine, len(results), len(operations))
	}
	o.applied = entries[len(entries)-1].Op
	o.appliedBytes += size
	o.counters.operationsApplied.Add(uint64(len(entries)))
	o.answerApplied(entries, results)
	return nil
}

// report tells a change of leadership. The channel has room for one event, and this is its only writer: after
// the old one is out, the new one fits.
func (o *owner) report(leadership core.Leadership) {
	o.leading = leadership.Leading
	o.options.Logger.Info("leadership", "group", o.options.Group, "replica", o.options.Self, "leading", leadership.Leading, "view", leadership.View)
	select {
	case <-o.events:
	default:
	}
	o.events <- replication.Event{Leading: leadership.Leading, View: replication.ViewNumber(leadership.View)}
}

// publish lets Status see where the core is.
func (o *owner) publish() {
	status := o.core.Status()
	if status.View != o.view {
		o.options.Logger.Info("view", "group", o.options.Group, "replica", o.options.Self, "view", status.View, "status", status.Status.String(),
			"primary", status.Primary)
		o.view = status.View
	}
	if o.status.Status == core.StatusRecovering && status.Status != core.StatusRecovering {
		o.repaired(&status)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status, o.lease = status, o.core.HoldsLease()
	o.publishAge()
	if o.membership.Members == nil || o.membership.Epoch != uint64(status.Epoch) {
		o.membership = describeMembership(o.core.Membership())
	}
}

// finish ends the replica's part in the group and answers everyone who waits: for good when err is not nil.
func (o *owner) finish(err error) {
	refusal := replication.ErrClosed
	if err != nil {
		refusal = stoppedBy(err)
		o.options.Logger.Error("replica stopped", "group", o.options.Group, "replica", o.options.Self, "failure", err)
	}
	rest := o.mailbox.close(refusal)
	o.options.Transport.Receive(nil)
	o.options.Transport.ServeCheckpoints(nil)
	o.cancel()
	close(o.behind.given)
	o.serving.close()
	o.mu.Lock()
	o.failure, o.status.Leading, o.lease = err, false, false
	o.asOf.Store(nil)
	o.mu.Unlock()
	o.refuseWork(&rest, refusal)
	if err == nil {
		err = errClosing
	} else {
		o.trace(TraceEvent{Kind: TraceStopped, Err: err})
	}
	o.answerUnknown(o.pending.takeAll(), err)
	for _, waiting := range o.reads {
		for _, read := range waiting {
			read.done(refusal)
		}
	}
	for _, asked := range o.stale {
		asked.done <- staleAnswer{err: refusal}
	}
	for _, done := range append(o.writing, o.asking...) {
		done <- refusal
	}
	if o.leading {
		o.report(core.Leadership{View: o.view})
	}
}

// refuseWork answers work that was never begun: a certain error.
func (o *owner) refuseWork(rest *work, refusal error) {
	for _, p := range rest.proposals {
		p.done(replication.Result{Err: refusal})
	}
	for _, read := range rest.reads {
		read.done(refusal)
	}
	for _, done := range rest.checkpoints {
		done <- refusal
	}
	o.refuseHandovers(rest.handovers, refusal)
	o.refuseStale(rest.stale, refusal)
	o.refuseReconfigurations(rest.reconfigurations, refusal)
}

// stoppedBy is what callers of a replica that has failed are told: certainly nothing happens any more.
func stoppedBy(err error) error { return fmt.Errorf("%w: %w", replication.ErrClosed, err) }
