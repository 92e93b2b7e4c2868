package vr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// checkpointRest is how long no checkpoint is tried, but for those who call Checkpoint, after one for which the disk
// had no space.
const checkpointRest = 10 * time.Second

// jobKind is what runs beside the owner: one job at a time, so that checkpoints only ever become newer.
type jobKind uint8

const (
	jobNone jobKind = iota
	jobWrites
	jobFetches
)

// finishedJob is what a background job tells the owner: a checkpoint of this replica is written, or one of another
// replica fetched.
type finishedJob struct {
	meta    core.CheckpointMeta
	fetched bool
	from    core.ReplicaID // whom it was fetched from
	// missed: the peer or the way to it failed; the core asks again. err: this replica's own storage or state
	// machine did, and the replica stops.
	missed, err error
}

// askCheckpoints takes the callers of Checkpoint. What is applied at this moment has to be in theirs.
func (o *owner) askCheckpoints(callers []chan<- error) {
	for _, done := range callers {
		if o.applied == o.checkpointed || o.options.isWitness() {
			done <- nil
		} else {
			o.asking = append(o.asking, done)
		}
	}
}

// askAgain answers the callers of Checkpoint whom the checkpoint that has just become durable serves, though it
// was begun before they asked.
func (o *owner) askAgain() {
	asking := o.asking
	o.asking = nil
	o.askCheckpoints(asking)
}

// startJob starts what is due, when nothing runs. A checkpoint to fetch comes first: without it this replica is
// of no use to the group.
func (o *owner) startJob() error {
	o.passOver()
	if o.job != jobNone {
		return nil
	}
	if wanted := o.wanted; wanted != nil {
		o.wanted = nil
		if wanted.Meta.Op <= o.applied || o.resting > 0 {
			o.core.CheckpointFailed() // it is not needed any more, or there is no space for it
			return nil
		}
		o.job = jobFetches
		o.counters.fetchesBegun.Add(1)
		o.trace(TraceEvent{Kind: TraceFetch, From: wanted.From, Checkpoint: wanted.Meta})
		o.options.Logger.Info("fetching a checkpoint", "group", o.options.Group, "replica", o.options.Self, "from", wanted.From, "op", wanted.Meta.Op)
		o.jobs.Go(o.fetching(wanted))
		return nil
	}
	to := o.checkpointTo()
	since := uint64(to - o.checkpointed)
	due := o.resting == 0 && (o.renewing || o.options.isWitness() || since >= o.options.CheckpointEvery || o.appliedBytes >= o.options.CheckpointBytes)
	if since == 0 && !o.renewing || len(o.asking) == 0 && !due {
		return nil
	}
	meta, ok := o.core.MetaAt(to)
	if !ok && to < o.core.Membership().Op {
		return nil // this replica leaves, and has lost the end of an epoch that is over: no checkpoint before it is here again
	}
	if !ok {
		return fmt.Errorf("vr: broken invariant: operation %d is applied and not in the log", to)
	}
	snapshot, err := o.options.StateMachine.Snapshot()
	if err != nil {
		return fmt.Errorf("%w: snapshot at operation %d: %w", errStateMachine, o.applied, err)
	}
	o.job, o.appliedBytes, o.renewing = jobWrites, 0, false
	o.counters.checkpointsBegun.Add(1)
	o.writing, o.asking = o.asking, nil
	o.jobs.Go(func() { o.mailbox.putFinished(finishedJob{meta: meta, err: o.writeCheckpoint(meta, snapshot)}) })
	return nil
}

// fetching is the job of a fetch.
func (o *owner) fetching(wanted *core.FetchCheckpoint) func() {
	members := o.core.Membership()
	above, others := o.applied, slices.DeleteFunc(memberIDs(o.core.Contacts()), members.IsWitness)
	return func() {
		if o.options.isWitness() {
			o.mailbox.putFinished(o.takePlace(wanted))
		} else {
			o.mailbox.putFinished(o.fetchCheckpoint(wanted, others, above))
		}
	}
}

