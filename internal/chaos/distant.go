package chaos

import (
	"context"
	"errors"
	"fmt"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/txn"
)

// farCommitsMin is how many commits the far clerks must have after their links were mended.
const farCommitsMin = 50

// manner is what links suffer.
type manner string

// The manners: nothing gets through, nothing until they are mended, everything late, and connections break as soon as
// they are made.
const (
	apart  manner = "apart"
	stall  manner = "stall"
	slowed manner = "slow"
	breaks manner = "break"
)

// manners, in the order in which rounds come to them.
func manners() []manner { return []manner{apart, stall, slowed, breaks} }

// story is what the links do.
func (m manner) story() string {
	return map[manner]string{apart: "cut", stall: "standing still", slowed: "slow", breaks: "breaking"}[m]
}

// harm picks what of the harm a manner does.
func (m manner) harm() func(harm) (uint64, string) {
	switch m {
	case stall:
		return func(h harm) (uint64, string) { return h.held, "pieces were held" }
	case slowed:
		return func(h harm) (uint64, string) { return h.delayed, "pieces were delayed" }
	case breaks:
		return func(h harm) (uint64, string) { return h.broken, "connections were broken" }
	default:
		return harm.dropped
	}
}

// distantFaults are those of links that leave a group: of clerks, of a shard to the coordinator, and between shards. The
// first round has clerks cut off and others whose words arrive late, and the groups cut off from each other; every
// round after it has the next manner of each. Where kinds were asked for every round has all manners.
func (r *run) distantFaults(round int) (all []fault) {
	shards := r.cluster.Shards()
	shard, other := shards[round%len(shards)], shards[(round+1)%len(shards)]
	add := func(forClerks, forGroups manner) {
		all = append(all, r.clerksFault(forClerks, shard))
		if r.result.Partitions == PartitionsNamespaces { // else no node can be told of proxies to other groups
			all = append(all, r.groupsFault(forGroups, shard, cluster.CoordinatorGroup), r.groupsFault(forGroups, other, shard))
		}
	}
	if len(r.options.Kinds) > 0 {
		for _, m := range manners() {
			add(m, m)
		}
		return all
	}
	at := func(after int) manner { return manners()[(round+after)%len(manners())] }
	add(at(0), at(0))
	return append(all, r.clerksFault(at(1), other))
}

// clerksFault hurts the links of the far clerks to the primary of a group. The others' are in order.
func (r *run) clerksFault(m manner, group uint32) fault {
	hurt := func(ctx context.Context, group uint32) ([]process.Node, error) {
		primary, err := r.cluster.Primary(ctx, group)
		if err != nil {
			return nil, err
		}
		return []process.Node{primary}, r.impose(m, []process.Node{far()}, []process.Node{primary})
	}
	heal := r.healOf(m.harm())
	mend := func(ctx context.Context, nodes []process.Node, done *Fault) error {
		if err := heal(ctx, nodes, done); err != nil {
			return err
		}
		return r.awaitFar(ctx)
	}
	return fault{
		kind: "clerks-" + string(m), name: fmt.Sprintf("links of clerks to %s's primary %s", groupName(group), m.story()),
		group: group, hurt: hurt, mend: mend,
	}
}

// awaitFar waits until the far clerks have commits again.
func (r *run) awaitFar(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	before := r.farCommits.Load()
	err := survey.Poll(limited, func() error {
		if now := r.farCommits.Load(); now < before+farCommitsMin {
			return fmt.Errorf("chaos: %d commits of clerks whose links were mended, need %d", now-before, farCommitsMin)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		err = errors.Join(ErrStuck, err)
	}
	return err
}

// groupsFault hurts all links between a shard and another group; where that is the coordinator, at times only those of
// the shard's primary. A shard that does not hear the coordinator serves nothing when the timestamps that it may use
// are used up.
func (r *run) groupsFault(m manner, shard, other uint32) fault {
	hurt := func(ctx context.Context, shard uint32) ([]process.Node, error) {
		nodes := r.cluster.Nodes(shard)
		if other == cluster.CoordinatorGroup && r.random.IntN(2) == 0 {
			primary, err := r.cluster.Primary(ctx, shard)
			if err != nil {
				return nil, err
			}
			nodes = []process.Node{primary}
		}
		return nodes, r.impose(m, nodes, r.cluster.Nodes(other))
	}
	heal := r.healOf(m.harm())
	mend := func(ctx context.Context, nodes []process.Node, done *Fault) error {
		if err := heal(ctx, nodes, done); err != nil {
			return err
		}
		return r.awaitCommit(ctx, shard)
	}
	kind := "shards-" + string(m)
	if other == cluster.CoordinatorGroup {
		kind = "coordinator-" + string(m)
	}
	return fault{
		kind: kind, name: fmt.Sprintf("links between %s and %s %s", groupName(shard), groupName(other), m.story()), group: shard, hurt: hurt,
		mend: mend, early: other == cluster.CoordinatorGroup && m != slowed,
	}
}

// awaitCommit waits until a transaction that begins now has committed on a shard.
func (r *run) awaitCommit(ctx context.Context, shard uint32) error {
	limited, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	_, err := r.ledger.NextCommit(txn.ShardID(shard))(limited)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: links were mended: %w", ErrStuck, err)
	}
	return err
}

// impose hurts the links between some nodes and others, both ways.
func (r *run) impose(m manner, some, others []process.Node) error {
	ways := between(some, others, true)
	switch m {
	case apart:
		return r.network.drop(ways...)
	case stall:
		still := faultproxy.Condition{Hold: true}
		r.setAll(ways, func() faultproxy.Conditions { return faultproxy.Conditions{Forward: still, Backward: still} })
	case slowed:
		r.setAll(ways, func() faultproxy.Conditions { return faultproxy.Slow(r.random) })
	case breaks:
		r.setAll(ways, func() faultproxy.Conditions { return faultproxy.Conditions{Cut: true} })
	}
	return nil
}
