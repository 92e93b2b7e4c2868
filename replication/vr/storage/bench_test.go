package storage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// BenchmarkWrite writes batches of entries of 192 bytes, removing old ones now and then.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			directory := b.TempDir()
			require.NoError(b, Create(directory))
			disk, err := openDisk(directory, Options{})
			require.NoError(b, err)
			next, payload := core.OpNumber(1), make([]byte, 192)
			entries := make([]core.Entry, size)
			b.ReportAllocs()
			for b.Loop() {
				for i := range entries {
					entries[i] = core.Entry{Op: next, View: 1, Payload: payload}
					next++
				}
				batch := vr.Batch{Entries: entries, Sync: true}
				if next > 20_000 {
					batch.TruncateBelow = next - 20_000
				}
				require.NoError(b, disk.Write(batch))
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "entries/s")
			require.NoError(b, disk.Close())
		})
	}
}
