package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/tree"
	"github.com/viewline/viewline/txn"
)

// The size of the demo.
const (
	coordinators = 3
	shards       = 2
	replicas     = 3
	clerkCount   = 4
	accounts     = 200
	movesMax     = 40
	treeName     = "demo"
)

// Times to wait. Nothing fails for being slow before these are over.
const (
	startTimeout  = 30 * time.Second
	commitTimeout = 30 * time.Second
	wholeTimeout  = 60 * time.Second
	// calm is how long the work goes on undisturbed before each kill.
	calm = time.Second
)

// demo is one run.
type demo struct {
	options   Options
	began     time.Time
	result    Result
	cluster   *process.Cluster
	clerks    []*clerk.Clerk
	tree      *tree.Tree
	source    *tree.Source
	moves     []tree.Moved
	commits   atomic.Uint64
	conflicts atomic.Uint64
}

// Run runs the demo in a temporary directory, which is removed again, as are all processes. When something failed, and
// not because ctx has ended, the directory stays and the error names it. The error is tree.ErrDiffers or
// bank.ErrBooks when a check failed.
func Run(ctx context.Context, options Options) (Result, error) {
	if err := options.Validate(); err != nil {
		return Result{}, err
	}
	d := &demo{options: options, began: time.Now()}
	directory, err := os.MkdirTemp("", "viewline-demo-")
	if err != nil {
		return Result{}, fmt.Errorf("demo: %w", err)
	}
	err = errors.Join(d.run(ctx, directory), d.close())
	if err != nil && ctx.Err() == nil {
		return d.result, fmt.Errorf("%w\nthe nodes' data and logs stay in %s", err, directory)
	}
	return d.result, errors.Join(err, os.RemoveAll(directory))
}

func (d *demo) run(ctx context.Context, directory string) error {
	for _, act := range []func(context.Context) error{
		func(ctx context.Context) error { return d.start(ctx, directory) },
		d.load, d.disturb, d.check,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	d.result.Took = time.Since(d.began)
	if d.options.Ready != nil {
		d.options.Ready(d.cluster.Coordinators(), directory)
		<-ctx.Done()
	}
	return nil
}

func (d *demo) say(format string, arguments ...any) {
	if d.options.Say != nil {
		d.options.Say(fmt.Sprintf(format, arguments...))
	}
}

func (d *demo) start(ctx context.Context, directory string) error {
	began := time.Now()
	layout, err := cluster.LocalLayout(directory, coordinators, shards, replicas)
	if err != nil {
		return err
	}
	layout.Backend = cmp.Or(d.options.Backend, cluster.BackendVR)
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	processes := process.Options{Binary: d.options.Binary, Layout: layout}
	if d.options.Ready != nil {
		processes.Arguments = []string{"--admin", "127.0.0.1:0"} // somebody is going to look at them
	}
	if d.cluster, err = process.Start(limited, processes); err != nil {
		return err
	}
	for range clerkCount {
		c, err := clerk.Dial(limited, clerk.Options{Coordinators: d.cluster.Coordinators(), Hooks: clerk.Hooks{
			Committed: func(clerk.Committed) { d.commits.Add(1) },
			Aborted:   func(txn.Verdict) { d.conflicts.Add(1) },
		}})
		if err != nil {
			return err
		}
		d.clerks = append(d.clerks, c)
	}
	d.result.Start = time.Since(began)
	d.say("Started %d coordinator replicas and %d shards of %d replicas, each a process of its own, replicated by %s, in %s.",
		coordinators, shards, replicas, layout.Backend, seconds(d.result.Start))
	return nil
}

func (d *demo) load(ctx context.Context) (err error) {
	if d.source, err = tree.Open(d.options.Tree); err != nil {
		return err
	}
	if d.tree, err = tree.New(d.clerks[0], treeName); err != nil {
		return err
	}
	if d.moves, err = d.source.PlanMoves(movesMax, d.options.Seed); err != nil {
		return err
	}
	total, err := d.source.Count()
	if err != nil {
		return err
	}
	progress := func(done tree.Report) {
		if d.options.Progress != nil {
			d.options.Progress(done, total)
		}
	}
	began := time.Now()
	if d.result.Load, err = d.tree.Load(ctx, d.source, tree.LoadOptions{Progress: progress}); err != nil {
		return err
	}
	d.result.Loaded = time.Since(began)
	load := d.result.Load
	d.say("Stored %s: %d directories and %d files with their SHA-256, a transaction for each directory: %d in %s (%.0f/s).",
		d.options.Tree, load.Directories, load.Files, load.Transactions, seconds(d.result.Loaded),
		float64(load.Transactions)/d.result.Loaded.Seconds())
	if _, err = d.tree.Verify(ctx, d.source, tree.VerifyOptions{}); err != nil {
		return fmt.Errorf("demo: after the load: %w", err)
	}
	return bank.OpenAccounts(ctx, d.clerks[0], accounts)
}

func (d *demo) check(ctx context.Context) error {
	report, err := d.tree.Verify(ctx, d.source.WithMoves(d.moves), tree.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("demo: the tree with its moves: %w", err)
	}
	d.say("Verified the tree with its moves in place: all %d directories, %d files and %d links are as they should be.",
		report.Directories, report.Files, report.Links)
	for i, move := range d.moves {
		if err := d.treeOf(i).Move(ctx, move.To, move.From); err != nil {
			return fmt.Errorf("demo: moving back: %w", err)
		}
	}
	if _, err = d.tree.Verify(ctx, d.source, tree.VerifyOptions{}); err != nil {
		return fmt.Errorf("demo: the tree moved back: %w", err)
	}
	again, err := d.tree.Load(ctx, d.source, tree.LoadOptions{})
	if err != nil {
		return err
	}
	if again.Transactions != 0 {
		return fmt.Errorf("%w: storing the unchanged tree again took %d write transactions", tree.ErrDiffers, again.Transactions)
	}
	d.say("Moved everything back: the tree is the directory again, entry by entry; storing it once more wrote nothing.")
	return nil
}

// close ends clerks and processes.
func (d *demo) close() error {
	var err error
	for _, c := range d.clerks {
		err = errors.Join(err, c.Close())
	}
	if d.cluster != nil {
		err = errors.Join(err, d.cluster.Close())
	}
	return err
}

// treeOf is the tree through one of the clerks.
func (d *demo) treeOf(i int) *tree.Tree { return d.tree.With(d.clerks[i%len(d.clerks)]) }

func seconds(took time.Duration) string { return fmt.Sprintf("%.1f s", took.Seconds()) }
