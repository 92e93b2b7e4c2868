package raft_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhoRestarts knows its part again, by its log and by its snapshot: a member, a newcomer that is none yet, and one that
// has left.
func TestWhoRestarts(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	fresh, waits := g.join(), g.join()
	leader, _ := g.primary()
	leaves := (leader + 1) % 3
	stay := slices.DeleteFunc([]int{0, 1, 2, fresh}, func(i int) bool { return i == leaves })
	g.become(stay...)
	g.protocol(leaves, "left")
	g.commit("b")
	g.has("b", stay...)
	for _, checkpoint := range []bool{false, true} {
		if checkpoint {
			for _, i := range stay {
				require.NoError(t, g.replicas[i].Checkpoint(g.ctx))
			}
		}
		for i := range g.replicas {
			g.stop(i)
		}
		for i := range g.replicas {
			g.start(i)
		}
		g.settled(1, stay...)
		g.protocol(leaves, "left")
		g.protocol(waits, "transitioning")
		g.commit("c")
		g.has("c", stay...)
	}
	leader, _ = g.primary()
	require.Equal(t, g.at(stay...), g.replicas[leader].Membership().Members)
	require.EqualValues(t, fresh+1, g.replicas[leader].Membership().LargestID)
	g.become(append(stay, waits)...)
	g.has("c", waits)
}

// TestWhoIsBehindVotesForOneItDoesNotKnow: it was away while the others were replaced, and now its vote is needed.
func TestWhoIsBehindVotesForOneItDoesNotKnow(t *testing.T) {
	g := newChanging(t, 3, nil)
	g.commit("a")
	leader, _ := g.primary()
	away := (leader + 1) % 3
	g.stop(away)
	fourth, fifth := g.join(), g.join()
	report := g.change(away, fourth, fifth)
	g.settled(report.Epoch, away, fourth, fifth)
	for i := range g.replicas {
		if g.replicas[i] != nil && i != fourth && i != fifth {
			g.protocol(i, "left")
			g.stop(i)
		}
	}
	g.commit("b")
	g.has("b", fourth, fifth)
	g.stop(fourth)
	g.stop(fifth)
	g.start(away)
	g.start(fifth)
	g.settled(report.Epoch, away, fourth, fifth)
	g.commit("c")
	g.has("c", away, fifth)
}