// writeCheckpoint runs beside the owner.
func (r *Replica) writeCheckpoint(meta core.CheckpointMeta, snapshot replication.Snapshot) error {
	defer snapshot.Release()
	writer, err := r.options.Storage.CreateCheckpoint(meta)
	if err != nil {
		return fmt.Errorf("vr: checkpoint at operation %d: %w", meta.Op, err)
	}
	if _, err = snapshot.WriteTo(endingWriter{ctx: r.background, writer: writer, written: &r.counters.checkpointBytes}); err == nil {
		err = writer.Commit()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("vr: checkpoint at operation %d: %w", meta.Op, err), writer.Abort())
	}
	return nil
}

// endingWriter ends a long write when the replica closes.
type endingWriter struct {
	ctx     context.Context
	writer  io.Writer
	written *atomic.Uint64
}

func (w endingWriter) Write(data []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	w.written.Add(uint64(len(data)))
	return w.writer.Write(data)
}

// jobFinished takes over what a job has done.
func (o *owner) jobFinished(job *finishedJob) error {
	o.job = jobNone
	o.passOver()
	switch {
	case errors.Is(job.err, ErrNoSpace):
		o.rest(job)
		return nil
	case job.err != nil:
		return job.err
	case !job.fetched:
		o.counters.checkpoints.Add(1)
		o.checkpointed = job.meta.Op
		o.core.RetainAbove(o.serving.replaced(job.meta.Op))
		o.core.CheckpointCreated(job.meta)
		o.observe(overtaken)
		o.publish() // who is told of the checkpoint finds it in the status
		for _, done := range o.writing {
			done <- nil
		}
		o.writing = nil
		o.askAgain()
		return nil
	case job.missed != nil:
		o.options.Logger.Warn("checkpoint not fetched", "group", o.options.Group, "replica", o.options.Self, "reason", job.missed)
		o.counters.fetchesFailed.Add(1)
		o.trace(TraceEvent{Kind: TraceFetchFailed, Err: job.missed})
		o.core.CheckpointFailed()
		return nil //nolint:nilerr // it is the peer that failed
	}
	o.counters.fetches.Add(1)
	o.trace(TraceEvent{Kind: TraceFetched, Checkpoint: job.meta})
	o.checkpointed = job.meta.Op
	if job.meta.Op <= o.applied {
		// Entries came another way meanwhile, and the state is already beyond it.
		o.core.CheckpointFailed()
		return nil
	}
	o.core.GoOnFrom(job.from)
	return o.install(job.meta)
}

// rest gives a checkpoint up for which the disk has no space. The log goes on without it: replicas with equal disks
// would all stop together otherwise.
func (o *owner) rest(job *finishedJob) {
	o.resting = max(1, int(checkpointRest/o.options.TickInterval))
	o.options.Logger.Error("no space left for a checkpoint; the log grows until there is", "group", o.options.Group, "replica", o.options.Self,
		"op", job.meta.Op, "error", job.err)
	if job.fetched {
		o.counters.fetchesFailed.Add(1)
		o.trace(TraceEvent{Kind: TraceFetchFailed, Err: job.err})
		o.core.CheckpointFailed()
		return
	}
	for _, done := range o.writing {
		done <- job.err
	}
	o.writing = nil
}

// install replaces the state by the fetched one, which is durable.
func (o *owner) install(meta core.CheckpointMeta) error {
	if err := o.restore(meta); err != nil {
		return err
	}
	o.applied, o.appliedBytes = meta.Op, 0
	// Whether the operations below it were this replica's own cannot be told from a state.
	o.answerUnknown(o.pending.takeRange(0, meta.Op), errDropped)
	o.core.CheckpointInstalled(meta)
	o.observe(overtaken)
	o.askAgain()
	return nil
}

func (r *Replica) noteDamage(err error) {
	if errors.Is(err, ErrDamaged) {
		r.mailbox.putDamage(err)
	}
}
