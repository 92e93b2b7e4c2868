package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestZipfFits holds the generator against the exact probabilities by Pearson's chi-square test. The seeds are
// fixed, so that it passes always or never; the bound is that of a right generator at one in 100,000.
func TestZipfFits(t *testing.T) {
	const draws = 400_000
	for _, theta := range []float64{0, 0.3, 0.6, 0.9, 0.99, 1, 1.0000001, 1.2, 2, 5} {
		for _, n := range []uint64{1, 2, 10, 1000} {
			t.Run(fmt.Sprintf("theta=%g/n=%d", theta, n), func(t *testing.T) {
				z, err := NewZipf(rand.New(rand.NewPCG(1, n)), n, theta)
				require.NoError(t, err)
				counts := make([]float64, n+1)
				for range draws {
					counts[z.Rank()]++
				}
				require.Zero(t, counts[0])
				statistic, cells := chiSquare(counts[1:], probabilities(n, theta), draws)
				// Wilson and Hilferty: (X/k)^(1/3) is close to normal.
				k := float64(max(cells-1, 1))
				normal := (math.Cbrt(statistic/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
				require.Less(t, normal, 4.3, "chi-square %.1f with %g degrees of freedom", statistic, k)
			})
		}
	}
}

func probabilities(n uint64, theta float64) []float64 {
	p := make([]float64, n)
	sum := 0.0
	for i := range p {
		p[i] = math.Pow(float64(i+1), -theta)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// chiSquare puts rare ranks together, so that every cell expects at least 10.
func chiSquare(counts, p []float64, draws float64) (statistic float64, cells int) {
	observed, expected := 0.0, 0.0
	for i := range counts {
		observed += counts[i]
		expected += p[i] * draws
		if expected >= 10 || i == len(counts)-1 && expected > 0 {
			statistic += (observed - expected) * (observed - expected) / max(expected, 1)
			observed, expected = 0, 0
			cells++
		}
	}
	return statistic, cells
}

// TestZipfTestSees: a generator with a slightly different theta does not pass the same test.
func TestZipfTestSees(t *testing.T) {
	z, err := NewZipf(rand.New(rand.NewPCG(1, 1)), 1000, 0.92)
	require.NoError(t, err)
	counts := make([]float64, 1000)
	for range 400_000 {
		counts[z.Rank()-1]++
	}
	statistic, cells := chiSquare(counts, probabilities(1000, 0.9), 400_000)
	require.Greater(t, statistic, 1.5*float64(cells))
}

func TestZipfRefuses(t *testing.T) {
	for _, c := range []struct {
		n     uint64
		theta float64
	}{{0, 1}, {1, -0.1}, {1, math.NaN()}, {1, math.Inf(1)}} {
		_, err := NewZipf(rand.New(rand.NewPCG(1, 1)), c.n, c.theta)
		require.Error(t, err)
	}
}
