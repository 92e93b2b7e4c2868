package vr_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

var (
	behindFlag = flag.Int64("behind", 0, "how many bytes TestCatchingUpWhileTheGroupWorks has a replica fetch; 0: it is not run")
	paceFlag   = flag.Int("pace", 0, "its ServeBytesPerSecond")
	dutyFlag   = flag.Int("duty", 0, "its FetchDutyPercent")
)

// bulk is a state of so many bytes that nobody holds: they follow from the number of operations applied.
type bulk struct {
	bytes   int64
	mu      sync.Mutex
	applied uint64
}

func (b *bulk) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.applied = uint64(first) + uint64(len(operations)) - 1
	return make([][]byte, len(operations))
}

func (b *bulk) Snapshot() (replication.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bulkSnapshot{bytes: b.bytes, applied: b.applied}, nil
}

func (b *bulk) Restore(state io.Reader) error {
	buffer, total, last := make([]byte, 64<<10), int64(0), uint64(0)
	for {
		n, err := io.ReadFull(state, buffer)
		total += int64(n)
		if n >= 8 {
			if word := binary.LittleEndian.Uint64(buffer); last != 0 && word != last+1 {
				return fmt.Errorf("block %d follows block %d", word, last)
			} else {
				last = word
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if total != b.bytes {
		return fmt.Errorf("a state of %d bytes, not %d", total, b.bytes)
	}
	return nil
}

type bulkSnapshot struct {
	bytes   int64
	applied uint64
}

func (s bulkSnapshot) WriteTo(w io.Writer) (int64, error) {
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i * 7)
	}
	written := int64(0)
	for number := s.applied << 20; written < s.bytes; number++ {
		binary.LittleEndian.PutUint64(block, number+1)
		n, err := w.Write(block[:min(int64(len(block)), s.bytes-written)])
		if written += int64(n); err != nil {
			return written, err
		}
	}
	return written, nil
}

func (bulkSnapshot) Release() {}

// gated is a checkpoint of which no chunk comes while somebody holds the gate.
type gated struct {
	replication.ChunkReader
	gate *sync.Mutex
}

func (g gated) Next() (replication.Chunk, error) {
	g.gate.Lock()
	defer g.gate.Unlock()
	return g.ChunkReader.Next()
}

// bulkGroup is three replicas to be started, each in a directory, and what stops all checkpoints on their way.
func bulkGroup(t *testing.T) (replicas []*vr.Replica, start func(i int), gate *sync.Mutex) {
	network, gate := newNetwork(), &sync.Mutex{}
	network.tamper = func(header []byte, chunks replication.ChunkReader) ([]byte, replication.ChunkReader, error) {
		return header, gated{chunks, gate}, nil
	}
	replicas = make([]*vr.Replica, 3)
	directories := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	start = func(i int) {
		disk, err := storage.Open(directories[i], storage.Options{})
		require.NoError(t, err)
		replicas[i], err = vr.Open(vr.Options{
			Self: replication.ReplicaID(i + 1), Members: []replication.ReplicaID{1, 2, 3}, Storage: disk,
			Transport: network.join(core.ReplicaID(i + 1)), StateMachine: &bulk{bytes: *behindFlag},
			CheckpointEvery: 1 << 40, CheckpointBytes: 1 << 40, ServeBytesPerSecond: *paceFlag,
			FetchDutyPercent:     *dutyFlag,
			ViewChangeTimeoutMin: 5 * time.Second,
		})
		require.NoError(t, err)
	}
	for i := range replicas {
		require.NoError(t, storage.Create(directories[i]))
		start(i)
	}
	return replicas, start, gate
}

// rates are operations a second.
type rates struct {
	going, resting []float64
	took           time.Duration
}

// Windows in which a fetch goes on take turns with such in which it is held up, so that both see the same machine. What
// still goes on of the one before does not count.
const (
	catchUpWindow  = time.Second
	catchUpSettles = 200 * time.Millisecond
)

// alternate measures until the fetch is done.
func alternate(t *testing.T, gate *sync.Mutex, done *atomic.Int64, caughtUp func() bool) (r rates) {
	began := time.Now()
	window := func() float64 {
		time.Sleep(catchUpSettles)
		from, before := time.Now(), done.Load()
		time.Sleep(catchUpWindow - catchUpSettles)
		return float64(done.Load()-before) / time.Since(from).Seconds()
	}
	for !caughtUp() {
		require.Less(t, time.Since(began), 20*time.Minute)
		gate.Lock()
		resting := window()
		gate.Unlock()
		if going := window(); !caughtUp() {
			r.going, r.resting = append(r.going, going), append(r.resting, resting)
		}
	}
	r.took = time.Since(began)
	return r
}

// share is what is done in all windows with the fetch, as a part of what is done in as many without it; median is that of
// each window with it and the one before.
func (r *rates) share() (share, median float64) {
	shares, going, resting := make([]float64, len(r.going)), 0.0, 0.0
	for i := range shares {
		going, resting = going+r.going[i], resting+r.resting[i]
		shares[i] = r.going[i] / r.resting[i]
	}
	slices.Sort(shares)
	return going / resting, shares[len(shares)/2]
}

// TestCatchingUpWhileTheGroupWorks measures what the catching up of a replica costs the others: their throughput with and
// without, in turns, on real files. All three share one disk and one machine here.
//
//	go test ./replication/vr -timeout 20m -run TestCatchingUpWhileTheGroupWorks -v -behind 1073741824
func TestCatchingUpWhileTheGroupWorks(t *testing.T) {
	if *behindFlag == 0 {
		t.Skip("it is a measurement: -behind 1073741824")
	}
	replicas, start, gate := bulkGroup(t)
	leader, event := leading(replicas)
	late := int(leader.Status().Replica) % 3
	require.NoError(t, replicas[late].Close())
	var done atomic.Int64
	stop, running := make(chan struct{}), sync.WaitGroup{}
	work := func() {
		results := make(chan replication.Result, 1)
		for operation := make([]byte, 192); ; {
			select {
			case <-stop:
				return
			default:
			}
			if leader.Submit(event.View, operation, func(r replication.Result) { results <- r }); (<-results).Err == nil {
				done.Add(1)
			}
		}
	}
	for range 64 {
		running.Go(work)
	}
	others := []int{(late + 1) % 3, (late + 2) % 3}
	for range 2 { // after the second the log does not reach down to the beginning
		before := done.Load()
		require.Eventually(t, func() bool { return done.Load() > before+1000 }, time.Minute, time.Millisecond)
		for _, i := range others {
			require.NoError(t, replicas[i].Checkpoint(t.Context()))
		}
	}
	start(late)
	measured := alternate(t, gate, &done, func() bool {
		return replicas[late].Status().Counters["checkpoint_fetches"] > 0
	})
	close(stop)
	running.Wait()
	require.NotEmpty(t, measured.going, "it was over before anything was measured")
	require.Eventually(t, func() bool { return leader.Status().Commit == replicas[late].Status().Applied }, time.Minute, time.Millisecond)
	share, median := measured.share()
	t.Logf("%d MiB in %v, half of it at rest, %d windows: %.0f %% of the operations, median %.0f %%", *behindFlag>>20,
		measured.took.Round(time.Millisecond), len(measured.going), 100*share, 100*median)
	for _, replica := range replicas {
		require.NoError(t, replica.Status().Failure)
		require.NoError(t, replica.Close())
	}
}
