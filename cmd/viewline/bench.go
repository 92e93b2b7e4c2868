package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/bench"
	"github.com/viewline/viewline/cluster"
)

// benchFlags are those that do not belong to one run.
type benchFlags struct {
	bench.Options
	kind    string
	callers []int
	thetas  []float64
	cluster bench.OwnOptions
	echo    bool
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	command := &cobra.Command{
		Use: "bench", GroupID: "try", Short: "Measure transactions under contention, and check every run",
		Long: `Run closed-loop load for each combination of --callers and --theta: transactions that read and write some objects on
one or two shards, single puts, or single gets. Unless --coordinators (or its variable) is given, a cluster of its own starts on
free loopback ports (three coordinators, --shards shards of three replicas) and removed afterwards.

Every run is recorded and replayed in timestamp order: it ends with SERIALIZABLE, or with a counterexample and exit
code 8. Frames and fsyncs are those of all nodes together.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.Kind = bench.Kind(f.kind)
			return a.bench(cmd, &f)
		},
	}
	flags := command.Flags()
	flags.StringVar(&f.kind, "kind", string(bench.Transaction), "txn, put or get")
	flags.IntVar(&f.Reads, "reads", 2, "objects that a transaction reads")
	flags.IntVar(&f.Writes, "writes", 2, "objects that it writes, the first of those that it reads")
	flags.IntVar(&f.Shards, "spread", 1, "shards that a transaction touches: 1 or 2")
	flags.IntSliceVar(&f.callers, "callers", []int{64}, "operations under way at once; several for several runs")
	flags.IntVar(&f.Clerks, "clerks", 1, "clerks that the callers share")
	flags.Float64SliceVar(&f.thetas, "theta", []float64{0}, "Zipf skew of the keys, from 0 (uniform); several for several runs")
	flags.IntVar(&f.Keys, "keys", 100_000, "objects")
	flags.IntVar(&f.ValueBytes, "value-bytes", 128, "size of each value")
	flags.DurationVar(&f.Duration, "duration", 5*time.Second, "of the measured part of each run")
	flags.Uint64Var(&f.Seed, "seed", 1, "draws the keys")
	flags.IntVar(&f.cluster.Shards, "shards", 2, "shards of the cluster that is started")
	flags.StringVar(&f.cluster.Backend, "backend", cluster.BackendVR, "what replicates the groups of the cluster that is started: vr or raft (VIEWLINE_BACKEND)")
	flags.BoolVar(&f.cluster.Leases, "leases", true, "let the primaries of the cluster that is started read under leases")
	flags.StringVar(&f.cluster.Log, "log", "bbolt", "how the replicas of the cluster that is started keep their logs: bbolt or wal")
	flags.BoolVar(&f.echo, "echo", false, "measure plain unary gRPC calls too, as a baseline")
	command.AddCommand(a.benchReplicationCommand())
	return command
}

func (a *app) bench(cmd *cobra.Command, f *benchFlags) (err error) {
	ctx := cmd.Context()
	runs := f.runs()
	for _, options := range runs {
		if err := options.Validate(); err != nil {
			return usageError{err}
		}
	}
	if f.cluster.Backend == cluster.BackendRaft && f.cluster.Leases && cmd.Flags().Changed("leases") {
		return usagef("backend raft has no leases: leave --leases away")
	}
	target, end, err := a.benchTarget(cmd, f)
	if err != nil {
		return interrupted(ctx, err, cleanedUp)
	}
	defer func() { err = errors.Join(err, end()) }()
	var results []*bench.Result
	watch := a.progress()
	defer watch.clear()
	for i, options := range runs {
		watch.show("run %d of %d: %s, %d callers, theta %g", i+1, len(runs), options.Kind, options.Callers, options.Theta)
		if f.echo && (i == 0 || runs[i-1].Callers != options.Callers) {
			result, err := bench.Echo(ctx, options.Callers, options.ValueBytes, options.Duration)
			if err != nil {
				return err
			}
			results = append(results, result)
		}
		result, err := bench.Run(ctx, target, options)
		if result != nil {
			results = append(results, result)
		}
		if err != nil {
			return interrupted(ctx, errors.Join(err, a.writeBench(results)), cleanedUp)
		}
	}
	watch.clear()
	return a.writeBench(results)
}

func (f *benchFlags) runs() []bench.Options {
	var runs []bench.Options
	for _, callers := range f.callers {
		for _, theta := range f.thetas {
			options := f.Options
			options.Callers, options.Theta = callers, theta
			options.Clerks = min(options.Clerks, callers)
			runs = append(runs, options)
		}
	}
	return runs
}

// benchTarget is the cluster that the flags name, or one of its own.
func (a *app) benchTarget(cmd *cobra.Command, f *benchFlags) (target bench.Target, end func() error, err error) {
	ctx := cmd.Context()
	if cmd.Flags().Changed("coordinators") {
		limited, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		groups, err := a.groups(limited)
		if err != nil {
			return bench.Target{}, nil, err
		}
		return bench.TargetOf(a.clerkOptions(), groups), func() error { return nil }, nil
	}
	binary, err := os.Executable()
	if err != nil {
		return bench.Target{}, nil, err
	}
	own, err := bench.StartOwn(ctx, binary, f.cluster)
	if err != nil {
		return bench.Target{}, nil, err
	}
	return own.Target, own.Close, nil
}

func (a *app) writeBench(results []*bench.Result) error {
	if a.output == "json" {
		return a.json(results)
	}
	header := []string{
		"kind", "callers", "theta", "commits/s", "p50 ms", "p99 ms", "aborts/commit", "fsyncs/commit", "frames/commit",
		"cpu s/1000", "why again", "verdict",
	}
	rows := make([][]any, len(results))
	for i, r := range results {
		kind := string(r.Options.Kind)
		if r.Options.Kind == bench.Transaction {
			kind = fmt.Sprintf("txn r%d w%d on %d", r.Options.Reads, r.Options.Writes, r.Options.Shards)
		}
		rows[i] = []any{
			kind, r.Options.Callers, r.Options.Theta, fmt.Sprintf("%.0f", r.CommitsPerSecond), millis(r.P50), millis(r.P99),
			fmt.Sprintf("%.2f", r.AbortsPerCommit), fmt.Sprintf("%.2f", r.FsyncsPerCommit), fmt.Sprintf("%.1f", r.FramesPerCommit),
			fmt.Sprintf("%.2f", r.CPUPerThousand), reasons(r.Aborts), r.Verdict,
		}
	}
	return a.table(header, rows)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

func reasons(aborts map[string]uint64) string {
	var parts []string
	for reason, count := range aborts {
		parts = append(parts, fmt.Sprintf("%s %d", reason, count))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
