package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/sim/group"
)

// errSimulation: a simulated group broke a claim, or so little happened that the run says nothing.
var errSimulation = errors.New("the simulation failed")

// simFlags are the flags of `viewline sim vr`.
type simFlags struct {
	start, seeds, seed uint64
	durability, calm   string
	troubleTicks       int
	reduce             int
	trace              bool
}

func (a *app) simCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "sim", GroupID: "try", Short: "Play seeds of the deterministic simulator",
		Long: `Play seeds of the deterministic simulator: the protocol's own code, in one goroutine, on a network, disks and clocks
that fail as the seed says. The same seed always goes the same way.`,
		Args: knownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(a.simGroupCommand())
	return command
}

func (a *app) simGroupCommand() *cobra.Command {
	var f simFlags
	command := &cobra.Command{
		Use: "vr", Short: "Play a group of Viewstamped Replication",
		Long: `Play seeds of a group of 1 to 7 replicas, each with its own mixture of faults, and check every message, disk and answer.
A seed that fails is printed with the command that replays it: then --seed plays that one alone, --trace shows what
happens in it, and --reduce looks for less trouble that leads to the same failure. Exit code 8: a claim is broken.`,
		Example: `  viewline sim vr --seeds 100000
  viewline sim vr --seed 4711 --trace`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("seed") {
				return a.simOne(options, &f)
			}
			return a.simMany(cmd, options, &f)
		},
	}
	flags := command.Flags()
	flags.Uint64Var(&f.seeds, "seeds", 10_000, "how many seeds to play")
	flags.Uint64Var(&f.start, "start", 1, "the first of them")
	flags.Uint64Var(&f.seed, "seed", 0, "play this one alone")
	flags.StringVar(&f.durability, "durability", "drawn", "of the replicas: drawn by each seed, sync, async or memory")
	flags.StringVar(&f.calm, "calm", "", "troubles to do without, such as loss,clog,partition")
	flags.IntVar(&f.troubleTicks, "trouble-ticks", 0, "how long the troubles go on at the most; 0: as the seed draws it")
	flags.IntVar(&f.reduce, "reduce", 0, "with --seed: look for less that fails too, in at most so many runs")
	flags.BoolVar(&f.trace, "trace", false, "with --seed: write every event")
	return command
}

func (f *simFlags) options() (group.Options, error) {
	calm, err := group.ParseCalm(f.calm)
	if err != nil {
		return group.Options{}, usageError{err}
	}
	choices := map[string]group.Choice{
		"drawn": group.ChoiceDrawn, "sync": group.ChoiceSync, "async": group.ChoiceAsync, "memory": group.ChoiceMemory,
	}
	durability, known := choices[f.durability]
	if !known {
		return group.Options{}, usagef("--durability is %q, need drawn, sync, async or memory", f.durability)
	}
	if f.troubleTicks < 0 || f.reduce < 0 {
		return group.Options{}, usagef("--trouble-ticks and --reduce are not negative")
	}
	return group.Options{Seed: f.seed, Durability: durability, Calm: calm, TroubleTicks: f.troubleTicks}, nil
}

// replay is the command that plays a seed again.
func (f *simFlags) replay(options group.Options) string {
	text := fmt.Sprintf("viewline sim vr --seed %d", options.Seed)
	if options.Durability != group.ChoiceDrawn {
		text += " --durability " + f.durability
	}
	if options.Calm != 0 {
		text += " --calm " + options.Calm.String()
	}
	if options.TroubleTicks != 0 {
		text += fmt.Sprintf(" --trouble-ticks %d", options.TroubleTicks)
	}
	return text
}

