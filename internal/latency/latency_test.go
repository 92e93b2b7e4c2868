package latency

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBuckets(t *testing.T) {
	for _, test := range []struct {
		d      time.Duration
		bucket int
	}{
		{-1, 0},
		{0, 0},
		{100 * time.Microsecond, 0},
		{100*time.Microsecond + 1, 1},
		{200 * time.Microsecond, 1},
		{200*time.Microsecond + 1, 2},
		{400 * time.Microsecond, 2},
		{bucketMin << (buckets - 1), buckets - 1},
		{bucketMin<<(buckets-1) + 1, buckets},
		{time.Hour, buckets},
	} {
		require.Equal(t, test.bucket, bucket(test.d), test.d)
	}
	var l Distribution
	l.Add(150 * time.Microsecond)
	l.Add(time.Hour)
	l.Add(-time.Hour)
	h := l.Histogram()
	require.Len(t, h.Counts, len(h.Bounds)+1)
	require.Equal(t, []float64{0.0001, 0.0002}, h.Bounds[:2])
	require.InDelta(t, 3600.00015, h.Sum, 1e-9)
	for i, count := range h.Counts {
		want := uint64(0)
		if i <= 1 || i == len(h.Bounds) {
			want = 1
		}
		require.Equal(t, want, count, i)
	}
}
