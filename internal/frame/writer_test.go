package frame_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a flush that records its frames and lets each pass only when told to.
type gate struct {
	entered chan struct{}
	open    chan error

	mu     sync.Mutex
	frames [][]int
}

func newGate() *gate {
	return &gate{entered: make(chan struct{}), open: make(chan error)}
}

func (g *gate) flush(items []int) error {
	g.mu.Lock()
	g.frames = append(g.frames, append([]int(nil), items...))
	g.mu.Unlock()
	g.entered <- struct{}{}
	return <-g.open
}

// pass lets the frame that is being flushed end with err.
func (g *gate) pass(err error) {
	<-g.entered
	g.open <- err
}

func (g *gate) seen() [][]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frames
}

func size(item int) int { return item }

func TestWriterFlushesWhatWaitsAsOneFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		w := frame.NewWriter(frame.Options[int]{}, g.flush)
		require.True(t, w.Put(1))
		synctest.Wait() // the first frame is being flushed
		require.True(t, w.Put(2))
		require.True(t, w.Put(3))
		g.pass(nil)
		g.pass(nil)
		w.Close()
		require.Equal(t, [][]int{{1}, {2, 3}}, g.seen())
		require.NoError(t, w.Err())
	})
}

// TestWriterYieldsBeforeItTakes: on one processor, those who are ready to run when the first item wakes the
// writer still get into its frame.
func TestWriterYieldsBeforeItTakes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const rounds, producers = 100, 8
	whole := 0
	for range rounds {
		var frames []int
		w := frame.NewWriter(frame.Options[int]{}, func(items []int) error {
			frames = append(frames, len(items))
			return nil
		})
		var all sync.WaitGroup
		for i := range producers {
			all.Go(func() { w.Put(i) })
		}
		all.Wait()
		w.Close()
		if len(frames) == 1 {
			whole++
		}
	}
	require.Greater(t, whole, rounds/2, "rounds whose items all went out together")
}

func TestWriterKeepsTheOrderOfEachProducer(t *testing.T) {
	const producers, each = 8, 2000
	last := make([]int, producers)
	w := frame.NewWriter(frame.Options[[2]int]{ItemsMax: 16}, func(items [][2]int) error {
		for _, item := range items {
			if item[1] != last[item[0]]+1 {
				return errors.New("out of order")
			}
			last[item[0]] = item[1]
		}
		return nil
	})
	var all sync.WaitGroup
	for producer := range producers {
		all.Go(func() {
			for i := 1; i <= each; i++ {
				if err := w.PutWait(t.Context(), [2]int{producer, i}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	w.Close()
	require.NoError(t, w.Err())
	for producer := range producers {
		require.Equal(t, each, last[producer])
	}
}

func TestWriterBounds(t *testing.T) {
	for _, test := range []struct {
		name    string
		options frame.Options[int]
		fits    []int
		refused int
	}{
		{"items", frame.Options[int]{ItemsMax: 3}, []int{1, 1, 1}, 1},
		{"bytes", frame.Options[int]{BytesMax: 10, Size: size}, []int{4, 6}, 1},
		{"bytes, a large one", frame.Options[int]{BytesMax: 10, Size: size}, []int{4, 5}, 7},
		{"one item larger than the queue", frame.Options[int]{BytesMax: 10, Size: size}, nil, 11},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				w := frame.NewWriter(test.options, g.flush)
				require.True(t, w.Put(0))
				synctest.Wait() // item 0 has left the queue and is being flushed
				for _, item := range test.fits {
					require.True(t, w.Put(item))
				}
				require.False(t, w.Put(test.refused))
				g.pass(nil)
				if len(test.fits) > 0 {
					g.pass(nil)
				}
				synctest.Wait()
				if len(test.fits) > 0 {
					require.True(t, w.Put(test.refused), "the queue is empty again")
					g.pass(nil)
				}
				w.Close()
			})
		})
	}
}

func TestWriterCutsFrames(t *testing.T) {
	for _, test := range []struct {
		name    string
		options frame.Options[int]
		items   []int
		frames  [][]int
	}{
		{"by items", frame.Options[int]{FlushItemsMax: 2}, []int{1, 2, 3, 4, 5}, [][]int{{1, 2}, {3, 4}, {5}}},
		{"by bytes", frame.Options[int]{FlushBytesMax: 10, Size: size}, []int{5, 5, 1, 9, 3}, [][]int{{5, 5}, {1, 9}, {3}}},
		{"a large one alone", frame.Options[int]{FlushBytesMax: 10, Size: size}, []int{3, 30, 4}, [][]int{{3}, {30}, {4}}},
		{"by both", frame.Options[int]{FlushItemsMax: 2, FlushBytesMax: 10, Size: size}, []int{1, 1, 1, 10}, [][]int{{1, 1}, {1}, {10}}},
		{"not at all", frame.Options[int]{Size: size}, []int{1, 2, 3}, [][]int{{1, 2, 3}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				w := frame.NewWriter(test.options, g.flush)
				require.True(t, w.Put(0))
				synctest.Wait()
				for _, item := range test.items {
					require.True(t, w.Put(item))
				}
				for range len(test.frames) + 1 {
					g.pass(nil)
				}
				w.Close()
				require.Equal(t, test.frames, g.seen()[1:])
			})
		})
	}
}

