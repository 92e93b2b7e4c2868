package node

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fill lets sessions take pieces until none gets another one, and returns what each has.
func fill(b *budget, sessions, piece int) []int {
	held := make([]int, sessions)
	for more := true; more; {
		more = false
		for i := range held {
			if b.take(held[i], piece) {
				held[i] += piece
				more = true
			}
		}
	}
	return held
}

// TestBudgetIsShared: those who come together get the same, and leave eight times as much as one of them has.
func TestBudgetIsShared(t *testing.T) {
	const most, piece = 256 << 20, 1 << 10
	for _, sessions := range []int{1, 2, 3, 8, 100} {
		b := budget{max: most}
		held := fill(&b, sessions, piece)
		total := 0
		for i, has := range held {
			total += has
			require.InDelta(t, most/(sessions+shares), has, 2*piece, "%d of %d", i, sessions)
		}
		require.EqualValues(t, total, b.used.Load())
		require.True(t, b.take(0, held[0]*shares/(shares+1)-piece), "a newcomer has nearly as much at once")
	}
}

// TestBudgetIsNotExhausted: those who come one after the other, each when the ones before have all they can get.
func TestBudgetIsNotExhausted(t *testing.T) {
	const most, piece = 256 << 20, 1 << 10
	b := budget{max: most}
	for before := range 200 {
		has := fill(&b, 1, piece)[0]
		fair := most / (shares + 1) * math.Pow(float64(shares)/(shares+1), float64(before))
		require.InDelta(t, max(fair, sureBytes), has, 4*piece, "after %d", before)
	}
	require.LessOrEqual(t, b.used.Load(), int64(most+200*sureBytes))
}

func TestBudgetAtTheSameTime(t *testing.T) {
	const most, piece = 4 << 20, sureBytes + 1
	b := budget{max: most}
	var all sync.WaitGroup
	taken := make([]int, 8)
	for i := range taken {
		all.Go(func() {
			for range 10_000 {
				if b.take(0, piece) {
					taken[i]++
					if used := b.used.Load(); used > most {
						t.Errorf("%d are used", used)
					}
					b.give(piece)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, b.used.Load())
	for _, times := range taken {
		require.NotZero(t, times)
	}
}
