package vr

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication/vr/core"
)

// TraceKind is what a TraceEvent tells.
type TraceKind uint8

// The kinds of events. Those from TraceStatus to TraceEpoch tell that one part of State is another than before.
const (
	// TraceReceived: the replica is about to handle Message.
	TraceReceived TraceKind = iota + 1
	// TraceRefused: no correct member sends Message, which was received just before; Err says why.
	TraceRefused
	// TraceSent: Message goes to the transport.
	TraceSent
	// TraceDurable: the storage has everything up to Durable, and the view. A primary's log may go on above that.
	TraceDurable
	// TraceStatus: State.Status, at the start the one that the replica takes part again with.
	TraceStatus
	// TraceView: State.View and State.Primary.
	TraceView
	// TraceOp: State.Op, the end of the log. It falls when a new view's log replaces what was not committed.
	TraceOp
	// TraceCommit: State.Commit.
	TraceCommit
	// TraceApplied: State.Applied.
	TraceApplied
	// TraceCheckpoint: State.Checkpoint, the newest durable one, written here or fetched.
	TraceCheckpoint
	// TraceTransfer: State.Transferring, whether a state transfer is under way.
	TraceTransfer
	// TraceLeading: State.Leading.
	TraceLeading
	// TraceEpoch: State.Epoch and State.Members, of an epoch that was entered.
	TraceEpoch
	// TraceFetch: a checkpoint of at least Checkpoint.Op is being fetched from From.
	TraceFetch
	// TraceFetched: Checkpoint was fetched and is durable.
	TraceFetched
	// TraceFetchFailed: it could not be fetched; Err says why.
	TraceFetchFailed
	// TraceStopped: the replica has stopped for good; Err says why.
	TraceStopped
)

// String returns the kind's name.
func (k TraceKind) String() string {
	names := [...]string{
		"", "received", "refused", "sent", "durable", "status", "view", "op", "commit", "applied", "checkpoint", "transfer", "leading",
		"epoch", "fetch", "fetched", "fetch-failed", "stopped",
	}
	if k >= 1 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("trace %d", uint8(k))
}

// TraceEvent is one thing that a replica did. What the replica is handed at once, it handles one by one: the events
// of one replica are in the order of cause and effect.
type TraceEvent struct {
	Kind TraceKind
	// Message is set for TraceReceived, TraceRefused and TraceSent. It is only to be read, and only until the
	// function returns; its entries' payloads are never changed, and may be kept.
	Message *core.Message
	// State is the replica's, when the event happens.
	State core.ReplicaStatus
	// Durable is set for TraceDurable.
	Durable core.OpNumber
	// From and Checkpoint are set for a checkpoint that is fetched.
	From       core.ReplicaID
	Checkpoint core.CheckpointMeta
	// Err is set for TraceRefused, TraceFetchFailed and TraceStopped.
	Err error
}

// traceMessage tells an event of a message. It is hot, and costs one comparison when nobody wants to know.
func (o *owner) traceMessage(kind TraceKind, m *core.Message, err error) {
	if o.options.Trace != nil {
		o.trace(TraceEvent{Kind: kind, Message: m, Err: err})
	}
}

// trace tells an event, if anybody wants to know.
func (o *owner) trace(event TraceEvent) {
	if o.options.Trace != nil {
		event.State = o.seen
		o.options.Trace(event)
	}
}

// step gives the core a message, and counts and tells what came of it.
func (o *owner) step(m *core.Message) {
	o.traceMessage(TraceReceived, m, nil)
	own := o.core.Membership().Epoch
	err := o.core.Step(*m)
	switch {
	case err != nil && !errors.Is(err, core.ErrStopped):
		o.refuse(m.From, err)
		o.traceMessage(TraceRefused, m, err)
	case err == nil && m.Kind < core.KindStartEpoch && m.Epoch != own:
		o.refuse(m.From, fmt.Errorf("%w: %d, this was %d", errEpoch, m.Epoch, own)) // the core asks or tells, at most
	}
	if err != nil {
		return
	}
	if commit := uint64(m.Commit); commit > o.counters.commitHeard.Load() {
		o.counters.commitHeard.Store(commit) // the owner is the only writer
	}
	if m.Kind == core.KindNewState {
		o.counters.transferEntries.Add(uint64(len(m.Entries)))
	}
	o.observe(whyStepped(m.Kind))
}

// observe counts and tells how the core's state has changed since it was last looked at. why is for a change of
// view.
func (o *owner) observe(why viewChangeReason) {
	before, now := o.seen, o.core.Status()
	o.seen = now
	if now.View != before.View {
		switch {
		case now.Epoch != before.Epoch:
			why = newEpoch
		case before.View == 0 && why != higherView:
			why = firstView
		case now.Successor != 0 && before.Successor == 0:
			why = handedOver
		}
		o.counters.viewChanges[why].Add(1)
	}
	if now.Transferring && !before.Transferring {
		o.counters.transfersBegun.Add(1)
	} else if before.Transferring && !now.Transferring {
		o.counters.transfersEnded.Add(1)
	}
	if o.options.Trace != nil {
		o.traceChanges(&before, &now)
	}
}

func (o *owner) traceChanges(before, now *core.ReplicaStatus) {
	for _, part := range []struct {
		kind    TraceKind
		changed bool
	}{
		{TraceEpoch, now.Epoch != before.Epoch},
		{TraceView, now.View != before.View},
		{TraceStatus, now.Status != before.Status},
		{TraceOp, now.Op != before.Op},
		{TraceCommit, now.Commit != before.Commit},
		{TraceApplied, now.Applied != before.Applied},
		{TraceCheckpoint, now.Checkpoint != before.Checkpoint},
		{TraceTransfer, now.Transferring != before.Transferring},
		{TraceLeading, now.Leading != before.Leading},
	} {
		if part.changed {
			o.trace(TraceEvent{Kind: part.kind})
		}
	}
}
