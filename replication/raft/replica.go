package raft

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/internal/notice"
	"github.com/viewline/viewline/replication"
)

var (
	_ replication.Replicator        = (*Replica)(nil)
	_ replication.PrimaryTransferer = (*Replica)(nil)
	_ replication.Reconfigurer      = (*Replica)(nil)
	_ replication.Measurer          = (*Replica)(nil)
	_ replication.StaleReader       = (*Replica)(nil)
)

// Replica is one replica of a group. Its methods may be called from many goroutines at once.
type Replica struct {
	options   Options
	raft      *hraft.Raft
	rpc       *rpc
	guard     *guard
	machine   *machine
	rounds    *rounds
	stale     *staleReads
	queue     *queue
	callers   callers
	forgotten forgotten
	counters  counters
	reason    string // why it may lack something, if it does

	leading     atomic.Uint64 // the view that it leads in; 0: none
	settledTerm atomic.Uint64 // the last term in which it has led with everything applied that it inherited
	handing     atomic.Bool   // the leadership is being handed over
	changing    atomic.Bool   // an epoch is proposed whose fate is not known
	outside     atomic.Pointer[outside]
	events      chan replication.Event
	flights     chan taken
	asking      chan struct{} // has a token when somebody waits to read
	heard       chan struct{} // has a token when a majority may have been heard
	snapshotDue chan struct{} // has a token when a snapshot is to be written
	looking     chan struct{} // has a token when members or configuration may have changed
	deposed     chan struct{} // has a token when this replica may be no member any more

	stopping chan struct{} // closed when the end begins
	stopOnce sync.Once
	stopped  chan struct{} // closed when nothing of the library runs any more
	running  sync.WaitGroup
	closing  sync.Once
	outcome  error         // what Close answers; written before closed is closed
	closed   chan struct{} // closed when everything is gone

	mu      sync.Mutex
	failure error // guarded by mu
}

// Open restores a replica from its storage and starts it. When it fails nothing of it runs, and the storage is still the
// caller's to close. Errors are ErrOptions, ErrOwner, ErrDamaged, ErrForgotten, those of the disk, and those of the state
// machine's Restore.
func Open(options Options) (*Replica, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	if err := options.Storage.claim(options); err != nil {
		return nil, err
	}
	lost, err := options.Storage.begin(options)
	if err != nil {
		return nil, advised(err)
	}
	r := &Replica{
		options: options, rounds: newRounds(options.ReadsMax), stale: newStaleReads(options.ReadsMax), queue: newQueue(options),
		events: make(chan replication.Event, 1), flights: make(chan taken, flightsMax),
		asking: make(chan struct{}, 1), heard: make(chan struct{}, 1), snapshotDue: make(chan struct{}, 1),
		looking: make(chan struct{}, 1), deposed: make(chan struct{}, 1),
		stopping: make(chan struct{}), stopped: make(chan struct{}), closed: make(chan struct{}),
	}
	if lost > 0 {
		r.forgotten.term.Store(lost)
		r.reason = "it was in memory and did not end with Close: it waits for a later view, to have again what it acknowledged"
	}
	if err := r.build(); err != nil {
		return nil, err
	}
	return r, nil
}

// build puts the parts together and starts them.
func (r *Replica) build() error {
	o := r.options
	var err error
	if r.guard, err = newGuard(o.Storage, o.EntryCacheBytesMax, &r.forgotten, &r.counters, r.fail); err != nil {
		return err
	}
	store := o.Storage.snapshots
	store.forgotten, store.fail, store.halted, store.settle, store.arrives = &r.forgotten, r.fail, &r.guard.halted, r.guard.settle, o.Storage.arrives
	r.machine = &machine{
		inner: o.StateMachine, counters: &r.counters, fail: r.fail, due: r.wantSnapshot,
		every: o.CheckpointEvery, bytes: uint64(o.CheckpointBytes),
		changed: r.membersChanged, restoring: store.newestState,
	}
	r.machine.members.Store(o.firstMembership())
	r.rounds.tell = r.majorityHeard
	r.rpc = newRPC(o, r.rounds, &r.forgotten, notice.New(o.Logger), &r.counters)
	r.rpc.electorate, r.rpc.asked, r.rpc.told = r, r.tell, r.hear
	r.rpc.readIndex = r.readIndex
	var library atomic.Pointer[hraft.Raft]
	r.rpc.leads = func(term uint64) bool {
		made := library.Load()
		return made != nil && made.State() == hraft.Leader && made.CurrentTerm() == term
	}
	config := o.config()
	config.Logger = newSlogger(o.Logger)
	if err = store.settleNewest(); err == nil {
		r.raft, err = hraft.NewRaft(config, r.machine, r.guard, r.guard, store, r.rpc)
	}
	if err == nil {
		library.Store(r.raft)
	}
	if why := r.failed(); why != nil || err != nil {
		return r.abandon(errors.Join(why, err))
	}
	r.announce()
	r.running.Go(r.propose)
	r.running.Go(r.answer)
	r.running.Go(r.watch)
	r.running.Go(r.ask)
	r.running.Go(r.readStale)
	r.running.Go(r.writeSnapshots)
	o.Transport.Reach(r.contacts())
	r.running.Go(r.drive)
	r.rpc.start()
	go r.end()
	return nil
}

