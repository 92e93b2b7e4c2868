package transactions

import (
	"flag"
	"testing"
)

var seedFlag = flag.Uint64("seed", 1, "seed")

func TestQuick(t *testing.T) {
	var cov Coverage
	bad := 0
	n := 20000
	var steps uint64
	for seed := uint64(1); seed <= uint64(n); seed++ {
		r := Run(Ordinary(seed), seed, nil)
		cov.Add(&r.Coverage)
		steps += r.Steps
		if len(r.Problems) > 0 {
			bad++
			if bad < 12 {
				t.Logf("seed %d: %v", seed, r.Problems)
			}
		}
	}
	t.Logf("bad %d of %d; %d steps each", bad, n, steps/uint64(n))
	for i, c := range cov {
		t.Logf("%-45s %d", Mark(i), c)
	}
}

func TestTraceSeed(t *testing.T) {
	seed := *seedFlag
	r := Run(Ordinary(seed), seed, t.Logf)
	t.Log(r.Problems)
}
