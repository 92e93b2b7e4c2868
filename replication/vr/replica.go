package vr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/internal/notice"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

var (
	_ replication.Replicator        = (*Replica)(nil)
	_ replication.Measurer          = (*Replica)(nil)
	_ replication.PrimaryTransferer = (*Replica)(nil)
	_ replication.StaleReader       = (*Replica)(nil)
	_ replication.Reconfigurer      = (*Replica)(nil)
)

// Replica is one replica of a group. Its methods may be called from many goroutines at once.
type Replica struct {
	options  Options
	mailbox  *mailbox
	counters counters
	notices  *notice.Log
	serving  serving
	opened   time.Time
	events   chan replication.Event

	stopping chan struct{} // closed by the first Close
	stopOnce sync.Once
	stopped  chan struct{} // closed when the owner is gone
	closed   chan struct{} // closed when everything is gone
	closing  error         // what Close answers; written before closed is closed

	// asOf is the time of clock that the state is as of; nil: not known.
	asOf atomic.Pointer[uint64]

	reason string // why it recovers, if it does; set by Open

	// What runs beside the owner: at most one job, ended by background's end.
	background context.Context
	cancel     context.CancelFunc
	jobs       sync.WaitGroup

	mu      sync.Mutex // guards what follows
	status  core.ReplicaStatus
	failure error
	lease   bool
	// membership is that of status's epoch.
	membership replication.Membership
}

// Open restores a replica from its storage and starts it. When it fails nothing of it runs, and the storage is
// still the caller's to close. Errors are ErrOptions, an *OwnerError, those of the storage (damage that no other
// member can repair among them, and any with RefuseDamage) and those of the state machine's Restore.
func Open(options Options) (*Replica, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	r := &Replica{
		options: options.withDefaults(), opened: time.Now(), events: make(chan replication.Event, 1),
		stopping: make(chan struct{}), stopped: make(chan struct{}), closed: make(chan struct{}),
	}
	r.mailbox, r.notices, r.serving = newMailbox(r.options), notice.New(r.options.Logger), newServing(r.options)
	// Before Load, which takes the mark of a clean end away: who made a mistake here has lost nothing by it.
	if kept := r.options.Storage.Durability(); kept > r.options.Durability {
		return nil, fmt.Errorf("%w: Durability is %v, the Storage keeps %v only", ErrOptions, r.options.Durability, kept)
	}
	if err := r.options.Storage.Claim(r.options.owner()); err != nil {
		return nil, fmt.Errorf("vr: %w", err)
	}
	loaded, err := r.options.Storage.Load()
	if err != nil {
		return nil, fmt.Errorf("vr: load: %w", err)
	}
	if err := r.judgeDamage(&loaded); err != nil {
		return nil, err
	}
	if loaded.Checkpoint.Op > 0 {
		if err := r.restore(loaded.Checkpoint); err != nil {
			return nil, err
		}
	}
	config := r.options.core()
	config.Clock = rand.Uint64()
	machine, err := core.New(config, core.Restored{
		HardState: loaded.HardState, Checkpoint: loaded.Checkpoint, Entries: loaded.Entries,
		Recover: r.options.mayLack(&loaded), Damaged: len(loaded.Damage) > 0,
	})
	if err != nil {
		return nil, err
	}
	r.reason = r.options.reasonToRecover(&loaded)
	r.background, r.cancel = context.WithCancel(context.Background())
	o := newOwner(r, machine, loaded)
	o.publish()
	r.options.Logger.Info("replica opened", "group", r.options.Group, "replica", r.options.Self,
		"view", loaded.HardState.View, "checkpoint", loaded.Checkpoint.Op, "entries", len(loaded.Entries),
		"durability", r.options.Durability.String(), "log", r.options.Storage.Log(), "status", machine.Status().Status.String())
	r.options.Transport.Reach(machine.Contacts())
	r.options.Transport.ServeCheckpoints(r.serveCheckpoint)
	r.options.Transport.Receive(r.receive)
	go o.run()
	return r, nil
}

