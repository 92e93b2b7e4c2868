package chaos

import (
	"context"
	"errors"
	"slices"

	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
)

const (
	// twoFaultsMin is how many replicas a group needs to bear the loss of two.
	twoFaultsMin = 5
	// slowChance: one link in so many is slow while processes are hurt.
	slowChance = 4
)

// inWeather has a fault of processes happen while some links, of any group, are slow.
func (r *run) inWeather(f fault) fault {
	hurt, mend := f.hurt, f.mend
	f.name += ", some links slow"
	f.hurt = func(ctx context.Context, group uint32) ([]process.Node, error) {
		for _, l := range r.network.all() {
			if r.random.IntN(slowChance) == 0 {
				r.network.set(l, faultproxy.Slow(r.random))
			}
		}
		return hurt(ctx, group)
	}
	f.mend = func(ctx context.Context, nodes []process.Node, done *Fault) error {
		return errors.Join(mend(ctx, nodes, done), r.network.heal())
	}
	return f
}

// withVictim has a backup be dead while the links of its group are hurt. A group in two parts bears no more.
func (r *run) withVictim(f fault) fault {
	if f.kind == "split" {
		return f
	}
	hurt, mend := f.hurt, f.mend
	f.name += ", a backup dead"
	f.hurt = func(ctx context.Context, group uint32) ([]process.Node, error) {
		primary, err := r.cluster.Primary(ctx, group)
		if err != nil {
			return nil, err
		}
		others := r.others(primary)
		r.victim = others[r.random.IntN(len(others))]
		if err := r.cluster.Kill(r.victim); err != nil {
			return nil, err
		}
		return hurt(ctx, group)
	}
	f.mend = func(ctx context.Context, nodes []process.Node, done *Fault) error {
		done.Nodes = append(done.Nodes, r.victim.String()+" dead")
		err := errors.Join(mend(ctx, nodes, done), r.cluster.Restart(r.victim))
		r.victim = process.Node{}
		return err
	}
	return f
}

// others are the replicas of a node's group but itself and one that was killed to make things worse.
func (r *run) others(node process.Node) []process.Node {
	return slices.DeleteFunc(r.cluster.Nodes(node.Group), func(other process.Node) bool { return other == node || other == r.victim })
}
