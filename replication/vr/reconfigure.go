package vr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// reconfiguration is a caller of Reconfigure.
type reconfiguration struct {
	change replication.Change
	report replication.Report // the primary's, when it was proposed
	// proposed is closed when it was; done has room for the answer.
	proposed chan struct{}
	done     chan reconfigured
}

// reconfigured is what a caller of Reconfigure is told.
type reconfigured struct {
	report replication.Report
	err    error
}

// reconfigurationsMax bounds what waits in the mailbox.
const reconfigurationsMax = 64

func (m *mailbox) putReconfiguration(asked *reconfiguration) error {
	return m.put(func() error {
		if len(m.work.reconfigurations) >= reconfigurationsMax {
			return replication.ErrOverloaded
		}
		m.work.reconfigurations = append(m.work.reconfigurations, asked)
		return nil
	})
}

// withdraw takes back what the owner has not taken yet, and reports whether it could.
func (m *mailbox) withdraw(asked *reconfiguration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(m.work.reconfigurations, asked)
	if at >= 0 {
		m.work.reconfigurations = slices.Delete(m.work.reconfigurations, at, at+1)
	}
	return at >= 0
}

// Reconfigure implements replication.Reconfigurer.
func (r *Replica) Reconfigure(ctx context.Context, change replication.Change) (replication.Report, error) {
	asked := &reconfiguration{change: change, proposed: make(chan struct{}), done: make(chan reconfigured, 1)}
	asked.change.Members = slices.Clone(change.Members)
	if err := context.Cause(ctx); err != nil {
		return replication.Report{}, err
	}
	if err := r.mailbox.putReconfiguration(asked); err != nil {
		return replication.Report{}, err
	}
	select {
	case answer := <-asked.done:
		return answer.report, answer.err
	case <-ctx.Done():
	}
	if r.mailbox.withdraw(asked) {
		return replication.Report{}, context.Cause(ctx)
	}
	// The owner has it, and soon says what it has done with it.
	select {
	case answer := <-asked.done:
		return answer.report, answer.err
	case <-asked.proposed:
		return replication.Report{}, fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, context.Cause(ctx))
	}
}

// Membership implements replication.Reconfigurer.
func (r *Replica) Membership() replication.Membership {
	r.mu.Lock()
	defer r.mu.Unlock()
	membership := r.membership
	membership.Members = slices.Clone(membership.Members)
	return membership
}

// reconfigure passes on to the core what was asked. The core has one reconfiguration under way at most.
func (o *owner) reconfigure(asked []*reconfiguration) {
	for _, work := range asked {
		report, err := o.propound(&work.change)
		work.report = report
		switch {
		case err != nil && !work.change.DryRun:
			o.counters.reconfigurations[0].Add(1)
			fallthrough
		case work.change.DryRun:
			work.done <- reconfigured{report, err}
		default:
			o.options.Logger.Info("reconfiguring", "group", o.options.Group, "replica", o.options.Self, "epoch", report.Epoch,
				"members", idsOf(work.change.Members))
			o.changing = work
			close(work.proposed)
		}
	}
}

// propound has the core judge a change, and propose it unless that is a dry run.
func (o *owner) propound(change *replication.Change) (replication.Report, error) {
	epoch := o.core.Membership().Epoch + 1
	if change.Epoch != 0 {
		if err := o.core.ExpectNext(core.EpochNumber(change.Epoch)); err != nil {
			return replication.Report{}, o.translate(err)
		}
	}
	members := coreMembers(change.Members)
	last := o.core.Status().Op
	found, err := o.core.Reconfigure(members, change.DryRun)
	report := replication.Report{Epoch: uint64(epoch)}
	for i := range found {
		report.Replicas = append(report.Replicas, o.describe(&found[i], members, last))
	}
	if err != nil {
		err = o.translate(err)
	}
	return report, err
}

