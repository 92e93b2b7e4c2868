package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/registers"
	"github.com/viewline/viewline/internal/survey"
)

// Times to wait before something counts as failed.
const (
	startTimeout  = 30 * time.Second
	commitTimeout = 40 * time.Second
	wholeTimeout  = 2 * time.Minute
	changeTimeout = 2 * time.Minute
	probeTimeout  = 2 * time.Minute
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
	network   *network
	cluster   *process.Cluster
	random    *rand.Rand   // of the faults
	victim    process.Node // is dead while links are hurt
	clerks    []*clerk.Clerk
	ledger    *bank.Ledger
	watch     *witness
	history   *registers.History
	probe     *probe // of the primary that is stopped now, if one is
	began     time.Time
	load      load
	mortal    int // clerks that have died
	directory string
	pending   *changing         // the change of members that is on its way, if one is
	largest   map[uint32]uint32 // id of a replica that each group has had
	commits   atomic.Uint64
	conflicts atomic.Uint64
	// farCommits are those of the far clerks.
	farCommits atomic.Uint64
}

// Run runs in a temporary directory, which is removed again, as are all processes. When something failed, and not
// because ctx has ended, the directory stays and the error names it.
// The errors are ErrOptions, ErrVoid, ErrStale, ErrDiverged, ErrStuck, bank.ErrBooks, registers.ErrNotLinearizable,
// registers.ErrUndecided, and those of starting.
func Run(ctx context.Context, options Options) (Result, error) {
	if err := options.Validate(); err != nil {
		return Result{}, err
	}
	options.setDefaults()
	directory, err := os.MkdirTemp("", "viewline-chaos-")
	if err != nil {
		return Result{}, fmt.Errorf("chaos: %w", err)
	}
	r := &run{
		options: options, ledger: bank.NewLedger(options.Accounts), history: registers.New(), random: rand.New(rand.NewPCG(options.Seed, 0)),
		result: Result{Partitions: options.Partitions, Kinds: map[string]int{}},
	}
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
	r.began = time.Now()
	r.startLoad(ctx)
	err := r.rounds(ctx)
	r.endLoad()
	r.result.Commits, r.result.Conflicts, r.result.Gets = r.commits.Load(), r.conflicts.Load(), int(r.watch.gets.Load())
	r.result.Fails, r.result.Registers = r.ledger.Failures(), r.history.Counts()
	if err = errors.Join(err, r.watch.failure()); err != nil {
		return err
	}
	return r.check(ctx)
}

// rounds hurts the cluster in every way, over and over as the options say.
func (r *run) rounds(ctx context.Context) error {
	began := time.Now()
	wanted := slices.Clone(r.options.Kinds)
	for round := 0; round < r.options.Rounds || time.Since(began) < r.options.Duration; round++ {
		for _, fault := range r.faults(round) {
			wanted = append(wanted, fault.kind)
			if err := r.suffer(ctx, fault); err != nil {
				return err
			}
		}
	}
	if r.result.Partitions == PartitionsProxy {
		for _, fault := range r.chosen(r.memberFaults(0)) {
			wanted = append(wanted, fault.kind)
			if err := r.suffer(ctx, fault); err != nil {
				return err
			}
		}
	}
	if kind := r.result.lacks(wanted); kind != "" {
		return fmt.Errorf("%w: no fault of kind %s", ErrVoid, kind)
	}
	return r.enough(ctx)
}

// enough lets the load go on until it has done as much as a run must have, on a slow machine too. What is still
// missing when its time is over makes the run void.
func (r *run) enough(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, enoughTimeout)
	defer cancel()
	err := survey.Poll(limited, func() error {
		done := Result{Commits: r.commits.Load(), Conflicts: r.conflicts.Load(), Gets: int(r.watch.gets.Load()), Registers: r.history.Counts()}
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
	if err := r.history.Check(registerTimeout); err != nil {
		return err
	}
	var times []time.Duration
	for _, fault := range r.result.Faults {
		if ofProcesses(fault.Kind) {
			times = append(times, fault.NextCommit)
		}
	}
	if len(times) > 0 {
		r.result.Median = median(times)
	}
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
	if least := min(r.Registers.Puts, r.Registers.Gets); least < registersMin {
		return fmt.Errorf("%w: %d reads or writes of single objects, need %d of each", ErrVoid, least, registersMin)
	}
	for _, fault := range r.Faults {
		if fault.Commits < commitsAfterFaultMin {
			return fmt.Errorf("%w: %d commits after %s, need %d", ErrVoid, fault.Commits, fault.Name, commitsAfterFaultMin)
		}
		if fault.Probed && min(fault.Asked(), fault.Gets) < probesMin {
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
	if r.pending != nil {
		r.pending.cancel()
		_ = r.settled(context.Background()) // what came of it does not matter any more
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
	if r.network != nil {
		err = errors.Join(err, r.network.close())
	}
	return err
}
