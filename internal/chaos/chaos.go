package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/txn"
)

// Times to wait before something counts as failed.
const (
	startTimeout  = 30 * time.Second
	commitTimeout = 30 * time.Second
	wholeTimeout  = 60 * time.Second
	endTimeout    = 20 * time.Second
	auditTimeout  = 5 * time.Minute
	enoughTimeout = 2 * time.Minute
)

// hurriedTimeout is the time of a fifth of the transfers: enough when nothing is wrong, too little during a fault.
const hurriedTimeout = 200 * time.Millisecond

// run is one run.
type run struct {
	options   Options
	result    Result
	cluster   *process.Cluster
	clerks    []*clerk.Clerk
	ledger    *bank.Ledger
	watch     *witness
	probe     *probe // of the primary that is stopped now, if one is
	commits   atomic.Uint64
	conflicts atomic.Uint64
}

// Run runs in a temporary directory, which is removed again, as are all processes. When something failed, and not
// because ctx has ended, the directory stays and the error names it.
// The errors are ErrOptions, ErrVoid, ErrStale, ErrDiverged, ErrStuck, bank.ErrBooks, and those of starting.
func Run(ctx context.Context, options Options) (Result, error) {
	if err := options.Validate(); err != nil {
		return Result{}, err
	}
	options.setDefaults()
	directory, err := os.MkdirTemp("", "viewline-chaos-")
	if err != nil {
		return Result{}, fmt.Errorf("chaos: %w", err)
	}
	r := &run{options: options, ledger: bank.NewLedger(options.Accounts)}
	began := time.Now()
	err = r.run(ctx, directory)
	err = errors.Join(err, r.close())
	r.result.Took = time.Since(began)
	if err != nil && ctx.Err() == nil {
		return r.result, fmt.Errorf("%w\nthe nodes' data and logs stay in %s", err, directory)
	}
	return r.result, errors.Join(err, os.RemoveAll(directory))
}

func (r *run) say(format string, arguments ...any) {
	if r.options.Say != nil {
		r.options.Say(fmt.Sprintf(format, arguments...))
	}
}

func (r *run) run(ctx context.Context, directory string) error {
	if err := r.start(ctx, directory); err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	load.Go(func() {
		r.ledger.Run(loading, r.clerks, bank.RunOptions{
			Callers: r.options.Clerks, Seed: r.options.Seed, Prefix: "chaos", HurriedTimeout: hurriedTimeout,
		})
	})
	load.Go(func() { r.mortals(loading) })
	load.Go(func() { r.watch.run(loading) })
	err := r.rounds(ctx)
	stop()
	load.Wait()
	r.result.Commits, r.result.Conflicts, r.result.Gets = r.commits.Load(), r.conflicts.Load(), int(r.watch.gets.Load())
	r.result.Fails = r.ledger.Failures()
	if err = errors.Join(err, r.watch.failure()); err != nil {
		return err
	}
	return r.check(ctx)
}

func (r *run) start(ctx context.Context, directory string) error {
	layout, err := cluster.LocalLayout(directory, r.options.Replicas, 2, r.options.Replicas)
	if err != nil {
		return err
	}
	layout.Durability = r.options.Durability
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if r.cluster, err = process.Start(limited, process.Options{Binary: r.options.Binary, Layout: layout}); err != nil {
		return err
	}
	if r.watch, err = newWitness(limited, r.cluster); err != nil {
		return err
	}
	for range r.options.Clerks {
		c, err := clerk.Dial(limited, clerk.Options{Coordinators: r.cluster.Coordinators(), Hooks: r.hooks()})
		if err != nil {
			return err
		}
		r.clerks = append(r.clerks, c)
	}
	r.say("%d coordinator replicas and 2 shards of %d replicas run in %s, each a process of its own; %d clerks move money between %d accounts.",
		r.options.Replicas, r.options.Replicas, r.options.Durability, r.options.Clerks, r.options.Accounts)
	return bank.OpenAccounts(limited, r.clerks[0], r.options.Accounts)
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

// rounds hurts the cluster in every way, over and over as the options say.
func (r *run) rounds(ctx context.Context) error {
	began := time.Now()
	for round := 0; round < r.options.Rounds || time.Since(began) < r.options.Duration; round++ {
		for _, fault := range r.faults() {
			if err := r.suffer(ctx, fault); err != nil {
				return err
			}
		}
	}
	return r.enough(ctx)
}

// enough lets the load go on until it has done as much as a run must have, on a slow machine too. What is still
// missing when its time is over makes the run void.
func (r *run) enough(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, enoughTimeout)
	defer cancel()
	err := survey.Poll(limited, func() error {
		done := Result{Commits: r.commits.Load(), Conflicts: r.conflicts.Load(), Gets: int(r.watch.gets.Load())}
		return done.void()
	})
	if ctx.Err() != nil {
		return err
	}
	return nil
}

// check judges the whole run after the load has ended.
func (r *run) check(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	if err := r.cluster.AwaitWhole(limited); err != nil {
		return err
	}
	var err error
	if r.result.Audit, err = r.ledger.Audit(limited, r.clerks[0]); err != nil {
		return err
	}
	if err := r.compareStates(limited); err != nil {
		return err
	}
	times := make([]time.Duration, len(r.result.Faults))
	for i, fault := range r.result.Faults {
		times[i] = fault.NextCommit
	}
	r.result.Median = median(times)
	return r.result.void()
}

// median is the middle one of some times, or between the middle two; they get sorted.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return (times[(len(times)-1)/2] + times[len(times)/2]) / 2
}

// void says why a run proves nothing, or returns nil.
func (r *Result) void() error {
	if r.Commits < commitsMin {
		return fmt.Errorf("%w: %d commits, need %d", ErrVoid, r.Commits, commitsMin)
	}
	if r.Conflicts < conflictsMin {
		return fmt.Errorf("%w: %d conflicts, need %d", ErrVoid, r.Conflicts, conflictsMin)
	}
	if r.Gets < probesMin {
		return fmt.Errorf("%w: %d reads were checked, need %d", ErrVoid, r.Gets, probesMin)
	}
	for _, fault := range r.Faults {
		if fault.Commits < commitsAfterFaultMin {
			return fmt.Errorf("%w: %d commits after %s, need %d", ErrVoid, fault.Commits, fault.Name, commitsAfterFaultMin)
		}
		if fault.Stopped && min(fault.Asked(), fault.Gets) < probesMin {
			return fmt.Errorf("%w: %d direct questions and %d reads after %s, need %d of each", ErrVoid, fault.Asked(), fault.Gets, fault.Name, probesMin)
		}
	}
	return nil
}

func (r *run) close() error {
	var err error
	for _, c := range r.clerks {
		err = errors.Join(err, c.Close())
	}
	if r.probe != nil {
		err = errors.Join(err, r.probe.close())
	}
	if r.watch != nil {
		err = errors.Join(err, r.watch.close())
	}
	if r.cluster != nil {
		err = errors.Join(err, r.cluster.Close())
	}
	return err
}