// describe is a row of a report. last is the end of the primary's log.
func (o *owner) describe(found *core.MemberReport, next []core.Member, last core.OpNumber) replication.ReplicaReport {
	row := replication.ReplicaReport{
		Was: found.Was, Will: found.Will,
		Heard: found.Heard, Op: replication.OpNumber(found.Op), Lag: uint64(last - min(found.Op, last)), Ready: found.Ready,
	}
	for _, member := range slices.Concat(o.core.Membership().Members, next) { // what is to be counts
		if member.ID == found.ID {
			row.Member = describeMember(member)
		}
	}
	return row
}

// answerReconfiguration tells the caller how it ended.
func (o *owner) answerReconfiguration(ended *core.Reconfiguration) {
	o.options.Logger.Info("reconfiguration", "group", o.options.Group, "replica", o.options.Self, "outcome", ended.Outcome.String(), "epoch", ended.Epoch)
	o.counters.reconfigurations[ended.Outcome].Add(1)
	var err error
	switch ended.Outcome {
	case core.ReconfigurationDone:
	case core.ReconfigurationOvertaken:
		err = o.notPrimary()
	case core.ReconfigurationUnknown:
		err = fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, errors.Join(errDropped, o.core.Failure()))
	}
	asked := o.changing
	o.changing = nil
	asked.done <- reconfigured{asked.report, err}
}

// enter notes that the replica has entered an epoch.
func (o *owner) enter(membership *core.Membership) {
	status := o.core.Status()
	o.options.Logger.Info("epoch", "group", o.options.Group, "replica", o.options.Self, "epoch", membership.Epoch, "members", membership.IDs(),
		"op", membership.Op, "status", status.Status.String())
	o.counters.epochsEntered.Add(1)
}

// reconfigurationLabel is an outcome as a label.
func reconfigurationLabel(outcome core.ReconfigurationOutcome) string {
	if outcome == 0 {
		return "refused"
	}
	return outcome.String()
}

// refuseReconfigurations answers those who wait when the owner ends. What was proposed may still happen.
func (o *owner) refuseReconfigurations(rest []*reconfiguration, refusal error) {
	if o.changing != nil {
		o.changing.done <- reconfigured{o.changing.report, fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, refusal)}
		o.changing = nil
	}
	for _, work := range rest {
		work.done <- reconfigured{err: refusal}
	}
}

// coreMembers are a change's members in the core's words, ascending.
func coreMembers(members []replication.Member) []core.Member {
	translated := make([]core.Member, len(members))
	for i, member := range members {
		translated[i] = core.Member{
			ID: core.ReplicaID(member.ID), Incarnation: member.Incarnation, Witness: member.Witness, Address: member.Address,
		}
	}
	slices.SortStableFunc(translated, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	return translated
}

// describeMembership is the core's in the contract's words.
func describeMembership(membership core.Membership) replication.Membership {
	described := replication.Membership{Epoch: uint64(membership.Epoch), LargestID: replication.ReplicaID(membership.LargestID)}
	for _, member := range membership.Members {
		described.Members = append(described.Members, describeMember(member))
	}
	return described
}

func describeMember(member core.Member) replication.Member {
	return replication.Member{
		ID: replication.ReplicaID(member.ID), Incarnation: member.Incarnation, Witness: member.Witness, Address: member.Address,
	}
}

func idsOf(members []replication.Member) []replication.ReplicaID {
	ids := make([]replication.ReplicaID, len(members))
	for i, member := range members {
		ids[i] = member.ID
	}
	return ids
}

// replicaIDs are the core's in the contract's words.
func replicaIDs(ids []core.ReplicaID) []replication.ReplicaID {
	translated := make([]replication.ReplicaID, len(ids))
	for i, id := range ids {
		translated[i] = replication.ReplicaID(id)
	}
	return translated
}

func memberIDs(members []core.Member) []core.ReplicaID {
	ids := make([]core.ReplicaID, len(members))
	for i, member := range members {
		ids[i] = member.ID
	}
	return ids
}
