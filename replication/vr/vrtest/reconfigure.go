package vrtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// Add starts a newcomer and returns its id, one above all others. It learns from the members, and is none itself before
// Reconfigure makes it one.
func (g *Group) Add(ctx context.Context) (replication.ReplicaID, error) {
	_, leader, err := g.await(ctx)
	if err != nil {
		return 0, err
	}
	members := leader.Status().Members
	var id replication.ReplicaID
	g.change(func() {
		id = replication.ReplicaID(len(g.replicas) + 1)
		g.ids = append(slices.Clone(g.ids), id)
		g.replicas = append(g.replicas, &member{storage: storage.NewMemory(), joining: true, members: members})
	})
	return id, g.Restart(id)
}

// Reconfigure has whoever leads make these the members, once those who are to become members are ready, and tries again
// when that one does not lead any more. It returns when one of the new members leads: from then on f of them may fail.
// When ctx ends first who leads tells what became of it.
func (g *Group) Reconfigure(ctx context.Context, members ...replication.ReplicaID) (replication.Report, error) {
	members = slices.Sorted(slices.Values(members))
	change := replication.Change{}
	for _, id := range members {
		change.Members = append(change.Members, replication.Member{ID: id})
	}
	pause := time.NewTicker(vr.TickIntervalDefault)
	defer pause.Stop()
	for made := (replication.Report{}); ; {
		_, leader, err := g.await(ctx)
		if err != nil {
			return replication.Report{}, err
		}
		present := leader.Membership()
		if made.Epoch > 0 && present.Epoch >= made.Epoch && slices.Equal(idsOf(present.Members), members) {
			return made, nil
		}
		change.Epoch = present.Epoch + 1
		report, err := leader.Reconfigure(ctx, change)
		switch {
		case err == nil:
			made = report
		case errors.Is(err, replication.ErrOutcomeUnknown):
			made.Epoch = change.Epoch
		case !again(err):
			return report, err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return report, errors.Join(err, context.Cause(ctx))
		}
	}
}

func idsOf(members []replication.Member) []replication.ReplicaID {
	ids := make([]replication.ReplicaID, len(members))
	for i, member := range members {
		ids[i] = member.ID
	}
	return ids
}

// again reports whether what was refused may be done a little later.
func again(err error) bool {
	for _, later := range []error{
		replication.ErrNewcomer, replication.ErrQuorum, replication.ErrReconfiguring, replication.ErrTransferUnderWay, replication.ErrNotPrimary,
		replication.ErrClosed,
	} {
		if errors.Is(err, later) {
			return true
		}
	}
	return false
}

// Remove takes a member out of the group, waits until nobody needs it any more, and ends it.
func (g *Group) Remove(ctx context.Context, id replication.ReplicaID) error {
	rest, err := g.without(ctx, id)
	if err != nil {
		return err
	}
	if _, err := g.Reconfigure(ctx, rest...); err != nil {
		return err
	}
	return g.end(ctx, id)
}

// Replace puts a newcomer in a member's place, which may run or not, ends that one as Remove does, and returns the
// newcomer's id.
func (g *Group) Replace(ctx context.Context, id replication.ReplicaID) (replication.ReplicaID, error) {
	rest, err := g.without(ctx, id)
	if err != nil {
		return 0, err
	}
	fresh, err := g.Add(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := g.Reconfigure(ctx, append(rest, fresh)...); err != nil {
		return fresh, err
	}
	return fresh, g.end(ctx, id)
}

// await waits until a replica leads.
func (g *Group) await(ctx context.Context) (replication.ReplicaID, *vr.Replica, error) {
	for {
		id, _, err := g.Primary(ctx)
		if err != nil {
			return 0, nil, err
		}
		if replica := g.Replica(id); replica != nil {
			return id, replica, nil
		}
	}
}

// without returns the present members but one.
func (g *Group) without(ctx context.Context, id replication.ReplicaID) ([]replication.ReplicaID, error) {
	_, leader, err := g.await(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(leader.Status().Members, func(member replication.ReplicaID) bool { return member == id }), nil
}

// end ends a replica, if it runs, when it has left.
func (g *Group) end(ctx context.Context, id replication.ReplicaID) error {
	pause := time.NewTicker(vr.TickIntervalDefault)
	defer pause.Stop()
	for replica := g.Replica(id); replica != nil && replica.Status().Protocol != "left"; {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if g.Replica(id) == nil {
		return nil
	}
	return g.Kill(id)
}
