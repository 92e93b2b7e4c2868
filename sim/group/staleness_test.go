package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// told has a client been told of operations 1, 2 and 3 at the moments 10, 20 and 30, and asks r1 at moment 40 for a state
// no older than so many moments.
func told(s *simulation, bound instant) *host {
	for op := core.OpNumber(1); op <= 3; op++ {
		s.now = 10 * instant(op)
		s.checks.see(op)
	}
	s.now = 40
	h := s.hosts[0]
	h.stale = map[uint64]staleAsked{7: {at: s.now, bound: uint64(bound) * clockRate}}
	return h
}

func TestChecksOfStaleReads(t *testing.T) {
	answer := func(token uint64, applied core.OpNumber, age instant, bound instant) func(*testing.T, *simulation) {
		return func(_ *testing.T, s *simulation) {
			h := told(s, bound)
			h.machine.applied = applied
			s.answerStale(h, &core.StaleRead{Token: token, OK: true, Age: uint64(age) * clockRate})
		}
	}
	judge(t, []judgement{
		{"as old as it says", "", answer(7, 2, 10, 10)},
		{"older than it says", claimStale, answer(7, 2, 9, 10)},
		{"much older than it says", claimStale, answer(7, 0, 29, 100)},
		{"everything", "", answer(7, 3, 0, 0)},
		{"older than was allowed", claimStale, answer(7, 3, 11, 10)},
		{"an answer to a stale read that nobody asked for", claimStale, answer(8, 3, 0, 10)},
		{"given up", "", func(_ *testing.T, s *simulation) {
			s.answerStale(told(s, 0), &core.StaleRead{Token: 7, Age: 1 << 40})
		}},
		{"what a stale read has seen, and a later read has not", claimStale, func(_ *testing.T, s *simulation) {
			h := told(s, 0)
			h.machine.applied = 4
			s.answerStale(h, &core.StaleRead{Token: 7, OK: true})
			s.now++
			other := s.hosts[1]
			other.machine.applied, other.stale = 3, map[uint64]staleAsked{8: {at: s.now}}
			s.answerStale(other, &core.StaleRead{Token: 8, OK: true})
		}},
	})
}

// TestClocksBeginAnew: what a clock shows goes on where it stood when its host went down, or anywhere.
func TestClocksBeginAnew(t *testing.T) {
	went := [2]int{}
	for seed := range uint64(200) {
		mixed := drawMixture(seed)
		mixed.drawStale(&Options{Seed: seed})
		if mixed.stale.everyTickMax == 0 {
			continue
		}
		s := newSimulation(nil, Options{Seed: seed}, mixed)
		h := s.hosts[0]
		h.clockStopped, s.now = s.clock(h), 1000
		s.newClock(h)
		if s.clock(h) == h.clockStopped {
			went[0]++
		} else {
			went[1]++
		}
	}
	require.Greater(t, went[0], 20)
	require.Greater(t, went[1], 20)
}
