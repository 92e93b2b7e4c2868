package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/txn"
)

// Cost is what a cluster has used since it started, all its processes together.
type Cost struct {
	Fsyncs     uint64  `json:"fsyncs"`
	Frames     uint64  `json:"frames"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// Target is the cluster that a run measures.
type Target struct {
	// Dial makes one more clerk with these hooks.
	Dial func(ctx context.Context, hooks clerk.Hooks) (*clerk.Clerk, error)
	// Meter reads what the cluster has used so far.
	Meter func(ctx context.Context) (Cost, error)
}

// Result is what a run measured.
type Result struct {
	Options Options `json:"options"`
	// Commits are operations that succeeded in the measured part: transactions, puts or gets.
	Commits          uint64            `json:"commits"`
	Seconds          float64           `json:"seconds"`
	CommitsPerSecond float64           `json:"commits_per_second"`
	Aborts           map[string]uint64 `json:"aborts"` // runs that had to be made again, by reason
	AbortsPerCommit  float64           `json:"aborts_per_commit"`
	P50              time.Duration     `json:"p50_ns"`
	P99              time.Duration     `json:"p99_ns"`
	Max              time.Duration     `json:"max_ns"`
	FsyncsPerCommit  float64           `json:"fsyncs_per_commit"`
	FramesPerCommit  float64           `json:"frames_per_commit"`
	// CPUPerThousand is the CPU time of the cluster's processes for 1,000 commits, in seconds.
	CPUPerThousand float64 `json:"cpu_seconds_per_1000"`
	Failures       uint64  `json:"failures"`
	Recorded       int     `json:"recorded"`
	// Verdict is SERIALIZABLE, or why it is not.
	Verdict string `json:"verdict"`
}

// ErrVoid says that a run proves nothing.
var ErrVoid = errors.New("bench: void run")

// run is one run under way.
type run struct {
	options  Options
	keys     *keyspace
	clerks   []*clerk.Clerk
	recorder *Recorder

	failures atomic.Uint64
	mu       sync.Mutex
	latency  *hdrhistogram.Histogram // microseconds
	failure  error                   // the first
}

// Run measures and checks. The error is ErrVoid when nothing happened or an outcome stayed unknown, and a
// *check.Counterexample when the history is not strictly serializable; the result holds all the same.
func Run(ctx context.Context, target Target, options Options) (*Result, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	r := &run{options: options.WithDefaults(), latency: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)}
	r.recorder = NewRecorder(r.options.RecordMax)
	defer func() {
		for _, c := range r.clerks {
			_ = c.Close()
		}
	}()
	for range r.options.Clerks {
		c, err := target.Dial(ctx, r.recorder.Hooks())
		if err != nil {
			return nil, err
		}
		r.clerks = append(r.clerks, c)
	}
	// Objects of its own: the history begins with nothing in them.
	prefix := fmt.Sprintf("bench/%016x", rand.Uint64())
	r.keys = newKeyspace(prefix, r.options.Keys, func(oid string) txn.ShardID {
		return txn.ShardID(r.clerks[0].ShardOf(oid))
	})
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return r.measure(ctx, target)
}

// load writes every object once.
func (r *run) load(ctx context.Context) error {
	const batch = 500
	value := make([]byte, r.options.ValueBytes)
	perTxn := max(1, min(batch, (4<<20)/(r.options.ValueBytes+1)))
	for first := 0; first < len(r.keys.oids); first += perTxn {
		part := r.keys.oids[first:min(first+perTxn, len(r.keys.oids))]
		err := r.clerks[0].Update(ctx, func(tx *clerk.Txn) error {
			var err error
			for _, oid := range part {
				err = errors.Join(err, tx.Put(oid, value))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("bench: load: %w", err)
		}
	}
	return nil
}

func (r *run) measure(ctx context.Context, target Target) (*Result, error) {
	before, err := target.Meter(ctx)
	if err != nil {
		return nil, err
	}
	earlier := r.recorder.abortsByReason()
	began := time.Now()
	end := began.Add(r.options.Duration)
	var callers sync.WaitGroup
	for caller := range r.options.Callers {
		callers.Go(func() { r.call(ctx, caller, end) })
	}
	callers.Wait()
	elapsed := time.Since(began)
	after, err := target.Meter(ctx)
	if err != nil {
		return nil, err
	}
	result := r.result(elapsed, before, after)
	for reason, count := range r.recorder.abortsByReason() {
		if more := count - earlier[reason]; more > 0 {
			result.Aborts[reason] = more
			result.AbortsPerCommit += float64(more) / float64(max(result.Commits, 1))
		}
	}
	return result, r.verdict(result)
}

func (r *run) verdict(result *Result) error {
	recorded, err := r.recorder.judge()
	result.Recorded = recorded
	switch {
	case err != nil:
		result.Verdict = err.Error()
	case result.Failures > 0:
		err = fmt.Errorf("%w: %d operations failed, the first: %w", ErrVoid, result.Failures, r.failure)
		result.Verdict = err.Error()
	case result.Commits == 0:
		err = fmt.Errorf("%w: nothing committed", ErrVoid)
		result.Verdict = err.Error()
	default:
		result.Verdict = "SERIALIZABLE"
	}
	return err
}

func (r *run) result(elapsed time.Duration, before, after Cost) *Result {
	commits := uint64(r.latency.TotalCount())
	each := float64(max(commits, 1))
	micros := func(quantile float64) time.Duration {
		return time.Duration(r.latency.ValueAtQuantile(quantile)) * time.Microsecond
	}
	return &Result{
		Options: r.options, Commits: commits, Seconds: elapsed.Seconds(), CommitsPerSecond: float64(commits) / elapsed.Seconds(),
		Aborts: map[string]uint64{}, P50: micros(50), P99: micros(99), Max: time.Duration(r.latency.Max()) * time.Microsecond,
		FsyncsPerCommit: float64(after.Fsyncs-before.Fsyncs) / each, FramesPerCommit: float64(after.Frames-before.Frames) / each,
		CPUPerThousand: (after.CPUSeconds - before.CPUSeconds) / each * 1000, Failures: r.failures.Load(),
	}
}

// call is one caller's loop.
func (r *run) call(ctx context.Context, caller int, end time.Time) {
	random := rand.New(rand.NewPCG(r.options.Seed, uint64(caller)))
	zipf, err := NewZipf(random, uint64(r.options.Keys), r.options.Theta)
	if err != nil {
		r.fail(err)
		return
	}
	c := r.clerks[caller%len(r.clerks)]
	latency := hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)
	for n := uint64(0); ctx.Err() == nil && !r.recorder.isFull(); n++ {
		began := time.Now()
		if !began.Before(end) {
			break
		}
		if err := r.operation(ctx, c, zipf, random, uint64(caller)<<32|n); err != nil {
			r.fail(err)
			continue
		}
		_ = latency.RecordValue(max(1, time.Since(began).Microseconds()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latency.Merge(latency)
}

func (r *run) fail(err error) {
	r.failures.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == nil {
		r.failure = err
	}
}

func (r *run) operation(ctx context.Context, c *clerk.Clerk, zipf *Zipf, random *rand.Rand, unique uint64) error {
	value := make([]byte, r.options.ValueBytes)
	if len(value) >= 8 {
		binary.BigEndian.PutUint64(value, unique)
	}
	switch r.options.Kind {
	case Put:
		return c.Put(ctx, r.keys.draw(zipf, random, 1, 1)[0], value)
	case Get:
		_, err := c.Get(ctx, r.keys.draw(zipf, random, 1, 1)[0])
		return err
	default:
		oids := r.keys.draw(zipf, random, max(r.options.Reads, r.options.Writes), r.options.Shards)
		return c.Update(ctx, func(tx *clerk.Txn) error {
			if _, err := tx.GetMulti(ctx, oids[:r.options.Reads]...); err != nil {
				return err
			}
			var err error
			for _, oid := range oids[:r.options.Writes] {
				err = errors.Join(err, tx.Put(oid, value))
			}
			return err
		})
	}
}
