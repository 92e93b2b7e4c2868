package process_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/survey"
)

// In async and memory all replicas of a shard are killed at once. The group stays stopped, by itself for ever; forced, it
// comes back with what the best of its directories had, all replicas equal, and says what was lost and that it was forced.
func TestForceBringsAGroupBack(t *testing.T) {
	for _, durability := range []string{"async", "memory"} {
		t.Run(durability, func(t *testing.T) {
			c, layout := startIn(t, durability, "bbolt", 3)
			connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, connected.Close()) })
			w := write(t, connected)
			w.more(t)
			w.end()
			kept := slices.Clone(w.acknowledged)
			all(t, c, func(node process.Node) error { return c.Terminate(within(t), node) })
			all(t, c, c.Restart)
			require.NoError(t, c.AwaitWhole(within(t)))
			var since []string
			for n, begun := 0, time.Now(); time.Since(begun) < 500*time.Millisecond; n++ {
				since = append(since, fmt.Sprintf("since/%d", n))
				require.NoError(t, connected.Put(within(t), since[n], []byte(since[n])))
			}
			all(t, c, c.Kill)

			all(t, c, c.Restart)
			require.NoError(t, survey.Poll(within(t), func() error {
				if sentence := survey.Assess(c.Survey(t.Context())).Sentence; !strings.Contains(sentence, "viewline force") {
					return fmt.Errorf("it says: %s", sentence)
				}
				return nil
			}))
			paths := pathsOf(c, layout)
			_, err = cluster.PlanForce(paths)
			require.ErrorIs(t, err, node.ErrInUse, "while they run")
			all(t, c, func(node process.Node) error { return c.Terminate(within(t), node) })
			force(t, paths, durability)

			all(t, c, c.Restart)
			require.NoError(t, c.AwaitWhole(within(t)))
			for _, oid := range kept {
				value, err := connected.Get(within(t), oid)
				require.NoError(t, err, oid)
				require.Equal(t, oid, string(value))
			}
			lost := countLost(t, connected, since)
			if durability == "memory" {
				require.Len(t, since, lost, "nothing of it was on any disk")
			} else {
				require.Less(t, lost, len(since), "the disks were 100 ms behind")
			}
			t.Logf("%d of %d acknowledged since the last clean stop are lost, none of the %d before", lost, len(since), len(kept))
			require.NoError(t, connected.Put(within(t), "late", []byte("late")))
			requireEqualStates(t, c)
			requireForced(t, c, layout)
		})
	}
}

func all(t *testing.T, c *process.Cluster, do func(process.Node) error) {
	t.Helper()
	for _, node := range c.Nodes(1) {
		require.NoError(t, do(node))
	}
}

func pathsOf(c *process.Cluster, layout *cluster.Layout) (paths []string) {
	for _, node := range c.Nodes(1) {
		paths = append(paths, filepath.Join(layout.Directory, node.String()))
	}
	return paths
}

// force forces the group, and finds that nothing more is to be done.
func force(t *testing.T, paths []string, durability string) {
	t.Helper()
	_, err := cluster.PlanForce(paths[:1])
	require.ErrorIs(t, err, cluster.ErrForce, "one of three is too few")
	for n, needed := range []bool{true, false, false} {
		plan, err := cluster.PlanForce(paths)
		require.NoError(t, err)
		require.Equal(t, needed, plan.Needed, "run %d", n)
		if needed {
			require.Contains(t, strings.Join(plan.Loss, " "), "Durability "+durability)
			require.True(t, plan.Replicas[0].Chosen && plan.Replicas[1].Chosen && !plan.Replicas[2].Chosen)
		}
		require.NoError(t, errors.Join(plan.Execute(time.Now()), plan.Close()))
	}
}

func countLost(t *testing.T, connected *clerk.Clerk, oids []string) (lost int) {
	t.Helper()
	for _, oid := range oids {
		value, err := connected.Get(within(t), oid)
		if errors.Is(err, clerk.ErrNotFound) {
			lost++
			continue
		}
		require.NoError(t, err)
		require.Equal(t, oid, string(value))
	}
	return lost
}

