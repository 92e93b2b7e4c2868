package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/bench/backends"
)

// replicationFlags are those of `viewline bench replication`.
type replicationFlags struct {
	backends.Options
	behindMiB int64
	timeout   time.Duration
	report    bool
	plots     string
}

func (a *app) benchReplicationCommand() *cobra.Command {
	var f replicationFlags
	command := &cobra.Command{
		Use: "replication", Short: "Measure the backends of replication against each other, on equal terms",
		Long: `Run groups of one backend and of another in turn: each replica a process of its own on loopback with a directory of its
own, the same state machine, transport, time-outs and batches, and the load inside the primary's process. What is run is
every combination of --scenario, --durability, --replicas, --value-bytes and --proposers, with each of --backends, --runs
times.

  throughput  operations a second, latencies, and CPU, fsyncs, messages and bytes for one operation, of all replicas
  failover    the time from kill -9 of a primary under load to the next commit
  catchup     a replica that was down while --behind-mib were written: time, bytes, and what the group does meanwhile

The ratio is that of the first backend's runs to the other's, run by run: the median, and between which values the median
of all possible runs is with 95 % (with less than 6 runs: the least and the greatest). vr/wal is vr with one fsync for a
batch, which no other backend has: it is shown beside the others.

Before anything is measured it is looked at when each backend syncs (by the kernel's word, on Linux); one that does so on
less than a majority before it acknowledges, or syncs in memory, is refused with exit code 8. So is a run whose replicas
end in different states, or without what was acknowledged.`,
		Example: `  viewline bench replication --backends vr,raft --proposers 1,64
  viewline bench replication --scenario failover --kills 20
  viewline bench replication --results runs.jsonl            # run again, it goes on where it was interrupted
  viewline bench replication --results runs.jsonl --report   # tables in markdown, nothing is run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Runs < 1 || f.Kills < 1 || f.Duration <= 0 || f.Warmup <= 0 || f.behindMiB < 1 || f.timeout <= 0 {
				return usagef("--runs, --kills, --duration, --warmup, --behind-mib and --view-change-timeout need more than 0")
			}
			f.BehindBytes = f.behindMiB << 20
			f.Terms.ViewChangeTimeout = f.timeout
			if f.report {
				return a.reportReplication(&f)
			}
			return a.benchReplication(cmd, &f)
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&f.Backends, "backends", []string{"vr", "raft"}, "what is measured: vr, raft, vr/wal")
	flags.StringSliceVar(&f.Scenarios, "scenario", []string{backends.Throughput}, "throughput, failover, catchup")
	flags.StringSliceVar(&f.Durabilities, "durability", []string{backends.Sync}, "sync, memory")
	flags.IntSliceVar(&f.Replicas, "replicas", []int{3}, "of a group: 3, 5 or 7")
	flags.IntSliceVar(&f.Proposers, "proposers", []int{1, 16, 64, 256}, "operations under way at once")
	flags.IntSliceVar(&f.ValueBytes, "value-bytes", []int{128}, "size of each value")
	flags.IntVar(&f.Runs, "runs", 5, "runs of each backend, in turn")
	flags.IntVar(&f.Kills, "kills", 20, "runs of failover of each backend, in turn")
	flags.DurationVar(&f.Duration, "duration", 5*time.Second, "of the measured part of each run")
	flags.DurationVar(&f.Warmup, "warmup", time.Second, "before it")
	flags.Int64Var(&f.behindMiB, "behind-mib", 256, "MiB that are written while a replica is down")
	flags.DurationVar(&f.timeout, "view-change-timeout", 300*time.Millisecond, "the shortest time after which a primary is taken for lost; the longest is twice that")
	flags.StringVar(&f.Results, "results", "", "add every run to this file, a line of JSON each, and make none again that is there")
	flags.BoolVar(&f.report, "report", false, "run nothing: write the tables of --results in markdown")
	flags.StringVar(&f.plots, "plots", "", "with --report: write plots to this directory, as SVG")
	flags.StringVar(&f.Profiles, "profile", "", "write a CPU profile of every process to this directory")
	flags.StringVar(&f.Directory, "dir", "", "make the replicas' directories here; default: where temporary files go")
	command.AddCommand(benchReplicaCommand(a))
	return command
}

// benchReplicaCommand is one replica's process.
func benchReplicaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "replica", Hidden: true, Short: "Be a replica that is measured", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return backends.Serve(a.in, a.out) },
	}
}

func (a *app) benchReplication(cmd *cobra.Command, f *replicationFlags) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	f.Command = []string{binary, "bench", "replication", "replica"}
	f.Progress = func(what string) { fmt.Fprintln(a.err, what) }
	records, err := backends.Compare(cmd.Context(), f.Options)
	if len(records) > 0 {
		err = errors.Join(err, a.writeReplication(records))
	}
	return interrupted(cmd.Context(), err, cleanedUp)
}

func (a *app) writeReplication(records []backends.Record) error {
	summaries := backends.Summarize(records)
	if a.output == "json" {
		return a.json(map[string]any{"runs": records, "summaries": summaries})
	}
	for _, t := range backends.Tables(summaries) {
		rows := make([][]any, len(t.Rows))
		for i, row := range t.Rows {
			for _, cell := range row {
				rows[i] = append(rows[i], cell)
			}
		}
		if err := a.table(t.Header, rows); err != nil {
			return err
		}
	}
	return nil
}

// reportReplication writes what a file of results says.
func (a *app) reportReplication(f *replicationFlags) error {
	if f.Results == "" {
		return usagef("--report needs --results FILE")
	}
	records, err := backends.ReadResults(f.Results)
	if err != nil {
		return err
	}
	report, err := backends.ReportOf(records)
	if err != nil {
		return err
	}
	for name, plot := range report.Plots {
		if f.plots == "" {
			break
		}
		if err := os.WriteFile(filepath.Join(f.plots, name), []byte(plot), 0o644); err != nil {
			return usageError{err}
		}
	}
	_, err = fmt.Fprint(a.out, report.Markdown)
	return err
}
