package vr_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
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

// bulkGroup is three replicas to be started, each in a directory.
func bulkGroup(t *testing.T) (replicas []*vr.Replica, directories []string, start func(i int)) {
	network := newNetwork()
	replicas, directories = make([]*vr.Replica, 3), make([]string, 3)
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
	return replicas, directories, start
}

// TestCatchingUpWhileTheGroupWorks measures what the catching up of a replica costs the others: their throughput before
// and meanwhile, on real files. All three share one disk and one machine here.
//
//	go test ./replication/vr -run TestCatchingUpWhileTheGroupWorks -v -behind 1073741824
func TestCatchingUpWhileTheGroupWorks(t *testing.T) {
	if *behindFlag == 0 {
		t.Skip("it is a measurement: -behind 1073741824")
	}
	replicas, directories, start := bulkGroup(t)
	for i := range replicas {
		directories[i] = t.TempDir()
		require.NoError(t, storage.Create(directories[i]))
		start(i)
	}
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
	rate := func(until func() bool) (perSecond float64, took time.Duration) {
		began, before := time.Now(), done.Load()
		for ticker := time.NewTicker(20 * time.Millisecond); !until(); <-ticker.C {
			require.Less(t, time.Since(began), 20*time.Minute)
		}
		took = time.Since(began)
		return float64(done.Load()-before) / took.Seconds(), took
	}
	for1 := func(d time.Duration) func() bool {
		end := time.Now().Add(d)
		return func() bool { return time.Now().After(end) }
	}
	before, _ := rate(for1(10 * time.Second))
	start(late)
	meanwhile, took := rate(func() bool {
		status := replicas[late].Status()
		return status.Counters["checkpoint_fetches"] > 0 && leader.Status().Commit-status.Applied < 1000
	})
	after, _ := rate(for1(10 * time.Second))
	close(stop)
	running.Wait()
	t.Logf("%d MiB in %v: %.0f operations/s before, %.0f meanwhile (%.0f %%), %.0f after", *behindFlag>>20, took.Round(time.Millisecond),
		before, meanwhile, 100*meanwhile/before, after)
	require.NotZero(t, meanwhile)
	for _, replica := range replicas {
		require.NoError(t, replica.Status().Failure)
		require.NoError(t, replica.Close())
	}
}
