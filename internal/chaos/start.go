package chaos

import (
	"context"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/txn"
)

func (r *run) start(ctx context.Context, directory string) error {
	r.directory = directory
	layout, err := cluster.LocalLayout(directory, r.options.Replicas, 2, r.options.Replicas)
	if err != nil {
		return err
	}
	if layout.Backend, layout.Durability, layout.Log = r.options.Backend, r.options.Durability, r.options.Log; r.options.Witness {
		layout.MarkWitnesses()
	}
	if err := r.openNetwork(layout); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	r.cluster, err = process.Start(limited, process.Options{
		Binary: r.options.Binary, Layout: layout, Launch: r.network.launch, Dial: r.network.dialOptions(),
	})
	if err != nil {
		return err
	}
	if r.watch, err = newWitness(limited, r.cluster, r.clerkOptions()); err != nil {
		return err
	}
	for n := range r.options.Clerks {
		c, err := r.dial(limited, n%2 == 1)
		if err != nil {
			return err
		}
		r.clerks = append(r.clerks, c)
	}
	r.say("%d coordinator replicas and 2 shards of %d replicas, replicated by %s, run in %s with their logs in %s, each a process of its own; "+
		"%d clerks move money between %d accounts.",
		r.options.Replicas, r.options.Replicas, r.options.Backend, r.options.Durability, r.options.Log, r.options.Clerks, r.options.Accounts)
	return bank.OpenAccounts(limited, r.clerks[0], r.options.Accounts)
}

// openNetwork lays the links, and says what they are.
func (r *run) openNetwork(layout *cluster.Layout) error {
	var reason string
	var err error
	if r.network, reason, err = openNetwork(r.options.Partitions, layout, r.options.Seed); err != nil {
		return err
	}
	if reason != "" {
		r.result.Partitions = PartitionsProxy
		r.say("There are no network namespaces for the nodes (%s): proxies cut links instead.", reason)
	}
	switch r.result.Partitions {
	case PartitionsNamespaces:
		r.say("Partitions: each node has a network namespace of its own, and half the clerks have one; packets between them are dropped.")
	case PartitionsProxy:
		r.say("Partitions: a proxy on each link between the replicas of a group, and from half the clerks to each node, swallows what " +
			"passes. The links between groups are left alone.")
	default:
		r.say("Partitions: none, the links are left alone.")
	}
	return nil
}

// clerkOptions are those of a clerk outside all partitions.
func (r *run) clerkOptions() clerk.Options {
	return r.network.clerkOptions(r.cluster.Coordinators(), r.network.dialOptions())
}

// dial makes a clerk that moves money, over links that can be hurt if it is to be far.
func (r *run) dial(ctx context.Context, far bool) (*clerk.Clerk, error) {
	options := r.clerkOptions()
	options.Hooks = r.hooks()
	if far {
		options.DialOptions = r.network.farDialOptions()
		committed := options.Hooks.Committed
		options.Hooks.Committed = func(c clerk.Committed) {
			r.farCommits.Add(1)
			committed(c)
		}
	}
	return clerk.Dial(ctx, options)
}

// hooks count for all clerks that move money.
func (r *run) hooks() clerk.Hooks {
	return clerk.Hooks{
		Committed: func(c clerk.Committed) {
			r.commits.Add(1)
			r.watch.raise(c.Attempt.TS)
		},
		Aborted: func(txn.Verdict) { r.conflicts.Add(1) },
	}
}
