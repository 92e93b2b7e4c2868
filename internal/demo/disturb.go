package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/txn"
)

// disturb moves directories and money, with all clerks at once, while it kills and restarts primaries.
func (d *demo) disturb(ctx context.Context) error {
	ledger := bank.NewLedger(accounts)
	running, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	began, commits, conflicts := time.Now(), d.commits.Load(), d.conflicts.Load()
	work.Go(func() {
		ledger.Run(running, d.clerks, bank.RunOptions{Callers: 2 * clerkCount, Seed: d.options.Seed, Prefix: "demo"})
	})
	movers := d.startMovers(ctx, running, &work)
	err := d.killPrimaries(ctx, ledger)
	stop()
	work.Wait()
	d.result.Disturbed = time.Since(began)
	d.result.Commits, d.result.Conflicts = d.commits.Load()-commits, d.conflicts.Load()-conflicts
	d.result.Moves = int(movers.done.Load())
	if err = errors.Join(err, movers.failure()); err != nil {
		return err
	}
	d.say("Meanwhile: %d moves of directories between parents, and money transfers over both shards; %d commits in %s (%.0f/s), %d conflicts run again.",
		d.result.Moves, d.result.Commits, seconds(d.result.Disturbed), float64(d.result.Commits)/d.result.Disturbed.Seconds(), d.result.Conflicts)
	if d.result.Audit, err = ledger.Audit(ctx, d.clerks[0]); err != nil {
		return err
	}
	audit := d.result.Audit
	d.say("Audited the money: %d in %d accounts, to the last unit; each of %d acknowledged transfers is there on both its shards, none of %d aborted ones is.",
		audit.Total, audit.Accounts, audit.Committed+audit.UnknownCommitted, audit.Aborted+audit.UnknownAborted)
	return nil
}

// killPrimaries kills the primary of a shard, and then that of the coordinator.
func (d *demo) killPrimaries(ctx context.Context, ledger *bank.Ledger) error {
	for _, group := range []uint32{1, cluster.CoordinatorGroup} {
		if err := sleep(ctx, calm); err != nil {
			return err
		}
		primary, err := d.cluster.Primary(ctx, group)
		if err != nil {
			return err
		}
		if err := d.cluster.Kill(primary); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, commitTimeout)
		after, err := ledger.NextCommit(txn.ShardID(group))(limited)
		cancel()
		if err != nil {
			return fmt.Errorf("demo: after the kill of %v: %w", primary, err)
		}
		d.result.Kills = append(d.result.Kills, Kill{Node: primary.String(), NextCommit: after})
		d.say("Killed the primary %v (SIGKILL): the next commit that needed its group came after %d ms. Started it again.",
			primary, after.Milliseconds())
		if err := d.cluster.Restart(primary); err != nil {
			return err
		}
		limited, cancel = context.WithTimeout(ctx, wholeTimeout)
		err = d.cluster.AwaitWhole(limited)
		cancel()
		if err != nil {
			return err
		}
	}
	return sleep(ctx, calm)
}

// movers are the goroutines that move directories.
type movers struct {
	done atomic.Int64

	mu  sync.Mutex
	err error
}

func (m *movers) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// startMovers has every clerk move its share of the directories there and back until running ends, and once more
// there if need be: in the end every move is in place.
func (d *demo) startMovers(ctx, running context.Context, work *sync.WaitGroup) *movers {
	m := &movers{}
	for worker := range d.clerks {
		work.Go(func() {
			for there := false; running.Err() == nil || !there; {
				there = !there
				for i := worker; i < len(d.moves); i += len(d.clerks) {
					from, to := d.moves[i].From, d.moves[i].To
					if !there {
						from, to = to, from
					}
					if err := d.treeOf(worker).Move(ctx, from, to); err != nil {
						m.mu.Lock()
						m.err = errors.Join(m.err, err)
						m.mu.Unlock()
						return
					}
					m.done.Add(1)
				}
			}
		})
	}
	return m
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