func requireForced(t *testing.T, c *process.Cluster, layout *cluster.Layout) {
	t.Helper()
	forced := 0
	for _, r := range c.Survey(t.Context()) {
		if r.Counters["forced"] == 0 {
			continue
		}
		forced++
		require.EqualValues(t, 1, r.Counters["forced"])
		log, err := os.ReadFile(filepath.Join(layout.Directory, process.Node{Group: r.Group, Replica: r.Replica}.String(), "log"))
		require.NoError(t, err)
		require.Contains(t, string(log), "was forced to start from what it had")
	}
	require.Equal(t, 2, forced)
}

// One replica of a shard was replaced, and then all crash: the directories say who the members are. The one that has left,
// whose directory is still there and whole, is given too, and left alone.
func TestForceAfterTheMembersHaveChanged(t *testing.T) {
	c, layout := startIn(t, "async", "wal", 3)
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connected.Close()) })
	w := write(t, connected)
	w.more(t)
	leaver := process.Node{Group: 1, Replica: 1}
	newcomer := replace(t, c, layout, leaver)
	require.NoError(t, c.Terminate(within(t), leaver))
	for w.count() <= 120 {
		w.more(t)
	}
	w.end()
	all(t, c, func(node process.Node) error { return c.Terminate(within(t), node) })
	all(t, c, c.Restart)
	require.NoError(t, c.AwaitWhole(within(t)))
	since := []string{"since/0"}
	require.NoError(t, connected.Put(within(t), since[0], []byte(since[0])))
	all(t, c, c.Kill)

	paths := append(pathsOf(c, layout), filepath.Join(layout.Directory, leaver.String()))
	require.Len(t, paths, 4)
	for n, needed := range []bool{true, false} {
		plan, err := cluster.PlanForce(paths)
		require.NoError(t, err)
		require.Equal(t, needed, plan.Needed, "run %d", n)
		require.EqualValues(t, 1, plan.Epoch)
		require.Equal(t, 3, plan.Members)
		last := plan.Replicas[3]
		require.Equal(t, leaver.Replica, last.Replica)
		require.True(t, last.Whole && !last.Member && !last.Chosen, "%+v", last)
		require.NoError(t, errors.Join(plan.Execute(time.Now()), plan.Close()))
	}
	all(t, c, c.Restart)
	require.NoError(t, c.AwaitWhole(within(t)))
	requireAll(t, connected, w.acknowledged)
	t.Logf("%d of the last moments are lost", countLost(t, connected, since))
	require.NoError(t, connected.Put(within(t), "late", []byte("late")))
	requireEqualStates(t, c)
	requireForced(t, c, layout)
	require.NoFileExists(t, filepath.Join(layout.Directory, leaver.String(), "data", "FORCED"))
	require.NoError(t, c.Kill(newcomer))
	require.NoError(t, connected.Put(within(t), "later", []byte("later")))
}

// replace has a newcomer take a node's place, and returns it.
func replace(t *testing.T, c *process.Cluster, layout *cluster.Layout, leaver process.Node) process.Node {
	t.Helper()
	address, err := cluster.FreeAddress()
	require.NoError(t, err)
	joined, err := cluster.Join(within(t), cluster.JoinOptions{Groups: c.Groups(), Group: leaver.Group, Address: address, Parent: layout.Directory})
	require.NoError(t, err)
	newcomer, err := c.Adopt(joined.Node)
	require.NoError(t, err)
	var changed survey.Changed
	require.NoError(t, survey.Poll(within(t), func() (err error) { // it takes a moment to listen
		changing := survey.Changing{Add: []string{address}, Remove: []uint32{leaver.Replica}}
		changed, err = survey.ChangeMembers(t.Context(), c.Groups()[leaver.Group], changing, survey.ChangeOptions{})
		return err
	}))
	var members []cluster.GroupMember
	for _, m := range changed.Members {
		members = append(members, cluster.GroupMember{Replica: m.Replica, Address: m.Address, Witness: m.Witness})
	}
	c.SetMembers(leaver.Group, members)
	require.NoError(t, c.AwaitWhole(within(t)))
	return newcomer
}
