package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// The members of a shard and of the coordinator change under load, with a replica killed in the middle: a shard grows from
// 3 to 5, one of it and the primary of the coordinator are replaced, and a replica comes back whose disk was lost. Nothing
// acknowledged is lost, the states are equal, and the clerk goes on.
func TestMembersChangeUnderLoad(t *testing.T) {
	for _, backend := range []string{cluster.BackendVR, cluster.BackendRaft} {
		for _, durability := range []string{"sync", "memory"} {
			t.Run(backend+" "+durability, func(t *testing.T) {
				if testing.Short() && backend == cluster.BackendRaft {
					t.Skip("the same for a backend that was tried in one process")
				}
				testMembersChangeUnderLoad(t, backend, durability)
			})
		}
	}
}

func testMembersChangeUnderLoad(t *testing.T, backend, durability string) {
	c, layout := startOn(t, backend, durability, "bbolt", 3)
	r := &room{c, layout.Directory}
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connected.Close()) })
	w := write(t, connected)
	w.more(t)
	r.grow(t, w)
	for _, group := range []uint32{1, cluster.CoordinatorGroup} {
		r.replacePrimary(t, w, group)
	}
	r.loseDisk(t, w)

	// Those whom the group began with may go now, one at a time: newcomers serve.
	for _, node := range r.Nodes(1)[:2] {
		require.NoError(t, r.change(t, 1, nil, []process.Node{node}))
		w.more(t)
	}
	err = r.change(t, 1, nil, r.Nodes(1)[:1])
	if durability == "memory" {
		require.ErrorIs(t, err, survey.ErrChange)
		require.ErrorContains(t, err, "durability memory needs 3")
	} else {
		require.NoError(t, err)
	}
	w.more(t)
	w.end()
	require.NoError(t, r.AwaitWhole(within(t)))
	requireAll(t, connected, w.acknowledged)
	requireEqualStates(t, c)
	t.Logf("%d objects are acknowledged and there; the groups are %v", len(w.acknowledged), r.Groups())
}

// room is a cluster of processes whose members change.
type room struct {
	*process.Cluster
	directory string
}

// join sets up a newcomer, or a later life of a replica, and starts its process.
func (r *room) join(t *testing.T, node process.Node, address string) process.Node {
	t.Helper()
	joined, err := cluster.Join(within(t), cluster.JoinOptions{
		Groups: r.Groups(), Group: node.Group, Replica: node.Replica, Address: address, Parent: r.directory,
	})
	require.NoError(t, err)
	require.True(t, joined.Changed)
	started, err := r.Adopt(joined.Node)
	require.NoError(t, err)
	return started
}

// add sets up and starts a newcomer. Its id is its own where several come at once.
func (r *room) add(t *testing.T, node process.Node) process.Node {
	t.Helper()
	address, err := cluster.FreeAddress()
	require.NoError(t, err)
	return r.join(t, node, address)
}

// change changes the members of a group.
func (r *room) change(t *testing.T, group uint32, add, remove []process.Node) error {
	t.Helper()
	changing := survey.Changing{Return: true}
	for _, node := range add {
		changing.Add = append(changing.Add, r.Address(node))
	}
	for _, node := range remove {
		changing.Remove = append(changing.Remove, node.Replica)
	}
	done, err := survey.ChangeMembers(within(t), r.Groups()[group], changing, survey.ChangeOptions{})
	if err != nil {
		return err
	}
	r.SetMembers(group, (&survey.Membership{Members: done.Members}).AsGroup().Members)
	for _, node := range remove {
		if !slices.Contains(add, node) {
			require.NoError(t, r.Forget(node))
			require.NoError(t, os.RemoveAll(filepath.Join(r.directory, node.String())))
		}
	}
	return nil
}

// grow lets two newcomers into shard 1 while one of its first members is dead.
func (r *room) grow(t *testing.T, w *writers) {
	t.Helper()
	newcomers := []process.Node{r.add(t, process.Node{Group: 1, Replica: 4}), r.add(t, process.Node{Group: 1, Replica: 5})}
	w.more(t)
	primary, err := r.Primary(within(t), 1)
	require.NoError(t, err)
	dead := process.Node{Group: 1, Replica: primary.Replica%3 + 1}
	require.NoError(t, r.Kill(dead))
	require.NoError(t, r.change(t, 1, newcomers, nil))
	require.Len(t, r.Nodes(1), 5)
	w.more(t)
	require.NoError(t, r.Restart(dead))
	require.NoError(t, r.AwaitWhole(within(t)))
	w.more(t)
}

// replacePrimary puts a newcomer into the place of a group's primary.
func (r *room) replacePrimary(t *testing.T, w *writers, group uint32) {
	t.Helper()
	newcomer := r.add(t, process.Node{Group: group})
	primary, err := r.Primary(within(t), group)
	require.NoError(t, err)
	require.NoError(t, r.change(t, group, []process.Node{newcomer}, []process.Node{primary}))
	w.more(t)
	require.NoError(t, r.AwaitWhole(within(t)))
}

// loseDisk has the primary of shard 1 lose its disk and come back.
func (r *room) loseDisk(t *testing.T, w *writers) {
	t.Helper()
	primary, err := r.Primary(within(t), 1)
	require.NoError(t, err)
	address := r.Address(primary)
	require.NoError(t, r.Forget(primary))
	require.NoError(t, os.RemoveAll(filepath.Join(r.directory, primary.String(), "data")))
	w.more(t)
	require.Equal(t, primary, r.join(t, primary, address))
	w.more(t)
	require.NoError(t, r.change(t, 1, []process.Node{primary}, []process.Node{primary}))
	require.NoError(t, r.AwaitWhole(within(t)))
	w.more(t)
}
