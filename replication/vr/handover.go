package vr

import (
	"context"
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// errCancelled: a transfer was given up in time, because its caller's context had ended.
var errCancelled = errors.New("vr: the transfer was given up")

// handover is a caller of TransferPrimary.
type handover struct {
	to   core.ReplicaID
	done chan error // has room for the answer
}

// handoverWork is what came to the owner about a handover: to begin it, or to give it up.
type handoverWork struct {
	*handover
	cancel bool
}

// handoversMax bounds what waits in the mailbox.
const handoversMax = 64

func (m *mailbox) putHandover(work handoverWork) error {
	return m.put(func() error {
		// Each caller cancels once at most, which always has room.
		if len(m.work.handovers) >= handoversMax && !work.cancel {
			return replication.ErrOverloaded
		}
		m.work.handovers = append(m.work.handovers, work)
		return nil
	})
}

// TransferPrimary implements replication.PrimaryTransferer.
func (r *Replica) TransferPrimary(ctx context.Context, to replication.ReplicaID) error {
	asked := &handover{to: core.ReplicaID(to), done: make(chan error, 1)}
	if err := r.mailbox.putHandover(handoverWork{handover: asked}); err != nil {
		return err
	}
	select {
	case err := <-asked.done:
		return err
	case <-ctx.Done():
	}
	// A mailbox that is closed needs no cancelling: the owner answers everybody when it ends.
	_ = r.mailbox.putHandover(handoverWork{handover: asked, cancel: true})
	err := <-asked.done
	if errors.Is(err, errCancelled) || errors.Is(err, replication.ErrOutcomeUnknown) {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

// handOver passes on to the core what was asked about handovers. The core has one under way at most.
func (o *owner) handOver(asked []handoverWork) {
	for _, work := range asked {
		switch {
		case work.cancel && o.handing == work.handover:
			o.core.CancelHandover()
		case work.cancel: // it was answered meanwhile
		default:
			o.beginHandover(work.handover)
		}
	}
}

func (o *owner) beginHandover(asked *handover) {
	if err := o.core.HandOver(asked.to); err != nil {
		o.counters.handovers[0].Add(1)
		asked.done <- o.translate(err)
		return
	}
	o.options.Logger.Info("handing over", "group", o.options.Group, "replica", o.options.Self, "to", asked.to)
	o.handing = asked
}

// answerHandover tells the caller how it ended.
func (o *owner) answerHandover(ended *core.Handover) {
	o.options.Logger.Info("handover", "group", o.options.Group, "replica", o.options.Self, "outcome", ended.Outcome.String(), "to", ended.To,
		"view", ended.View)
	o.counters.handovers[ended.Outcome].Add(1)
	var err error
	switch ended.Outcome {
	case core.HandoverDone:
	case core.HandoverBehind:
		err = fmt.Errorf("%w: replica %d", replication.ErrBehind, ended.To)
	case core.HandoverCancelled:
		err = errCancelled
	case core.HandoverUnknown:
		err = replication.ErrOutcomeUnknown
	case core.HandoverOvertaken:
		err = o.notPrimary()
	}
	asked := o.handing
	o.handing = nil
	asked.done <- err
}

// handoverLabel is an outcome as a label.
func handoverLabel(outcome core.HandoverOutcome) string {
	if outcome == 0 {
		return "refused"
	}
	return outcome.String()
}

// refuseHandovers answers those who wait when the owner ends. What was begun may still become of it.
func (o *owner) refuseHandovers(rest []handoverWork, refusal error) {
	if o.handing != nil {
		o.handing.done <- fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, refusal)
		o.handing = nil
	}
	for _, work := range rest {
		if !work.cancel {
			work.done <- refusal
		}
	}
}