// simOne plays one seed, after looking for less that fails if that is wanted.
func (a *app) simOne(options group.Options, f *simFlags) error {
	if f.reduce > 0 {
		var report group.Report
		if options, report = group.Reduce(options, f.reduce); report.Violation == nil {
			return usagef("seed %d does not fail: there is nothing to reduce", options.Seed)
		}
	}
	if f.trace {
		options.Trace = a.out
	}
	report := group.Run(options)
	if report.Violation != nil {
		return fmt.Errorf("%w: seed %d, %w\n  replay: %s --trace", errSimulation, options.Seed, report.Violation, f.replay(options))
	}
	if a.output == "json" {
		return a.json(&report)
	}
	_, err := fmt.Fprintf(a.out, "seed %d: %d operations committed, %d view changes, %d events, healed in %d ticks, event hash %016x\n",
		report.Seed, report.Committed, report.ViewChanges, report.Events, report.HealTicks, report.EventHash)
	return err
}

// simResult is what a run of many seeds comes to, as JSON.
type simResult struct {
	Start       uint64          `json:"start"`
	Seeds       uint64          `json:"seeds"`
	Seconds     float64         `json:"seconds"`
	Committed   uint64          `json:"committed"`
	ViewChanges uint64          `json:"view_changes"`
	Events      uint64          `json:"events"`
	Coverage    *group.Coverage `json:"coverage"`
	Failures    []string        `json:"failures"`
}

// simulationGCPercent is GOGC while seeds are played; the heap stays below some 20 MB a core.
const simulationGCPercent = 400

// simMany plays many seeds.
func (a *app) simMany(cmd *cobra.Command, options group.Options, f *simFlags) error {
	// A seed needs little memory, and leaves most of it to the next: collecting what is left can wait.
	defer debug.SetGCPercent(debug.SetGCPercent(simulationGCPercent))
	watch, began := a.progress(), time.Now()
	totals := group.Play{
		Options: options, Start: f.start, Count: f.seeds, ProgressEvery: 500,
		Progress: func(totals *group.Totals) {
			watch.show("%d of %d seeds, %.0f a second", totals.Seeds, f.seeds, float64(totals.Seeds)/time.Since(began).Seconds())
		},
	}.Run(cmd.Context())
	watch.clear()
	result := simResult{
		Start: f.start, Seeds: totals.Seeds, Seconds: time.Since(began).Seconds(), Committed: totals.Committed, ViewChanges: totals.ViewChanges,
		Events: totals.Events, Coverage: &totals.Coverage, Failures: f.failures(options, totals),
	}
	if err := a.writeSimulation(&result, totals); err != nil {
		return err
	}
	switch {
	case len(result.Failures) > 0:
		return fmt.Errorf("%w: %s", errSimulation, strings.Join(result.Failures, "\n  "))
	case cmd.Context().Err() != nil:
		return interrupted(cmd.Context(), cmd.Context().Err(), fmt.Sprintf("%d of %d seeds were played, without a failure", totals.Seeds, f.seeds))
	case totals.Committed == 0 && totals.Seeds > 0:
		return fmt.Errorf("%w: nothing was committed, so that nothing was checked", errSimulation)
	}
	return nil
}

func (f *simFlags) failures(options group.Options, totals *group.Totals) []string {
	failures := []string{}
	for _, report := range totals.Failures {
		options.Seed = report.Seed
		failures = append(failures, fmt.Sprintf("seed %d: %v\n  replay: %s --trace", report.Seed, report.Violation, f.replay(options)))
	}
	for _, seed := range totals.TwoWays {
		failures = append(failures, fmt.Sprintf("seed %d goes two ways", seed))
	}
	return failures
}

func (a *app) writeSimulation(result *simResult, totals *group.Totals) error {
	if a.output == "json" {
		return a.json(result)
	}
	if err := totals.Coverage.WriteTable(a.out, max(1, totals.Seeds)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "%d seeds in %.1f s (%.0f a second): %d operations committed, %d view changes, %d failures\n", result.Seeds,
		result.Seconds, float64(result.Seeds)/result.Seconds, result.Committed, result.ViewChanges, len(result.Failures))
	return err
}
