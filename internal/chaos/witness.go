package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/txn"
)

// readers is how many goroutines read each place through the clerk beside its writer.
const readers = 4

// witness keeps writing a rising number to an object on each shard, remembers what was acknowledged, and reads it
// back through a clerk. Whoever answers with less than what was acknowledged before the question is stale.
type witness struct {
	clerk  *clerk.Clerk
	places []*place
	// highest is the largest timestamp that anybody was given before now.
	highest atomic.Uint64
	gets    atomic.Int64

	mu  sync.Mutex
	err error
}

// place is the witness's object on one shard.
type place struct {
	shard txn.ShardID
	oid   string
	acked atomic.Uint64 // the largest number that was acknowledged
	// began is when the write of acked began, in nanoseconds of the Unix epoch.
	began atomic.Int64
}

func newWitness(ctx context.Context, cluster *process.Cluster, options clerk.Options) (*witness, error) {
	w := &witness{}
	var err error
	options.Hooks = clerk.Hooks{Committed: func(c clerk.Committed) { w.raise(c.Attempt.TS) }}
	if w.clerk, err = clerk.Dial(ctx, options); err != nil {
		return nil, err
	}
	for _, shard := range cluster.Shards() {
		for n := 0; ; n++ {
			if oid := fmt.Sprintf("chaos/witness/%d", n); w.clerk.ShardOf(oid) == shard {
				w.places = append(w.places, &place{shard: txn.ShardID(shard), oid: oid})
				break
			}
		}
	}
	return w, nil
}

// raise notes a timestamp that was handed out.
func (w *witness) raise(timestamp txn.Timestamp) {
	for {
		known := w.highest.Load()
		if uint64(timestamp) <= known || w.highest.CompareAndSwap(known, uint64(timestamp)) {
			return
		}
	}
}

// run writes and reads until ctx ends.
func (w *witness) run(ctx context.Context) {
	var work sync.WaitGroup
	for _, p := range w.places {
		work.Go(func() { w.loop(ctx, func() error { return w.write(ctx, p) }) })
		for range readers {
			work.Go(func() { w.loop(ctx, func() error { return w.read(ctx, p) }) })
		}
	}
	work.Wait()
}

// loop repeats until ctx ends or something is found wrong.
func (w *witness) loop(ctx context.Context, do func() error) {
	for ctx.Err() == nil {
		if err := do(); err != nil && ctx.Err() == nil {
			w.fail(err)
			return
		}
	}
}

func (w *witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = errors.Join(w.err, err)
}

// write raises the number by one. The transaction reads it first: to validate on an old version is as wrong as to show
// one.
func (w *witness) write(ctx context.Context, p *place) error {
	began, acked := time.Now(), p.acked.Load()
	err := w.clerk.Update(ctx, func(tx *clerk.Txn) error {
		values, err := tx.GetMulti(ctx, p.oid)
		if err != nil {
			return err
		}
		if err := fresh(p.shard, parse(values[0].Bytes), acked); err != nil {
			return err
		}
		return tx.Put(p.oid, []byte(strconv.FormatUint(acked+1, 10)))
	})
	if err != nil {
		return fmt.Errorf("chaos: witness: %w", err)
	}
	p.acked.Store(acked + 1)
	p.began.Store(began.UnixNano())
	return nil
}

// read holds one snapshot against what was acknowledged before it was asked for.
func (w *witness) read(ctx context.Context, p *place) error {
	acked, highest := p.acked.Load(), w.highest.Load()
	var number uint64
	var timestamp txn.Timestamp
	err := w.clerk.View(ctx, func(s *clerk.Snapshot) error {
		timestamp = s.Timestamp()
		value, err := s.Get(ctx, p.oid)
		if errors.Is(err, clerk.ErrNotFound) {
			return nil
		}
		number = parse(value)
		return err
	})
	if err != nil {
		return fmt.Errorf("chaos: witness: %w", err)
	}
	w.raise(timestamp)
	w.gets.Add(1)
	if err := fresh(p.shard, number, acked); err != nil {
		return err
	}
	return rising(uint64(timestamp), highest)
}

func parse(value []byte) uint64 {
	number, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0 // what is no number is as stale as can be
	}
	return number
}

func fresh(shard txn.ShardID, number, acked uint64) error {
	if number < acked {
		return fmt.Errorf("%w: shard %d answered %d after %d was acknowledged", ErrStale, shard, number, acked)
	}
	return nil
}

func rising(timestamp, highest uint64) error {
	if timestamp <= highest {
		return fmt.Errorf("%w: timestamp %d was handed out after %d", ErrStale, timestamp, highest)
	}
	return nil
}

// await waits until a write that began after some moment was acknowledged on every shard.
func (w *witness) await(ctx context.Context, since time.Time) error {
	return survey.Poll(ctx, func() error {
		for _, p := range w.places {
			if p.began.Load() <= since.UnixNano() {
				return fmt.Errorf("chaos: witness: nothing was acknowledged on shard %d", p.shard)
			}
		}
		return nil
	})
}

func (w *witness) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// final is what was found wrong, for a Poll that would wait in vain after it.
func (w *witness) final() error {
	if err := w.failure(); err != nil {
		return survey.Final{Err: err}
	}
	return nil
}

func (w *witness) close() error { return w.clerk.Close() }
