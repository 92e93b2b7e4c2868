package cluster_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

// A newcomer learns and takes part in nothing; once it is a member it counts. Growing, shrinking, replacing, and the later
// life of a member that lost its disk are one call each, and a clerk goes on.
func TestMembersChange(t *testing.T) { onBackends(t, testMembersChange) }

func testMembersChange(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Coordinators: 1, Shards: 1})
	connected := clustertest.Clerk(t, c)
	wrote := 0
	write := func() {
		for range 20 {
			put(t, connected, fmt.Sprint("object/", wrote), fmt.Sprint(wrote))
			wrote++
		}
	}
	write()
	newcomers := make([]uint32, 2)
	for i := range newcomers {
		replica, err := c.AddNode(within(t), 1)
		require.NoError(t, err)
		require.EqualValues(t, 4+i, replica)
		newcomers[i] = replica
		require.NoError(t, c.ChangeMembers(within(t), 1, []uint32{replica}, nil))
		write()
	}
	require.Len(t, c.Groups()[1].Members, 5)
	require.NoError(t, c.AwaitWhole(within(t)))

	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	require.NoError(t, c.ChangeMembers(within(t), 1, nil, []uint32{primary}), "the primary itself goes")
	require.NoError(t, c.Kill(1, primary))
	require.NoError(t, c.AwaitWhole(within(t)))
	write()

	lost := c.Groups()[1].Members[0].Replica
	require.NoError(t, c.Kill(1, lost))
	require.NoError(t, c.RenewNode(within(t), 1, lost))
	require.NoError(t, c.ChangeMembers(within(t), 1, []uint32{lost}, []uint32{lost}))
	require.NoError(t, c.AwaitWhole(within(t)))
	write()
	for n := range wrote {
		requireValue(t, connected, fmt.Sprint("object/", n), fmt.Sprint(n))
	}
	requireSameStates(t, c, 4)
}

// requireSameStates waits until so many replicas of shard 1 have applied the same, and compares.
func requireSameStates(t *testing.T, c *cluster.Cluster, replicas int) {
	t.Helper()
	require.NoError(t, survey.Poll(within(t), func() error {
		hashes := map[string]int{}
		for _, r := range c.SurveyStates(t.Context()) {
			if r.Group == 1 {
				hashes[fmt.Sprint(r.Applied, " ", r.StateHash)]++
			}
		}
		if len(hashes) != 1 {
			return fmt.Errorf("states: %v", hashes)
		}
		for _, count := range hashes {
			require.Equal(t, replicas, count)
		}
		return nil
	}))
}

// Of changes that are made from the same members one happens, and the others are told so.
func TestChangesAtOnce(t *testing.T) { onBackendsInFull(t, testChangesAtOnce) }

func testChangesAtOnce(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Coordinators: 1, Shards: 1, Replicas: 5})
	group := c.Groups()[1]
	errs := make([]error, 3)
	var changing sync.WaitGroup
	for i := range errs {
		changing.Go(func() {
			_, errs[i] = survey.ChangeMembers(within(t), group, survey.Changing{Remove: []uint32{uint32(i + 1)}}, survey.ChangeOptions{})
		})
	}
	changing.Wait()
	happened := 0
	for _, err := range errs {
		if err == nil {
			happened++
			continue
		}
		require.ErrorIs(t, err, survey.ErrMoved)
		require.ErrorIs(t, err, survey.ErrNotChanged)
	}
	require.Positive(t, happened)
	found, err := survey.AwaitMembers(within(t), group)
	require.NoError(t, err)
	require.EqualValues(t, happened, found.Epoch)
	require.Len(t, found.Members, 5-happened)
}
