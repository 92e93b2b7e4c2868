package vr_test

import (
	"fmt"
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

// echo is the state machine that costs nothing.
type echo struct{ journal }

func (*echo) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	return make([][]byte, len(operations))
}

// BenchmarkCommit has proposers, each with one operation of 192 bytes under way, in a group of three in one
// process.
func BenchmarkCommit(b *testing.B) {
	for _, kind := range []string{"memory", "disk"} {
		for _, proposers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", kind, proposers), func(b *testing.B) { benchmarkCommit(b, kind == "disk", proposers) })
		}
	}
}

func benchmarkCommit(b *testing.B, disk bool, proposers int) {
	network, replicas := newNetwork(), make([]*vr.Replica, 3)
	for i := range replicas {
		options := vr.Options{
			Self: replication.ReplicaID(i + 1), Members: []replication.ReplicaID{1, 2, 3}, Storage: storage.NewMemory(),
			Transport: network.join(core.ReplicaID(i + 1)), StateMachine: &echo{}, ViewChangeTimeoutMin: time.Minute,
		}
		if disk {
			directory := b.TempDir()
			require.NoError(b, storage.Create(directory))
			opened, err := storage.Open(directory, storage.Options{})
			require.NoError(b, err)
			options.Storage = opened
		}
		replica, err := vr.Open(options)
		require.NoError(b, err)
		replicas[i] = replica
		defer func() { require.NoError(b, replica.Close()) }()
	}
	leader, event := leading(replicas)
	before := leader.Status().Counters
	operation, left, failed := make([]byte, 192), atomic.Int64{}, atomic.Int64{}
	left.Store(int64(b.N))
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range proposers {
		running.Go(func() {
			results := make(chan replication.Result, 1)
			done := func(result replication.Result) { results <- result }
			for left.Add(-1) >= 0 {
				if leader.Submit(event.View, operation, done); (<-results).Err != nil {
					failed.Add(1)
				}
			}
		})
	}
	running.Wait()
	b.StopTimer()
	require.Zero(b, failed.Load())
	after := leader.Status().Counters
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	if writes := after["messages_sent"] - before["messages_sent"]; writes > 0 {
		b.ReportMetric(float64(b.N)/float64(writes), "ops/message")
	}
}

// leading waits for the replica that leads.
func leading(replicas []*vr.Replica) (*vr.Replica, replication.Event) {
	events := make(chan int, len(replicas))
	found := make([]replication.Event, len(replicas))
	for i, replica := range replicas {
		go func() {
			for event := range replica.Events() {
				if event.Leading {
					found[i] = event
					events <- i
					return
				}
			}
		}()
	}
	i := <-events
	return replicas[i], found[i]
}

// BenchmarkReadStale reads at a backup of an idle group of three in one process: what is known already, and what the
// primary has to be asked for.
func BenchmarkReadStale(b *testing.B) {
	network, replicas := newNetwork(), make([]*vr.Replica, 3)
	for i := range replicas {
		replica, err := vr.Open(vr.Options{
			Self: replication.ReplicaID(i + 1), Members: []replication.ReplicaID{1, 2, 3}, Storage: storage.NewMemory(),
			Transport: network.join(core.ReplicaID(i + 1)), StateMachine: &echo{}, ViewChangeTimeoutMin: time.Minute,
		})
		require.NoError(b, err)
		replicas[i] = replica
		defer func() { require.NoError(b, replica.Close()) }()
	}
	leader, _ := leading(replicas)
	for _, replica := range replicas {
		if replica == leader {
			continue
		}
		for _, atMost := range []time.Duration{time.Minute, 0} {
			b.Run(atMost.String(), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					if _, err := replica.ReadStale(b.Context(), atMost); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		break
	}
}
