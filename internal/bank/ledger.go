package bank

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/txn"
)

// failuresMax bounds how many different errors a ledger keeps.
const failuresMax = 100

// hurriedEvery is which share of the transfers may be in a hurry.
const hurriedEvery = 5

// Ledger holds what became of every transfer, as the clerk told it.
type Ledger struct {
	accounts int

	mu        sync.Mutex
	committed []Transfer
	aborted   []Transfer
	unknown   []unknown
	// settled are those whose outcome was unknown at first: there and not there.
	settledCommitted, settledAborted []Transfer
	failures                         map[string]int // at most failuresMax
	broken                           error          // the first transfer that met an impossible balance
	waiting                          []*waiting
}

// waiting is somebody who waits for a commit on a shard.
type waiting struct {
	shard txn.ShardID // 0: any
	since time.Time
	after chan time.Duration // gets one value
}

type unknown struct {
	transfer Transfer
	err      *clerk.UnknownError
}

// NewLedger makes an empty ledger for that many accounts.
func NewLedger(accounts int) *Ledger {
	return &Ledger{accounts: accounts, failures: map[string]int{}}
}

// RunOptions configure Run.
type RunOptions struct {
	// Callers is how many transfers are under way at once; default 16.
	Callers int
	// Timeout bounds each transfer; default 10 s.
	Timeout time.Duration
	// HurriedTimeout is the time of every fifth transfer instead; 0: none is in a hurry. Those whose time ends while
	// they commit have an unknown outcome, which the audit asks for.
	HurriedTimeout time.Duration
	// Seed draws accounts and amounts.
	Seed uint64
	// Prefix makes the ids of this run different from any other's.
	Prefix string
}

// Run transfers money between random accounts, each caller one transfer after another, with the clerks in
// turn, until ctx ends. A transfer that has begun is finished.
func (l *Ledger) Run(ctx context.Context, clerks []*clerk.Clerk, options RunOptions) {
	if options.Callers <= 0 {
		options.Callers = 16
	}
	if options.Timeout <= 0 {
		options.Timeout = 10 * time.Second
	}
	var callers sync.WaitGroup
	for caller := range options.Callers {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(options.Seed, uint64(caller)))
			c := clerks[caller%len(clerks)]
			for n := 0; ctx.Err() == nil; n++ {
				from := random.IntN(l.accounts)
				to := (from + 1 + random.IntN(l.accounts-1)) % l.accounts
				id := fmt.Sprintf("%s-%d-%d", options.Prefix, caller, n)
				timeout := options.Timeout
				if options.HurriedTimeout > 0 && n%hurriedEvery == 0 {
					timeout = options.HurriedTimeout
				}
				l.one(ctx, c, NewTransfer(c, id, from, to, 1+random.Int64N(100)), timeout)
			}
		})
	}
	callers.Wait()
}

func (l *Ledger) one(ctx context.Context, c *clerk.Clerk, transfer Transfer, timeout time.Duration) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	began := time.Now()
	l.note(transfer, began, transfer.Do(limited, c))
}

func (l *Ledger) note(transfer Transfer, began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost *clerk.UnknownError
	switch {
	case err == nil:
		l.committed = append(l.committed, transfer)
		l.tell(transfer, began)
	case errors.As(err, &lost):
		l.unknown = append(l.unknown, unknown{transfer, lost})
	default:
		// Every other error says that nothing happened: that too is held against the store.
		l.aborted = append(l.aborted, transfer)
		if errors.Is(err, ErrBooks) && l.broken == nil {
			l.broken = fmt.Errorf("transfer %s: %w", transfer.ID, err)
		}
		if text := err.Error(); len(l.failures) < failuresMax || l.failures[text] > 0 {
			l.failures[text]++
		}
	}
}

// tell answers those who wait for a commit like this one.
func (l *Ledger) tell(transfer Transfer, began time.Time) {
	l.waiting = slices.DeleteFunc(l.waiting, func(w *waiting) bool {
		fits := began.After(w.since) && (w.shard == 0 || slices.Contains(transfer.shards, w.shard))
		if fits {
			w.after <- time.Since(w.since)
		}
		return fits
	})
}

// NextCommit begins to watch for the first commit of a transfer that begins after this call and touches the shard, or
// any if that is 0. The function that it returns waits for it and tells how long it took since the
// call. It needs Run beside it.
func (l *Ledger) NextCommit(shard txn.ShardID) func(context.Context) (time.Duration, error) {
	w := &waiting{shard: shard, since: time.Now(), after: make(chan time.Duration, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	return func(ctx context.Context) (time.Duration, error) {
		select {
		case after := <-w.after:
			return after, nil
		case <-ctx.Done():
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting = slices.DeleteFunc(l.waiting, func(other *waiting) bool { return other == w })
		return 0, fmt.Errorf("bank: no commit for %v: %w", time.Since(w.since).Round(time.Millisecond), context.Cause(ctx))
	}
}

// Counts is what a ledger has seen so far.
type Counts struct{ Committed, Aborted, Unknown int }

// Counts may be asked for while Run goes on.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{Committed: len(l.committed), Aborted: len(l.aborted), Unknown: len(l.unknown) + len(l.settledCommitted) + len(l.settledAborted)}
}

// Failures are the errors of transfers that did not happen, with how often each was met.
func (l *Ledger) Failures() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.failures)
}