func TestPutWait(t *testing.T) {
	cause := errors.New("enough")
	for _, test := range []struct {
		name  string
		then  func(w *frame.Writer[int], g *gate, cancel context.CancelCauseFunc)
		error error
	}{
		{"room", func(_ *frame.Writer[int], g *gate, _ context.CancelCauseFunc) { g.pass(nil) }, nil},
		{"cancelled", func(_ *frame.Writer[int], _ *gate, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
		{"failed", func(_ *frame.Writer[int], g *gate, _ context.CancelCauseFunc) { g.pass(cause) }, frame.ErrClosed},
		{"closed", func(w *frame.Writer[int], _ *gate, _ context.CancelCauseFunc) { go w.Close() }, frame.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				g := newGate()
				w := frame.NewWriter(frame.Options[int]{ItemsMax: 1}, g.flush)
				require.True(t, w.Put(1))
				synctest.Wait()
				require.True(t, w.Put(2))
				result := make(chan error, 1)
				go func() { result <- w.PutWait(ctx, 3) }()
				synctest.Wait()
				require.Empty(t, result, "it did not wait")
				test.then(w, g, cancel)
				require.ErrorIs(t, <-result, test.error)
				go drain(g)
				w.Close()
				close(g.entered)
			})
		})
	}
}

func drain(g *gate) {
	for range g.entered {
		g.open <- nil
	}
}

func TestPutWaitOfAnItemThatNeverFits(t *testing.T) {
	w := frame.NewWriter(frame.Options[int]{BytesMax: 10, Size: size}, func([]int) error { return nil })
	defer w.Close()
	require.ErrorIs(t, w.PutWait(t.Context(), 11), frame.ErrTooLarge)
	require.NoError(t, w.PutWait(t.Context(), 10))
}

func TestCloseFlushesWhatWasTaken(t *testing.T) {
	total := 0
	w := frame.NewWriter(frame.Options[int]{}, func(items []int) error {
		for _, item := range items {
			total += item
		}
		return nil
	})
	for range 1000 {
		require.NoError(t, w.PutWait(t.Context(), 1))
	}
	w.Close()
	require.Equal(t, 1000, total)
	require.False(t, w.Put(1))
	require.ErrorIs(t, w.PutWait(t.Context(), 1), frame.ErrClosed)
	w.Close()
	<-w.Done()
	require.Equal(t, 1000, total)
}

func TestAnErrorOfFlushEndsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		failure := errors.New("connection lost")
		w := frame.NewWriter(frame.Options[int]{FlushItemsMax: 1}, g.flush)
		require.True(t, w.Put(1))
		synctest.Wait()
		require.True(t, w.Put(2))
		require.True(t, w.Put(3))
		g.pass(failure)
		<-w.Done()
		require.ErrorIs(t, w.Err(), failure)
		require.False(t, w.Put(4))
		require.Equal(t, [][]int{{1}}, g.seen(), "what waited is dropped")
		w.Close()
		require.ErrorIs(t, w.Err(), failure)
	})
}

func TestOptionsValidate(t *testing.T) {
	require.NoError(t, frame.Options[int]{}.Validate())
	require.ErrorContains(t, frame.Options[int]{ItemsMax: -1}.Validate(), "ItemsMax")
	require.ErrorContains(t, frame.Options[int]{BytesMax: -1}.Validate(), "BytesMax")
	require.ErrorContains(t, frame.Options[int]{FlushItemsMax: -1}.Validate(), "FlushItemsMax")
	require.ErrorContains(t, frame.Options[int]{FlushBytesMax: -1}.Validate(), "FlushBytesMax")
}
