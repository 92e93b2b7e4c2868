package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// appender writes batches of entries of 192 bytes, removing old ones now and then.
type appender struct {
	storage vr.Storage
	next    core.OpNumber
	payload []byte
}

func newAppender(b *testing.B, log Log, durability Durability) *appender {
	directory := b.TempDir()
	require.NoError(b, CreateLog(directory, log))
	storage, err := Open(directory, Options{Durability: durability})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, storage.Close()) })
	_, err = storage.Load()
	require.NoError(b, err)
	require.NoError(b, storage.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
	return &appender{storage: storage, next: 1, payload: make([]byte, 192)}
}

func (a *appender) write(b *testing.B, size int, sync bool) {
	entries := make([]core.Entry, size)
	for i := range entries {
		entries[i] = core.Entry{Op: a.next, View: 1, Payload: a.payload}
		a.next++
	}
	batch := vr.Batch{Entries: entries, Sync: sync}
	if a.next > 20_000 {
		batch.TruncateBelow = a.next - 20_000
	}
	require.NoError(b, a.storage.Write(batch))
}

// BenchmarkWrite writes as the core asks for it in each durability.
func BenchmarkWrite(b *testing.B) {
	for _, log := range allLogs {
		for _, durability := range allDurabilities {
			for _, size := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("%v/%v/%d", log, durability, size), func(b *testing.B) { benchmarkWrite(b, log, durability, size) })
			}
		}
	}
}

func benchmarkWrite(b *testing.B, log Log, durability Durability, size int) {
	a := newAppender(b, log, durability)
	b.ReportAllocs()
	before := a.storage.Syncs()
	for b.Loop() {
		a.write(b, size, durability == DurabilitySync)
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(a.storage.Syncs()-before)/float64(b.N), "fsyncs/op")
}

// BenchmarkAgainstTheDisk takes turns between a raw write of 4 KiB with fdatasync, into a file that is there already,
// and Write of 1 and of 64 entries to each kind of log, so that all meet the same disk. The figures are medians.
func BenchmarkAgainstTheDisk(b *testing.B) {
	const blocks = 4096
	path := filepath.Join(b.TempDir(), "raw")
	raw, err := os.Create(path)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, raw.Close()) })
	block := make([]byte, 4096)
	for range blocks {
		_, err = raw.Write(block)
		require.NoError(b, err)
	}
	require.NoError(b, raw.Sync())
	names := []string{"raw"}
	writes := []func(i int){func(i int) {
		_, err := raw.WriteAt(block, int64(i%blocks)*int64(len(block)))
		require.NoError(b, err)
		require.NoError(b, syscall.Fdatasync(int(raw.Fd())))
	}}
	for _, log := range allLogs {
		for _, size := range []int{1, 64} {
			a := newAppender(b, log, DurabilitySync)
			names = append(names, fmt.Sprintf("%v-%d", log, size))
			writes = append(writes, func(int) { a.write(b, size, true) })
		}
	}
	took := make([][]time.Duration, len(writes))
	for i := 0; b.Loop(); i++ {
		for n, write := range writes {
			begun := time.Now()
			write(i)
			took[n] = append(took[n], time.Since(begun))
		}
	}
	b.ReportMetric(0, "ns/op")
	for n, name := range names {
		slices.Sort(took[n])
		b.ReportMetric(float64(took[n][len(took[n])/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(took[n][len(took[n])*99/100].Microseconds()), name+"-p99-µs")
	}
}