// restore reads the newest checkpoint, which must be the one described, into the state machine.
func (r *Replica) restore(want core.CheckpointMeta) (err error) {
	meta, body, err := r.options.Storage.OpenCheckpoint()
	if err != nil {
		return fmt.Errorf("vr: open checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if meta != want {
		return fmt.Errorf("vr: the newest checkpoint is of operation %d, not %d", meta.Op, want.Op)
	}
	if err := r.options.StateMachine.Restore(body); err != nil {
		return fmt.Errorf("vr: restore the state at operation %d: %w", meta.Op, err)
	}
	// The end of the body is where its checksums are complete.
	if rest, err := io.Copy(io.Discard, body); err != nil {
		return fmt.Errorf("vr: restore the state at operation %d: %w", meta.Op, err)
	} else if rest > 0 {
		return fmt.Errorf("%w: Restore left %d bytes of the state at operation %d", errStateMachine, rest, meta.Op)
	}
	return nil
}

// Submit implements replication.Replicator.
func (r *Replica) Submit(view replication.ViewNumber, operation []byte, done func(replication.Result)) {
	if len(operation) > r.options.OperationBytesMax {
		done(replication.Result{Err: fmt.Errorf("%w: %d bytes, at most %d", replication.ErrTooLarge, len(operation), r.options.OperationBytesMax)})
		return
	}
	if err := r.mailbox.putProposal(proposal{view: core.ViewNumber(view), operation: operation, done: done}); err != nil {
		r.countRefusal(err)
		done(replication.Result{Err: err})
	}
}

// ReadBarrier implements replication.Replicator.
func (r *Replica) ReadBarrier(view replication.ViewNumber, done func(error)) {
	if err := r.mailbox.putRead(read{view: core.ViewNumber(view), done: done}); err != nil {
		r.countRefusal(err)
		done(err)
	}
}

func (r *Replica) countRefusal(err error) {
	if errors.Is(err, replication.ErrOverloaded) {
		r.counters.overloads.Add(1)
	}
}

// Events implements replication.Replicator.
func (r *Replica) Events() <-chan replication.Event { return r.events }

// Checkpoint implements replication.Replicator. It returns at once when nothing was applied since the last one.
func (r *Replica) Checkpoint(ctx context.Context) error {
	done := make(chan error, 1)
	if err := r.mailbox.putCheckpoint(done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Status implements replication.Replicator.
func (r *Replica) Status() replication.Status {
	r.mu.Lock()
	status, failure := r.status, r.failure
	r.mu.Unlock()
	described := replication.Status{
		Group: r.options.Group, Replica: r.options.Self, Protocol: status.Status.String(), Epoch: uint64(status.Epoch),
		View: replication.ViewNumber(status.View), Primary: replication.ReplicaID(status.Primary),
		Op: replication.OpNumber(status.Op), Commit: replication.OpNumber(status.Commit), Applied: replication.OpNumber(status.Applied),
		Checkpoint: replication.OpNumber(status.Checkpoint.Op), Members: replicaIDs(status.Members),
		Backend: "vr", Durability: r.options.Durability.String(), Log: r.options.Storage.Log(), Leading: status.Leading,
		Failure: failure, Counters: r.counters.all(),
	}
	described.Counters["fsyncs"] = r.options.Storage.Syncs()
	switch {
	case failure != nil:
		described.Protocol = core.StatusStopped.String()
	case status.Status == core.StatusRecovering:
	case status.Transferring:
		described.Protocol = "transferring"
	case status.Status == core.StatusNormal && described.Primary == r.options.Self:
		described.Role = replication.RolePrimary
	}
	if r.options.isWitness() {
		described.Role = replication.RoleWitness
	}
	described.Reason = r.recoveringReason(&described)
	return described
}

// Close implements replication.Replicator. It must not be called from a function that the replica calls.
func (r *Replica) Close() error {
	r.stopOnce.Do(func() {
		close(r.stopping)
		<-r.stopped
		r.cancel()
		r.jobs.Wait()
		r.closing = errors.Join(r.markClean(), r.options.Storage.Close())
		close(r.events)
		close(r.closed)
	})
	<-r.closed
	return r.closing
}

// markClean says in the storage that nothing is missing from it, when the owner and its jobs are gone. A replica that
// failed does not know that, and one that recovers knows better. In sync nothing ever is.
func (r *Replica) markClean() error {
	if r.options.Durability == DurabilitySync || !r.isWhole() {
		return nil
	}
	if err := r.options.Storage.MarkClean(); err != nil {
		return fmt.Errorf("vr: clean end: %w", err)
	}
	return nil
}

func (r *Replica) isWhole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure == nil && r.status.Status != core.StatusRecovering
}

// receive takes a message from the transport, on any of its goroutines.
func (r *Replica) receive(from core.ReplicaID, payload []byte) {
	message, err := decodeMessage(from, core.ReplicaID(r.options.Self), payload)
	r.counters.received.add(message.Kind, len(payload)) // 0 when it is not to be read
	if err != nil {
		r.refuse(from, err)
		return
	}
	if !r.mailbox.putMessage(message, len(payload)) {
		r.counters.messagesDropped.Add(1)
	}
}

// alone is the transport of a group of one.
type alone struct{}

func (alone) Send(core.ReplicaID, []byte)          {}
func (alone) Reach([]core.Member)                  {}
func (alone) Receive(func(core.ReplicaID, []byte)) {}
func (alone) ServeCheckpoints(OpenFunc)            {}
func (alone) FetchCheckpoint(context.Context, core.ReplicaID, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return nil, nil, ErrNoCheckpoint
}
