package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/chaos"
	"github.com/viewline/viewline/internal/demo"
	"github.com/viewline/viewline/internal/tree"
)

func (a *app) demoCommand() *cobra.Command {
	var keep bool
	var directory, backend string
	var seed uint64
	command := &cobra.Command{
		Use: "demo", GroupID: "try", Short: "Start a whole cluster here, hurt it, and check that nothing was lost",
		Long: `Start a cluster of nine processes on free loopback ports, in a temporary directory; store a directory tree; move
directories between parents and money between accounts, with several clerks at once, while the primary of a shard
and that of the coordinator are killed and started again; then verify the tree with its moves, move everything
back, verify it unchanged, and audit the money. The exit code is 0 only if every check holds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			if directory, err = treeDirectory(cmd.Context(), nonEmpty(directory)); err != nil {
				return err
			}
			watch := a.progress()
			options := demo.Options{
				Binary: binary, Backend: backend, Tree: directory, Seed: seed, Say: a.teller(watch),
				Progress: func(done tree.Report, total int) { watch.tree(done, total) },
			}
			if keep {
				options.Ready = a.keep
			}
			result, err := demo.Run(cmd.Context(), options)
			watch.clear()
			if err != nil {
				return interrupted(cmd.Context(), err, cleanedUp)
			}
			if keep && a.output != "json" {
				return nil // keep has said it all
			}
			return a.writeDemo(result)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&keep, "keep", false, "let the cluster run when all is checked, until interrupted")
	flags.StringVar(&directory, "dir", "", "the directory to store; default: the source of the Go installation")
	flags.StringVar(&backend, "backend", cluster.BackendVR, "what replicates the groups: vr or raft (VIEWLINE_BACKEND)")
	flags.Uint64Var(&seed, "seed", 1, "draws what moves where")
	return command
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// teller writes a story line by line, unless the result is wanted as JSON.
func (a *app) teller(watch progress) func(string) {
	if a.output == "json" {
		return nil
	}
	return func(line string) {
		watch.clear()
		fmt.Fprintf(a.out, "%s\n", line)
	}
}

// keep says how to use a cluster that goes on running.
func (a *app) keep(coordinators []string, directory string) {
	to := a.out
	if a.output == "json" {
		to = a.err
	}
	fmt.Fprintf(to, `
Every check held. The cluster runs on, in %s, until you press Ctrl-C. In another terminal:
  export VIEWLINE_COORDINATORS=%s
  viewline status
  viewline put greeting hello && viewline get greeting
  printf 'get greeting\nput greeting goodbye\n' | viewline txn
  grep -h 'admin port' %s/*/log    # each of these has /metrics and /debug/pprof/
`, directory, strings.Join(coordinators, ","), directory)
}

func (a *app) writeDemo(result demo.Result) error {
	if a.output == "json" {
		return a.json(result)
	}
	_, err := fmt.Fprintf(a.out, `Every check held, in %.0f s.

Try next:
  viewline demo --keep     the same, and the cluster stays for you to use
  viewline init --help     set up a cluster of your own
  viewline --help          everything else
`, result.Took.Seconds())
	return err
}

func (a *app) chaosCommand() *cobra.Command {
	var options chaos.Options
	command := &cobra.Command{
		Use: "chaos", GroupID: "try", Short: "Hurt a cluster of processes under load in every way, and check every answer",
		Long: `Start a cluster of processes on free loopback ports (nine with 3 replicas a group) and, while 16 clerks move money:
kill -9 the primary of each shard in turn, that of the coordinator, and all of one shard (in async and memory, which do
not survive that, SIGTERM); SIGTERM a primary; SIGSTOP a shard's and the coordinator's primary until they are deposed,
and let them go on. Then the links between replicas, over the groups in turn: cut primaries off, one way and both,
divide groups, and make links slow, stand still, break, and alter bytes. Then those of half the clerks to a primary, of a
shard to the coordinator, and between shards: cut, standing still until all of it arrives late, slow, breaking. As root
on Linux each node has a network namespace of its own, and packets between them are dropped (--partitions namespaces);
else proxies swallow what passes (proxy): there the links between two groups are left alone. Nothing of it is left when
the command ends, however it does.

Then the members change, by the commands of an operator: a replica of a shard, a primary and a replica of the coordinator
are replaced by newcomers, a replica's disk is wiped and it comes back in a later life, a group grows by two and shrinks
by any two. In the middle of each another replica, the primary at times or the newcomer, is killed, stopped or cut off.
Who has left must serve nobody, and is deleted. With --partitions proxy that comes once, in the end.

In the end every acknowledged transaction is compared with what is stored, and the replicas' states with each other; the
reads and writes of single objects must have been linearizable. The exit code is 0 only if all holds and enough was done
to mean it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if options.Binary, err = os.Executable(); err != nil {
				return err
			}
			options.Say = a.teller(progress{})
			result, err := chaos.Run(cmd.Context(), options)
			if err != nil {
				return interrupted(cmd.Context(), err, cleanedUp)
			}
			return a.writeChaos(result)
		},
	}
	flags := command.Flags()
	flags.IntVar(&options.Rounds, "rounds", 1, "how often to go through all faults")
	flags.DurationVar(&options.Duration, "duration", 0, "begin further rounds until this time is over")
	flags.IntVar(&options.Replicas, "replicas", 3, "of each group")
	flags.StringVar(&options.Backend, "backend", cluster.BackendVR, "what replicates the groups: vr or raft (VIEWLINE_BACKEND)")
	flags.BoolVar(&options.Witness, "witness", false, "one replica of each group is a witness, without a state")
	flags.StringVar(&options.Durability, "durability", "sync", "sync, async or memory")
	flags.StringVar(&options.Log, "log", "bbolt", "how the replicas keep their logs: bbolt or wal")
	flags.StringVar(&options.Partitions, "partitions", chaos.PartitionsNamespaces, "namespaces, proxy or off")
	flags.StringSliceVar(&options.Kinds, "kinds", nil, "only these kinds of faults: "+strings.Join(chaos.Kinds(), ", ")+
		"; clerks, coordinator, shards: all of that family")
	flags.IntVar(&options.Clerks, "clerks", 16, "how many clerks move money")
	flags.IntVar(&options.Accounts, "accounts", 1000, "between how many accounts")
	flags.Uint64Var(&options.Seed, "seed", 1, "draws the transfers")
	return command
}

func (a *app) writeChaos(result chaos.Result) error {
	if a.output == "json" {
		return a.json(result)
	}
	rows := make([][]any, len(result.Faults))
	for i, fault := range result.Faults {
		rows[i] = []any{fault.Name, fault.NextCommit.Round(time.Millisecond), fault.Commits}
	}
	fmt.Fprintln(a.out)
	if err := a.table([]string{"fault", "next commit after", "commits until the next fault"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	if result.Median > 0 {
		fmt.Fprintf(a.out, "median time to the next commit: %d ms (aim: under 700 ms)\n", result.Median.Milliseconds())
	}
	audit := result.Audit
	_, err := fmt.Fprintf(a.out, `%d commits, %d conflicts, %d snapshot reads checked for staleness, in %.0f s
%d transfers acknowledged and there, %d aborted and not there; of those whose outcome was unknown %d are there and %d not
%d in %d accounts, to the last unit; all replicas of each group have the same state
%d writes and %d reads of single objects are linearizable; %d writes had an unknown outcome at first
faults: %s (partitions: %s)
`, result.Commits, result.Conflicts, result.Gets, result.Took.Seconds(),
		audit.Committed, audit.Aborted, audit.UnknownCommitted, audit.UnknownAborted, audit.Total, audit.Accounts,
		result.Registers.Puts, result.Registers.Gets, result.Registers.Unknown, kinds(result), result.Partitions)
	return err
}

// kinds says how many faults of each kind there were.
func kinds(result chaos.Result) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(result.Kinds)) {
		parts = append(parts, fmt.Sprintf("%d %s", result.Kinds[kind], kind))
	}
	return strings.Join(parts, ", ")
}
