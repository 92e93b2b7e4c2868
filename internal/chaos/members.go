package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/survey"
)

// memberFaults change who the members of groups are, over the shards in turn, and the coordinator's.
func (r *run) memberFaults(round int) []fault {
	shards := r.cluster.Shards()
	shard, other := shards[round%len(shards)], shards[(round+1)%len(shards)]
	all := []fault{
		r.replaceFault("replace", "a replica of %s replaced", shard, r.backup),
		r.replaceFault("replace-primary", "%s's primary replaced", other, r.cluster.Primary),
		r.replaceFault("replace-coordinator", "a replica of %s replaced", cluster.CoordinatorGroup, r.anyone),
		r.wipeFault(other),
	}
	if most := r.options.largestGroup(); most > r.options.Replicas {
		all = append(all, r.growFault(shard, most))
	}
	return all
}

// backup draws a replica that has a state and is not primary.
func (r *run) backup(ctx context.Context, group uint32) (process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return primary, err
	}
	return r.draw(r.states(group, primary)), nil
}

// anyone draws a replica that has a state.
func (r *run) anyone(_ context.Context, group uint32) (process.Node, error) {
	return r.draw(r.states(group)), nil
}

func (r *run) draw(nodes []process.Node) process.Node { return nodes[r.random.IntN(len(nodes))] }

// states are the members of a group that have a state, without some.
func (r *run) states(group uint32, but ...process.Node) (nodes []process.Node) {
	for _, g := range r.cluster.Groups() {
		for _, m := range g.Members {
			if node := (process.Node{Group: g.ID, Replica: m.Replica}); g.ID == group && !m.Witness && !slices.Contains(but, node) {
				nodes = append(nodes, node)
			}
		}
	}
	return nodes
}

func lifeOf(members []member, replica uint32) uint64 {
	for _, m := range members {
		if m.Replica == replica {
			return m.Incarnation
		}
	}
	return 0
}

func without(nodes []process.Node, some ...process.Node) []process.Node {
	return slices.DeleteFunc(nodes, func(node process.Node) bool { return slices.Contains(some, node) })
}

// dismiss makes sure that a replica which has left serves nobody, shuts its node down, and deletes all of it.
func (r *run) dismiss(ctx context.Context, node process.Node) error {
	if err := r.refuses(ctx, node); err != nil {
		return err
	}
	if err := r.end(ctx, node); err != nil {
		return err
	}
	return errors.Join(r.cluster.Forget(node), r.network.leave(node), os.RemoveAll(r.home(node)))
}

// verify looks at the cluster without load: all of it is well, by the commands of an operator too, the money is all there,
// and the members of each group have the same state.
func (r *run) verify(ctx context.Context) error {
	return r.calmly(ctx, func() error {
		limited, cancel := context.WithTimeout(ctx, changeTimeout)
		defer cancel()
		if err := r.cluster.AwaitWhole(limited); err != nil {
			return err
		}
		if err := r.awaitStatus(limited); err != nil {
			return err
		}
		total, err := bank.Total(limited, r.clerks[0], r.options.Accounts)
		if want := int64(r.options.Accounts) * bank.Initial; err == nil && total != want {
			err = fmt.Errorf("%w: the accounts hold %d, not %d", bank.ErrBooks, total, want)
		}
		if err != nil {
			return err
		}
		return r.compareStates(limited)
	})
}

// awaitStatus waits until an operator sees the present members, all well.
func (r *run) awaitStatus(ctx context.Context) error {
	return survey.Poll(ctx, func() error {
		var status struct {
			Replicas   []survey.Replica  `json:"replicas"`
			Assessment survey.Assessment `json:"assessment"`
		}
		if err := r.operate(ctx, &status, "status"); err != nil {
			return err
		}
		var seen, present []process.Node
		for _, replica := range status.Replicas {
			seen = append(seen, process.Node{Group: replica.Group, Replica: replica.Replica})
		}
		for _, group := range r.cluster.Groups() {
			present = append(present, r.cluster.Nodes(group.ID)...)
		}
		if !slices.Equal(seen, present) || status.Assessment.Health != survey.Whole {
			return fmt.Errorf("%w: the status is of %v, not %v: %s", ErrMembers, seen, present, status.Assessment.Sentence)
		}
		return nil
	})
}
