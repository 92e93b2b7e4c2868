package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// fatePoll is how often it is looked at what became of an epoch that was proposed.
const fatePoll = 2 * time.Millisecond

// settlePatience is for how many of ViewChangeTimeout a change that is committed is waited for until the configuration follows.
const settlePatience = 4

// Reconfigure implements replication.Reconfigurer. The epoch begins with a command in the log, for all members at once;
// hashicorp/raft's configuration follows one server at a time (drive.go), and is waited for a little.
func (r *Replica) Reconfigure(ctx context.Context, change replication.Change) (replication.Report, error) {
	report, outcome, err := r.reconfigure(ctx, change)
	if !change.DryRun {
		r.counters.reconfigurations[outcome].Add(1)
	}
	return report, err
}

func (r *Replica) reconfigure(ctx context.Context, change replication.Change) (replication.Report, changeOutcome, error) {
	if err := context.Cause(ctx); err != nil {
		return replication.Report{}, outcomeRefused, err
	}
	if err := r.enter(); err != nil {
		return replication.Report{}, outcomeRefused, err
	}
	defer r.running.Done()
	view := replication.ViewNumber(r.leading.Load())
	if err := r.leads(view); err != nil {
		return replication.Report{}, outcomeRefused, err
	}
	begun := !change.DryRun && r.changing.CompareAndSwap(false, true)
	next, report, err := r.consider(change, begun)
	if err != nil || change.DryRun {
		if begun {
			r.changing.Store(false)
		}
		return report, outcomeRefused, err
	}
	r.options.Logger.Info("reconfiguring", "group", r.options.Group, "replica", r.options.Self, "epoch", next.Epoch, "members", next.ids())
	fate := make(chan error, 1)
	r.running.Go(func() {
		defer r.changing.Store(false)
		fate <- r.begin(view, next)
	})
	select {
	case err := <-fate:
		if err == nil {
			r.awaitSettled(ctx, next)
		}
		return report, outcomeOf(err), err
	case <-ctx.Done():
		return report, outcomeUnknown, fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, context.Cause(ctx))
	}
}

// outcomeOf is how something ended that was begun.
func outcomeOf(err error) changeOutcome {
	switch {
	case err == nil:
		return outcomeDone
	case errors.Is(err, replication.ErrOutcomeUnknown):
		return outcomeUnknown
	default:
		return outcomeOvertaken
	}
}

// consider judges a change. begun: nobody else proposes one meanwhile.
func (r *Replica) consider(change replication.Change, begun bool) (*membership, replication.Report, error) {
	next, err := r.machine.members.Load().next(change)
	if err != nil {
		return nil, replication.Report{}, err
	}
	report := r.reportOn(next)
	switch {
	case r.handing.Load():
		err = replication.ErrTransferUnderWay
	case !begun && (!change.DryRun || r.changing.Load()):
		err = replication.ErrReconfiguring
	default:
		err = r.judge(next, report)
	}
	return next, report, err
}

// reportOn describes everybody that is or will be a member, ascending.
func (r *Replica) reportOn(next *membership) replication.Report {
	present, last := r.machine.members.Load(), r.raft.LastIndex()
	checkpoint := r.options.Storage.snapshots.newestIndex()
	report := replication.Report{Epoch: next.Epoch}
	ids := append(next.ids(), present.ids()...)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		row := replication.ReplicaReport{}
		was, isMember := present.member(id)
		will, stays := next.member(id)
		row.Member, row.Was, row.Will = was, isMember, stays
		if stays {
			row.Member = will
		}
		op := last
		row.Heard = id == r.options.Self
		if p := memberPeer(row.Member); p != r.options.self() {
			row.Heard = r.rpc.hearing.within(p, r.options.ViewChangeTimeout)
			op = min(last, r.rpc.hearing.match(p.server(), r.raft.CurrentTerm()))
		}
		row.Op, row.Lag = replication.OpNumber(op), last-op
		row.Ready = row.Heard && op >= checkpoint && (isMember && was.Incarnation == row.Incarnation || op > 0)
		report.Replicas = append(report.Replicas, row)
	}
	return report
}

// judge refuses what would leave the group without a quorum that has the log.
func (r *Replica) judge(next *membership, report replication.Report) error {
	present, ready := r.machine.members.Load(), 0
	for _, row := range report.Replicas {
		was, isMember := present.member(row.ID)
		raised := isMember && row.Will && row.Incarnation > was.Incarnation
		if raised && (memberPeer(was) == r.options.self() || r.rpc.hearing.within(memberPeer(was), r.options.ViewChangeTimeout)) {
			return fmt.Errorf("%w: replica %d needs no later life, this one was heard just now", replication.ErrNewcomer, row.ID)
		}
		if (!row.Was || raised) && !row.Ready {
			return fmt.Errorf("%w: replica %d, heard %v, lacks %d operations", replication.ErrNewcomer, row.ID, row.Heard, row.Lag)
		}
		if row.Will && row.Ready {
			ready++
		}
	}
	if ready < len(next.Members)/2+1 {
		return fmt.Errorf("%w: %d of %v are ready", replication.ErrQuorum, ready, next.ids())
	}
	return nil
}

// begin proposes an epoch and waits until it is certain whether it has begun.
func (r *Replica) begin(view replication.ViewNumber, next *membership) error {
	future := r.raft.ApplyLog(hraft.Log{Data: next.encode(), Extensions: extensionOf(extensionMembers, view)}, 0)
	err := future.Error()
	switch {
	case err == nil:
	case errors.Is(err, errHalted):
		return r.closedError() // nothing was written
	case errors.Is(err, hraft.ErrNotLeader), errors.Is(err, hraft.ErrLeadershipTransferInProgress):
		return r.notPrimary()
	case future.Index() == 0:
		return fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, err)
	default:
		return r.awaitFate(future.Index(), uint64(view))
	}
	switch o, ok := future.Response().(outcome); {
	case !ok:
		return fmt.Errorf("%w: not applied here", replication.ErrOutcomeUnknown)
	case o.failed != nil:
		return fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, o.failed)
	case !o.began:
		return r.notPrimary()
	default:
		return nil
	}
}

// awaitFate waits for what is committed where an epoch was proposed whose leader has lost its place. Only one entry is ever
// committed there, and of one term there is only one.
func (r *Replica) awaitFate(index, term uint64) error {
	poll := time.NewTicker(fatePoll)
	defer poll.Stop()
	for {
		applied := r.machine.applied.Load() // before members: what is applied is in them
		committed := max(r.raft.CommitIndex(), r.options.Storage.snapshots.newestIndex())
		other := applied >= index
		var entry hraft.Log
		if !other && committed >= index && r.guard.GetLog(index, &entry) == nil {
			other = entry.Term != term
		}
		switch members := r.machine.members.Load(); {
		case members.index == index && members.term == term:
			return nil
		case r.ended() != nil: // what was read may be a lie of the guard
		case other, members.index > index:
			return r.notPrimary()
		}
		select {
		case <-poll.C:
		case <-r.stopping:
			return fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, r.closedError())
		}
	}
}

// awaitSettled waits a while until the library's configuration has followed: from then on as many of the new members may fail
// as the new quorum allows.
func (r *Replica) awaitSettled(ctx context.Context, next *membership) {
	poll := time.NewTicker(fatePoll)
	defer poll.Stop()
	patience := time.NewTimer(settlePatience * r.options.ViewChangeTimeout)
	defer patience.Stop()
	for !settledOn(next, r.raft.GetConfiguration().Configuration()) && r.raft.State() == hraft.Leader {
		select {
		case <-poll.C:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		case <-r.stopping:
			return
		}
	}
}
