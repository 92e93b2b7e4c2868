package replicationtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// reads asks for so many read barriers at once, and returns how they end.
func (g *group) reads(i int, view replication.ViewNumber, many int) []error {
	g.t.Helper()
	ends := make(chan error, many)
	for range many {
		g.replicas[i].ReadBarrier(view, func(err error) { ends <- err })
	}
	errs := make([]error, many)
	for n := range errs {
		select {
		case errs[n] = <-ends:
		case <-g.ctx.Done():
			g.show()
			require.FailNow(g.t, "a read barrier has no end")
		}
	}
	return errs
}

// readsShareARound: many who ask at the same time cost no message each.
func readsShareARound(t T, b Backend) {
	const many = 5000
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 3)
	g.eventually("all are answered", func() bool { // the view may change just then
		primary, view := g.primary()
		before := g.network.count()
		errs := g.reads(primary, view, many)
		require.Less(t, g.network.count()-before, uint64(many))
		return !slices.ContainsFunc(errs, func(err error) bool { return err != nil })
	})
}

// readsDuringAPartition: of a primary on the smaller side no barrier passes once the others have gone on, however many wait
// and whenever they were asked for, and each has an end.
func readsDuringAPartition(t T, b Backend) {
	g := newGroup(t, b, 5, Options{})
	g.mustCommit(1, 5)
	old, view := g.primary()
	g.network.isolate(g.id(old), g.id(g.backups(old)[0]))
	waiting := make(chan struct{}, 50) // before the others have gone on these may pass
	for range 50 {
		g.replicas[old].ReadBarrier(view, func(error) { waiting <- struct{}{} })
	}
	g.eventually("another one leads", func() bool { other, _ := g.primary(); return other != old })
	g.mustCommit(6, 10, old)
	for _, err := range g.reads(old, view, 50) {
		require.Error(t, err, "operations were acknowledged that it does not have")
	}
	for range 50 {
		<-waiting
	}
	_, now := g.primary()
	for _, err := range g.reads(old, now, 10) {
		require.ErrorIs(t, err, replication.ErrNotPrimary, "it is not the primary of that view either")
	}
	g.network.heal()
	g.mustCommit(11, 15)
	g.holds(g.read(), 15)
	g.finished(15)
}

// staleReader is a replica as one whose state may be read with a bound on its age.
func (g *group) staleReader(i int) replication.StaleReader {
	g.t.Helper()
	reader, ok := g.replicas[i].(replication.StaleReader)
	require.True(g.t, ok, "it is no replication.StaleReader")
	return reader
}

// staleReadsOfNoAge: with a bound of nothing a read at any replica is linearizable.
func staleReadsOfNoAge(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	for n := 1; n <= 30; n++ {
		g.mustCommit(n, n)
		for i := range g.replicas {
			staleness, err := g.staleReader(i).ReadStale(g.ctx, 0)
			require.NoError(t, err)
			require.Zero(t, staleness.Age)
			require.Equal(t, 1, g.machines[i].times(operation(n)), "replica %d has not %d", g.id(i), n)
		}
	}
}

// staleReadsAreRefused at a replica that is cut off, once its state is too old, by an error that says so; and they go on.
func staleReadsAreRefused(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 5)
	primary, _ := g.primary()
	backup := g.backups(primary)[0]
	_, err := g.staleReader(backup).ReadStale(g.ctx, time.Hour)
	require.NoError(t, err)
	g.network.isolate(g.id(backup))
	short, cancel := context.WithTimeout(g.ctx, 50*time.Millisecond)
	defer cancel()
	_, err = g.staleReader(backup).ReadStale(short, 0)
	var tooStale *replication.TooStaleError
	require.ErrorAs(t, err, &tooStale)
	require.ErrorIs(t, err, replication.ErrTooStale)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Positive(t, tooStale.Age)
	staleness, err := g.staleReader(backup).ReadStale(short, time.Hour)
	require.NoError(t, err, "old, and new enough, and nobody waits")
	require.GreaterOrEqual(t, staleness.Age, 50*time.Millisecond)
	g.mustCommit(6, 10, backup)
	waited, reader := make(chan error, 1), g.staleReader(backup)
	go func() {
		_, err := reader.ReadStale(g.ctx, 0)
		waited <- err
	}()
	g.network.heal()
	require.NoError(t, <-waited)
	require.Equal(t, 1, g.machines[backup].times(operation(10)))
	g.stop(backup)
	_, err = reader.ReadStale(g.ctx, time.Hour)
	require.ErrorIs(t, err, replication.ErrClosed)
}

// acknowledgement is how many operations had been acknowledged at a moment.
type acknowledgement struct {
	at    time.Time
	count int
}

// staleReadsSee, at every replica, with every bound, while one primary after the other is cut off: as everything here goes by
// one clock, what each read says of its age can be held against it.
func staleReadsSee(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 1)
	var told atomic.Pointer[[]acknowledgement]
	told.Store(&[]acknowledgement{{time.Now(), 1}})
	bounds := []time.Duration{0, time.Millisecond, 40 * time.Millisecond, time.Second}
	answered := make([]atomic.Int64, len(bounds))
	ctx, cancel := context.WithCancel(g.ctx)
	var reading sync.WaitGroup
	t.Cleanup(func() { cancel(); reading.Wait() })
	for i := range g.replicas {
		reader, state := g.staleReader(i), g.machines[i]
		for kind, atMost := range bounds {
			reading.Go(func() {
				for pause := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-pause.C {
					answered[kind].Add(staleRead(ctx, t, reader, state, atMost, &told))
				}
			})
		}
	}
	count := 1
	for range 3 {
		leader, view := g.primary()
		for range 20 {
			count++
			g.mustCommit(count, count)
			more := append(slices.Clone(*told.Load()), acknowledgement{time.Now(), count})
			told.Store(&more)
		}
		g.network.isolate(g.id(leader))
		g.eventually("another leads", func() bool { _, later := g.primary(leader); return later > view })
		g.network.heal()
	}
	g.eventually("reads of every kind were answered", func() bool {
		return !slices.ContainsFunc([]int{0, 1, 2, 3}, func(kind int) bool { return answered[kind].Load() < 50 })
	})
}

// staleRead reads once, and returns 1 if it was answered.
func staleRead(ctx context.Context, t T, reader replication.StaleReader, state machine, atMost time.Duration, told *atomic.Pointer[[]acknowledgement]) int64 {
	short, done := context.WithTimeout(ctx, 50*time.Millisecond)
	defer done()
	before, called := *told.Load(), time.Now()
	staleness, err := reader.ReadStale(short, atMost)
	if err != nil {
		if !errors.Is(err, replication.ErrTooStale) {
			t.Errorf("a stale read ends with %v", err)
		}
		return 0
	}
	newest := 0
	for _, each := range before {
		if each.at.Before(called.Add(-staleness.Age)) {
			newest = each.count
		}
	}
	if newest > 0 && state.times(operation(newest)) != 1 {
		t.Errorf("operation %d was acknowledged more than %v before, and is not there", newest, staleness.Age)
	}
	if staleness.Age > max(atMost, 0) {
		t.Errorf("a stale read within %v is of age %v", atMost, staleness.Age)
	}
	return 1
}
