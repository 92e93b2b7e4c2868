package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Zipf draws ranks 1 to n with probability proportional to 1/rank^theta, for any theta from 0 (all alike), by
// rejection-inversion (Hoermann and Derflinger, 1996): no table, however large n. The standard library's
// generator needs an exponent above 1. A Zipf belongs to one goroutine.
type Zipf struct {
	random *rand.Rand
	n      uint64
	theta  float64
	// The area under the hat from 1/2 to n+1/2, and the width within which no rejection is needed.
	low, high, sure float64
}

// NewZipf makes a generator of ranks 1 to n. Theta must be 0 or more and finite, n at least 1.
func NewZipf(random *rand.Rand, n uint64, theta float64) (*Zipf, error) {
	if n == 0 || theta < 0 || math.IsNaN(theta) || math.IsInf(theta, 0) {
		return nil, fmt.Errorf("bench: no Zipf distribution has n %d and theta %g", n, theta)
	}
	z := &Zipf{random: random, n: n, theta: theta}
	z.low = z.area(1.5) - 1
	z.high = z.area(float64(n) + 0.5)
	z.sure = 2 - z.inverse(z.area(2.5)-z.height(2))
	return z, nil
}

// Rank draws a rank, 1 to n; 1 is the most likely.
func (z *Zipf) Rank() uint64 {
	if z.theta == 0 {
		return 1 + z.random.Uint64N(z.n)
	}
	for {
		u := z.high + z.random.Float64()*(z.low-z.high)
		x := z.inverse(u)
		rank := min(max(math.Floor(x+0.5), 1), float64(z.n))
		if rank-x <= z.sure || u >= z.area(rank+0.5)-z.height(rank) {
			return uint64(rank)
		}
	}
}

// height is the hat: x^-theta.
func (z *Zipf) height(x float64) float64 { return math.Exp(-z.theta * math.Log(x)) }

// area is the integral of the hat from 1 to x; written so that it is exact near theta 1 too.
func (z *Zipf) area(x float64) float64 {
	logarithm := math.Log(x)
	return expm1Over((1-z.theta)*logarithm) * logarithm
}

// inverse undoes area.
func (z *Zipf) inverse(area float64) float64 {
	t := max(area*(1-z.theta), -1)
	return math.Exp(log1pOver(t) * area)
}

// expm1Over is (e^x - 1)/x, and its limit at 0.
func expm1Over(x float64) float64 {
	if math.Abs(x) > 1e-8 {
		return math.Expm1(x) / x
	}
	return 1 + x/2*(1+x/3)
}

// log1pOver is log(1+x)/x, and its limit at 0.
func log1pOver(x float64) float64 {
	if math.Abs(x) > 1e-8 {
		return math.Log1p(x) / x
	}
	return 1 - x*(0.5-x/3)
}
