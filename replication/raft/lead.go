package raft

import (
	"errors"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// watch follows whether this replica leads. It begins to when it has committed and applied an entry of its own term, and
// with it everything that it inherited.
func (r *Replica) watch() {
	for {
		select {
		case leader := <-r.raft.LeaderCh():
			r.stopLeading()
			if leader {
				r.beginLeading()
			}
		case <-r.deposed:
			if !r.isMember() {
				r.stopLeading()
			}
		case <-r.stopping:
			r.stopLeading()
			return
		}
	}
}

// beginLeading leads in the present term, if this replica is still its leader when a barrier has passed. Terms only rise:
// where it was the same before and after, it was the barrier's. The library says so again in each term.
func (r *Replica) beginLeading() {
	term := r.raft.CurrentTerm()
	if err := r.passBarrier(term); err != nil {
		return
	}
	if r.raft.State() != hraft.Leader || r.raft.CurrentTerm() != term || r.machine.brokenBy() != nil {
		return
	}
	r.settledTerm.Store(term)
	r.look()
	if !r.isMember() {
		return // it has a member lead instead
	}
	r.setLeading(replication.ViewNumber(term))
	r.options.Logger.Info("replica leads", "group", r.options.Group, "replica", r.options.Self, "view", term)
}

// passBarrier waits for a barrier of this term. The library refuses one, in a later term too, for as long as the call stands by
// which it has told another replica to take over: nobody would lead if that were the end.
func (r *Replica) passBarrier(term uint64) error {
	poll := time.NewTicker(handoverPoll)
	defer poll.Stop()
	for {
		err := r.raft.Barrier(0).Error()
		if !errors.Is(err, hraft.ErrLeadershipTransferInProgress) || r.raft.State() != hraft.Leader || r.raft.CurrentTerm() != term {
			return err
		}
		select {
		case <-poll.C:
		case <-r.stopping:
			return err
		}
	}
}

// setLeading publishes what changed; 0: it does not lead.
func (r *Replica) setLeading(view replication.ViewNumber) {
	before := replication.ViewNumber(r.leading.Swap(uint64(view)))
	if before == view {
		return
	}
	event := replication.Event{Leading: view != 0, View: view}
	if view == 0 {
		event.View = max(before, replication.ViewNumber(r.raft.CurrentTerm()))
	}
	select {
	case <-r.events: // the newest counts
	default:
	}
	r.events <- event
}

// stopLeading tells that this replica does not lead, and ends the reads that wait.
func (r *Replica) stopLeading() {
	before := replication.ViewNumber(r.leading.Load())
	r.setLeading(0)
	r.endReads(r.rounds.take(before+1), r.leadsNoMore(before))
}

// leads returns nil while this replica leads in a view.
func (r *Replica) leads(view replication.ViewNumber) error {
	if view != 0 && replication.ViewNumber(r.leading.Load()) == view {
		return nil
	}
	if err := r.ended(); err != nil {
		return err
	}
	return r.notPrimary()
}

// notPrimary says who is, as far as is known here, or that this replica is no member.
func (r *Replica) notPrimary() error {
	refusal := r.whoLeads()
	if r.isMember() {
		return refusal
	}
	return &replication.NotMemberError{NotPrimaryError: *refusal, Membership: r.Membership()}
}

// whoLeads is what is known here. A leader that does not lead yet, or whose library has not told of the end yet, is nobody.
func (r *Replica) whoLeads() *replication.NotPrimaryError {
	_, id := r.raft.LeaderWithID()
	primary := replicaID(id)
	if primary == r.options.Self {
		primary = 0
		if view := r.leading.Load(); view != 0 {
			return &replication.NotPrimaryError{View: replication.ViewNumber(view), Primary: r.options.Self}
		}
	}
	return &replication.NotPrimaryError{View: replication.ViewNumber(r.raft.CurrentTerm()), Primary: primary}
}
