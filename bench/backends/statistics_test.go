package backends

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values            []float64
		median, low, high float64
		confidence        float64
	}{
		{nil, 0, 0, 0, 0},
		{[]float64{7}, 7, 7, 7, 0},
		{[]float64{3, 1}, 2, 1, 3, 0.5},
		{[]float64{5, 1, 3, 4, 2}, 3, 1, 5, 0.9375},
		{[]float64{6, 5, 4, 3, 2, 1}, 3.5, 1, 6, 0.96875},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, 5, 2, 8, 0.9609375},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 10.5, 6, 15, 0.9586},
	} {
		s := spreadOf(c.values)
		require.Equal(t, len(c.values), s.Runs)
		require.Equal(t, []float64{c.median, c.low, c.high}, []float64{s.Median, s.Low, s.High}, c.values)
		require.InDelta(t, c.confidence, s.Confidence, 1e-4, c.values)
	}
}