// abandon ends what was begun of a replica that cannot be opened.
func (r *Replica) abandon(err error) error {
	r.rpc.cut()
	if r.raft != nil {
		err = errors.Join(err, r.raft.Shutdown().Error())
	}
	return fmt.Errorf("raft: open: %w", err)
}

func (r *Replica) announce() {
	o := r.options
	r.options.Logger.Info("replica opened", "group", o.Group, "replica", o.Self, "backend", "raft", "view", r.raft.CurrentTerm(),
		"checkpoint", o.Storage.snapshots.newestIndex(), "op", r.raft.LastIndex(), "durability", o.Durability.String(), "log", o.Storage.Log(),
		"lacks", r.reason)
}

// majorityHeard is told by rounds of each acknowledgement while somebody waits; it does not block.
func (r *Replica) majorityHeard() {
	select {
	case r.heard <- struct{}{}:
	default: // it has one
	}
}

// fail ends the replica because it cannot go on safely, and cuts it off at once. It does not block, and may be called
// from any of the library's goroutines.
func (r *Replica) fail(why error) {
	r.mu.Lock()
	first := r.failure == nil
	if first {
		r.failure = why
	}
	r.mu.Unlock()
	r.guard.halted.Store(true)
	if r.rpc != nil {
		r.rpc.cut()
	}
	if first {
		r.options.Logger.Error("replica stops", "group", r.options.Group, "replica", r.options.Self, "error", why)
	}
	r.stop()
}

// stop begins the end.
func (r *Replica) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopOnce.Do(func() { close(r.stopping) })
}

// enter has the end wait for a caller, who leaves by running.Done; after it has begun, it has nobody wait.
func (r *Replica) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stopping:
		return closed(r.failure)
	default:
		r.running.Add(1)
		return nil
	}
}

// failed is why the replica has stopped by itself, or nil.
func (r *Replica) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// closedError is what everything answers when the end has begun.
func (r *Replica) closedError() error { return closed(r.failed()) }

// ended returns nil until the end begins.
func (r *Replica) ended() error {
	select {
	case <-r.stopping:
		return r.closedError()
	default:
		return nil
	}
}

// end waits until the replica is to stop, and has everybody answered before it shuts the library down: that leaves
// futures without an answer for ever, of what it has committed and not applied yet. So it is made to lose its leadership
// first, by a log that takes nothing any more; it answers for all that it has then, and applies what is committed.
func (r *Replica) end() {
	defer close(r.stopped)
	<-r.stopping
	why := r.closedError()
	r.queue.close(why)
	r.callers.close(why)
	r.stale.close(why)
	r.rpc.cut()
	r.guard.halted.Store(true)
	for errors.Is(r.raft.Barrier(0).Error(), hraft.ErrLeadershipTransferInProgress) {
		<-time.After(snapshotRetry)
	}
	r.running.Wait()
	r.endReads(r.rounds.close(why), why)
	_ = r.raft.Shutdown().Error() // it waits, and has nothing to tell
	r.rpc.stop()
}

// Close implements replication.Replicator. It must not be called from a function that the replica calls.
func (r *Replica) Close() error {
	r.closing.Do(func() {
		r.stop()
		<-r.stopped
		var err error
		if r.failed() == nil && !r.forgotten.any() {
			err = r.options.Storage.saveClean()
		}
		r.outcome = errors.Join(err, r.options.Storage.Close())
		close(r.events)
		close(r.closed)
	})
	<-r.closed
	return r.outcome
}

// Events implements replication.Replicator.
func (r *Replica) Events() <-chan replication.Event { return r.events }
