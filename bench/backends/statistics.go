package backends

import (
	"math"
	"slices"
)

// Spread is where the values of some runs lie.
type Spread struct {
	Runs   int     `json:"runs"`
	Median float64 `json:"median"`
	// Low and High bound the median of all runs that there could be, with the probability Confidence, whatever their
	// distribution: they are values of the runs, as far inside as leaves 95 %, or else the least and the greatest.
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
}

// confidenceMin is what an interval should have.
const confidenceMin = 0.95

// spreadOf sorts values. Of none it is the zero value.
func spreadOf(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	k := 0
	for 2*(k+1) < n && coverage(n, k+1) >= confidenceMin {
		k++
	}
	return Spread{Runs: n, Median: median(sorted), Low: sorted[k], High: sorted[n-1-k], Confidence: coverage(n, k)}
}

// coverage is the probability that the median lies between the values number k and n-1-k, from 0, of n that are sorted:
// that more than k of them, and less than n-k, are below it.
func coverage(n, k int) float64 {
	outside, choose := 0.0, 1.0
	for i := 0; i <= k; i++ {
		outside += choose
		choose *= float64(n-i) / float64(i+1)
	}
	return max(0, 1-2*outside/math.Pow(2, float64(n)))
}

// median is of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
