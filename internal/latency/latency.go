// Package latency has the distribution of durations that every backend of replication shows, with the same bounds, so that
// one can be laid beside another.
package latency

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/replication"
)

// The buckets: up to 0.1 ms, and each up to twice the one before, to 3.3 s. One more is for what took longer.
const (
	bucketMin = 100 * time.Microsecond
	buckets   = 16
)

// Distribution counts durations. Its zero value is ready; it may be used from many goroutines at once.
type Distribution struct {
	counts      [buckets + 1]atomic.Uint64
	nanoseconds atomic.Uint64
}

// Add counts a duration; one below 0 is taken for 0.
func (d *Distribution) Add(took time.Duration) {
	took = max(took, 0)
	d.counts[bucket(took)].Add(1)
	d.nanoseconds.Add(uint64(took))
}

func bucket(took time.Duration) int {
	return min(bits.Len64(uint64(max(took, 1)-1)/uint64(bucketMin)), buckets)
}

// Histogram is what was counted, in seconds.
func (d *Distribution) Histogram() replication.Histogram {
	h := replication.Histogram{Sum: time.Duration(d.nanoseconds.Load()).Seconds()}
	for i := range d.counts {
		h.Counts = append(h.Counts, d.counts[i].Load())
		if i < buckets {
			h.Bounds = append(h.Bounds, (bucketMin << i).Seconds())
		}
	}
	return h
}
