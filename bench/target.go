package bench

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// TargetOf is a cluster that runs already: its coordinators, for the clerks, and all its groups, for the meter.
func TargetOf(options clerk.Options, groups []survey.Group) Target {
	return Target{
		Dial: func(ctx context.Context, hooks clerk.Hooks) (*clerk.Clerk, error) {
			options := options
			options.Hooks = hooks
			return clerk.Dial(ctx, options)
		},
		Meter: func(ctx context.Context) (Cost, error) { return MeterOf(survey.Ask(ctx, groups)) },
	}
}

// MeterOf adds up what the replicas say. Every one must answer: a part would look like a saving.
func MeterOf(replicas []survey.Replica) (Cost, error) {
	var cost Cost
	for _, r := range replicas {
		if r.Error != "" {
			return Cost{}, fmt.Errorf("bench: meter: replica %d of group %d: %s", r.Replica, r.Group, r.Error)
		}
		cost.Fsyncs += r.Counters["fsyncs"]
		cost.Frames += r.NodeCounters["peers_frames_sent"] + r.NodeCounters["request_frames"] + r.NodeCounters["response_frames"]
		cost.CPUSeconds += r.CPUSeconds
	}
	if cost.Fsyncs == 0 || cost.Frames == 0 || cost.CPUSeconds == 0 {
		return Cost{}, fmt.Errorf("%w: the meter stands still: %+v", ErrVoid, cost)
	}
	return cost, nil
}

// Own is a cluster of processes for measuring only, in a temporary directory.
type Own struct {
	Target
	cluster   *process.Cluster
	directory string
}

// OwnOptions say what cluster StartOwn starts.
type OwnOptions struct {
	Shards int
	// Backend replicates every group: vr (the default) or raft.
	Backend string
	// Leases: the primaries read under leases, where the backend has them.
	Leases bool
	// Log is how the replicas keep their logs, as in cluster.toml; empty: the default.
	Log string
}

// StartOwn starts three coordinators and a number of shards, three replicas each, from a viewline binary. Close ends them
// and removes the directory.
func StartOwn(ctx context.Context, binary string, options OwnOptions) (*Own, error) {
	directory, err := os.MkdirTemp("", "viewline-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	own := &Own{directory: directory}
	layout, err := cluster.LocalLayout(directory, 3, options.Shards, 3)
	if err == nil {
		layout.Backend, layout.Log = options.Backend, options.Log
		if !options.Leases {
			layout.Leases = &options.Leases
		}
		own.cluster, err = process.Start(ctx, process.Options{Binary: binary, Layout: layout})
	}
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	own.Target = TargetOf(clerk.Options{Coordinators: own.cluster.Coordinators()}, nil)
	own.Meter = func(ctx context.Context) (Cost, error) { return MeterOf(own.cluster.Survey(ctx)) }
	return own, nil
}

// Close ends the processes and removes their directories.
func (o *Own) Close() error {
	var err error
	if o.cluster != nil {
		err = o.cluster.Close()
	}
	return errors.Join(err, os.RemoveAll(o.directory))
}
