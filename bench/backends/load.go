package backends

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/viewline/viewline/replication"
)

const (
	// latencyMax is the longest that is told apart, in microseconds.
	latencyMax = int64(time.Minute / time.Microsecond)
	// talliesMax is how many tallies there are at the most, for any number of proposers: few enough to be added up, and
	// enough that nobody waits for one.
	talliesMax = 16
	// refusedPause is how long a proposer whose operation was refused waits, if its replica's part does not change.
	refusedPause = 5 * time.Millisecond
)

// loadRequest says what the proposers of one process do.
type loadRequest struct {
	// First is the number of the first proposer; they have different ones in all processes of a run.
	First      uint32 `json:"first"`
	Proposers  int    `json:"proposers"`
	ValueBytes int    `json:"value_bytes"`
	Registers  int    `json:"registers"`
	// Operations is how many each of them proposes; 0: until it is told to rest.
	Operations int `json:"operations"`
	// Spans: when each operation was proposed and acknowledged is kept.
	Spans bool `json:"spans"`
}

// tally counts the outcomes of some proposers' operations. The lock is as good as never waited for.
type tally struct {
	mu                             sync.Mutex
	acknowledged, unknown, refused uint64
	latency                        *hdrhistogram.Histogram // of the lap, in microseconds
	spans                          []span
	failure                        error // the first that was not acknowledged
}

// load is the proposers of one process. They propose while its replica leads.
type load struct {
	request loadRequest
	replica replication.Replicator
	leads   *leadership
	// committed is told of the first operation that is acknowledged in a view.
	committed func(view replication.ViewNumber)
	announced atomic.Uint64
	tallies   []*tally
	lapBegan  time.Time
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

func startLoad(request loadRequest, replica replication.Replicator, leads *leadership, committed func(replication.ViewNumber)) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{request: request, replica: replica, leads: leads, committed: committed, cancel: cancel, lapBegan: time.Now()}
	for range min(request.Proposers, talliesMax) {
		l.tallies = append(l.tallies, &tally{latency: newHistogram()})
	}
	for i := range request.Proposers {
		l.running.Go(func() { l.propose(ctx, request.First+uint32(i), l.tallies[i%len(l.tallies)]) })
	}
	return l
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, latencyMax, 3) }

// propose is one proposer.
func (l *load) propose(ctx context.Context, self uint32, tally *tally) {
	results := make(chan replication.Result, 1)
	done := func(result replication.Result) { results <- result }
	random := rand.New(rand.NewPCG(uint64(self), 1))
	value := make([]byte, l.request.ValueBytes)
	for n := 0; l.request.Operations == 0 || n < l.request.Operations; n++ {
		view, leading := l.leads.await(ctx)
		if !leading {
			return
		}
		operation := encodeOperation(uint32(random.IntN(l.request.Registers)), self, uint64(n+1), value)
		var proposed uint64
		if l.request.Spans {
			proposed = monotonic()
		}
		began := time.Now()
		l.replica.Submit(view, operation, done)
		result := <-results
		if tally.count(result.Err, time.Since(began), proposed); result.Err != nil {
			l.pause(ctx)
		} else if l.announced.Load() != uint64(view) && l.announced.Swap(uint64(view)) != uint64(view) {
			l.committed(view)
		}
	}
}

// pause waits for a change of the replica's part, and not for long.
func (l *load) pause(ctx context.Context) {
	_, changed := l.leads.now()
	select {
	case <-changed:
	case <-time.After(refusedPause):
	case <-ctx.Done():
	}
}

// count counts an outcome. The span of an operation is kept where the moment of its proposal is given.
func (t *tally) count(err error, took time.Duration, proposed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.acknowledged++
		_ = t.latency.RecordValue(min(max(took.Microseconds(), 1), latencyMax)) // it is within the bounds
		if proposed > 0 {
			t.spans = append(t.spans, span{Began: proposed, Ended: monotonic()})
		}
		return
	case errors.Is(err, replication.ErrOutcomeUnknown):
		t.unknown++
	default:
		t.refused++
	}
	if t.failure == nil {
		t.failure = err
	}
}

// rest has the proposers end, each with the operation that it is at.
func (l *load) rest() {
	l.cancel()
	l.running.Wait()
}

// Outcomes are of all operations that a process has proposed.
type Outcomes struct {
	Acknowledged uint64 `json:"acknowledged"`
	Unknown      uint64 `json:"unknown"`
	Refused      uint64 `json:"refused"`
	// Failure is the first that was not acknowledged.
	Failure string `json:"failure,omitempty"`
}

func (l *load) outcomes() (o Outcomes) {
	for _, tally := range l.tallies {
		tally.mu.Lock()
		o.Acknowledged += tally.acknowledged
		o.Unknown += tally.unknown
		o.Refused += tally.refused
		if o.Failure == "" && tally.failure != nil {
			o.Failure = tally.failure.Error()
		}
		tally.mu.Unlock()
	}
	return o
}

// Lap is what was acknowledged in one process since the lap before.
type Lap struct {
	Acknowledged uint64        `json:"acknowledged"`
	Seconds      float64       `json:"seconds"`
	P50          time.Duration `json:"p50_ns"`
	P99          time.Duration `json:"p99_ns"`
	P999         time.Duration `json:"p999_ns"`
	Max          time.Duration `json:"max_ns"`
}

// lap ends a lap and begins the next.
func (l *load) lap() Lap {
	total := newHistogram()
	for _, tally := range l.tallies {
		tally.mu.Lock()
		total.Merge(tally.latency)
		tally.latency.Reset()
		tally.mu.Unlock()
	}
	now := time.Now()
	elapsed := now.Sub(l.lapBegan)
	l.lapBegan = now
	micros := func(value int64) time.Duration { return time.Duration(value) * time.Microsecond }
	return Lap{
		Acknowledged: uint64(total.TotalCount()), Seconds: elapsed.Seconds(), Max: micros(total.Max()),
		P50: micros(total.ValueAtQuantile(50)), P99: micros(total.ValueAtQuantile(99)), P999: micros(total.ValueAtQuantile(99.9)),
	}
}

// spans are those of all operations.
func (l *load) spans() (all []span) {
	for _, tally := range l.tallies {
		tally.mu.Lock()
		all = append(all, tally.spans...)
		tally.mu.Unlock()
	}
	return all
}
