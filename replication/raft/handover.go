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

// handoverPoll is how often a replica that has lost its leadership looks who has it now.
const handoverPoll = 2 * time.Millisecond

// TransferPrimary implements replication.PrimaryTransferer. hashicorp/raft would leave operations without a certain
// answer when it hands over; so it is asked when all have theirs.
func (r *Replica) TransferPrimary(ctx context.Context, to replication.ReplicaID) error {
	outcome, err := r.transferPrimary(ctx, to)
	r.counters.handovers[outcome].Add(1)
	return err
}

func (r *Replica) transferPrimary(ctx context.Context, to replication.ReplicaID) (changeOutcome, error) {
	view := replication.ViewNumber(r.leading.Load())
	if err := r.leads(view); err != nil {
		return outcomeRefused, err
	}
	if to == r.options.Self {
		return outcomeDone, nil // it has the role already
	}
	if err := r.enter(); err != nil {
		return outcomeRefused, err
	}
	defer r.running.Done()
	if !r.handing.CompareAndSwap(false, true) {
		return outcomeRefused, replication.ErrTransferUnderWay
	}
	defer r.handing.Store(false)
	if r.changing.Load() {
		return outcomeRefused, replication.ErrReconfiguring
	}
	heir, err := r.heir(to)
	if err != nil {
		return outcomeRefused, err
	}
	err = r.handTo(ctx, heir)
	switch {
	case errors.Is(err, replication.ErrBehind):
		return outcomeBehind, err
	case err != nil && context.Cause(ctx) != nil:
		return outcomeCancelled, err
	case err == nil:
		err = r.awaitHeir(ctx, view, heir.id)
	}
	return outcomeOf(err), err
}

// handTo has a server lead, when every operation has its outcome.
func (r *Replica) handTo(ctx context.Context, heir peer) error {
	defer r.queue.resume()
	patience := time.NewTimer(4 * r.options.ViewChangeTimeout)
	defer patience.Stop()
	select {
	case <-r.queue.hold():
	case <-patience.C:
		return fmt.Errorf("%w: operations have no outcome yet", replication.ErrBehind)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.stopping:
		return r.closedError()
	}
	err := r.transferred(r.raft.LeadershipTransferToServer(heir.server(), heir.address()).Error())
	if errors.Is(err, replication.ErrBehind) && ctx.Err() != nil {
		return context.Cause(ctx) // the library does not give up sooner
	}
	return err
}

// heir is who is to lead: whom the caller named, or the one who was heard last. A member that does not vote yet cannot.
func (r *Replica) heir(to replication.ReplicaID) (peer, error) {
	members := r.machine.members.Load()
	others := slices.DeleteFunc(voters(r.raft.GetConfiguration().Configuration()), func(id hraft.ServerID) bool {
		return id == r.options.self().server() || !members.has(peerOf(id))
	})
	if to == 0 && len(others) > 0 {
		return peerOf(r.rounds.heardLast(others)), nil
	}
	member, found := members.member(to)
	switch heir := memberPeer(member); {
	case !found || to == r.options.Self:
		return peer{}, fmt.Errorf("%w: %d", replication.ErrNoMember, to)
	case !slices.Contains(others, heir.server()):
		return peer{}, fmt.Errorf("%w: replica %d does not vote yet", replication.ErrBehind, to)
	default:
		return heir, nil
	}
}

// transferred says what became of the library's transfer.
func (r *Replica) transferred(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hraft.ErrLeadershipTransferInProgress), errors.Is(err, hraft.ErrEnqueueTimeout):
		return replication.ErrTransferUnderWay
	case errors.Is(err, hraft.ErrNotLeader), errors.Is(err, hraft.ErrLeadershipLost):
		return r.notPrimary()
	}
	if ended := r.ended(); ended != nil {
		return ended
	}
	return fmt.Errorf("%w: %w", replication.ErrBehind, err)
}

// awaitHeir waits until somebody leads in a later view.
func (r *Replica) awaitHeir(ctx context.Context, view replication.ViewNumber, to replication.ReplicaID) error {
	poll := time.NewTicker(handoverPoll)
	defer poll.Stop()
	for {
		_, leader := r.raft.LeaderWithID()
		term := replication.ViewNumber(r.raft.CurrentTerm())
		switch id := replicaID(leader); {
		case term <= view || id == 0 || r.leading.Load() == uint64(view):
		case id == to:
			return nil
		default:
			return &replication.NotPrimaryError{View: term, Primary: id}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, context.Cause(ctx))
		case <-r.stopping:
			return fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, r.closedError())
		}
	}
}
