package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// A newcomer's process is started beside those of a running cluster, takes another's place while clients write, and can be
// killed and started again like any other. The one that left is forgotten, and its directory deleted.
func TestNodesJoinAndLeave(t *testing.T) {
	c, layout := startIn(t, "sync", "bbolt", 3)
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connected.Close()) })
	w := write(t, connected)
	w.more(t)
	for _, group := range []uint32{cluster.CoordinatorGroup, 1} {
		address, err := cluster.FreeAddress()
		require.NoError(t, err)
		joined, err := cluster.Join(within(t), cluster.JoinOptions{Groups: c.Groups(), Group: group, Address: address, Parent: layout.Directory})
		require.NoError(t, err)
		newcomer, err := c.Adopt(joined.Node)
		require.NoError(t, err)
		require.Equal(t, process.Node{Group: group, Replica: 4}, newcomer)
		_, err = c.Adopt(joined.Node)
		require.Error(t, err, "it runs already")
		require.Len(t, c.Nodes(group), 3, "it is no member yet")
		require.Equal(t, address, c.Address(newcomer))

		var changed survey.Changed
		require.NoError(t, survey.Poll(within(t), func() (err error) { // it takes a moment to listen
			changing := survey.Changing{Add: []string{address}, Remove: []uint32{1}}
			changed, err = survey.ChangeMembers(t.Context(), c.Groups()[group], changing, survey.ChangeOptions{})
			return err
		}))
		var members []cluster.GroupMember
		for _, m := range changed.Members {
			members = append(members, cluster.GroupMember{Replica: m.Replica, Address: m.Address})
		}
		c.SetMembers(group, members)
		require.NotContains(t, c.Nodes(group), process.Node{Group: group, Replica: 1})
		require.Contains(t, c.Nodes(group), newcomer)
		require.NoError(t, c.AwaitWhole(within(t)))

		leaver := process.Node{Group: group, Replica: 1}
		require.NoError(t, c.Terminate(within(t), leaver))
		require.NoError(t, c.Forget(leaver))
		require.NoError(t, os.RemoveAll(filepath.Join(layout.Directory, leaver.String())))
		require.ErrorIs(t, c.Kill(leaver), process.ErrNotRunning)
		require.ErrorIs(t, c.Forget(leaver), process.ErrNotRunning)
		killUnderLoad(t, c, w, newcomer)
	}
	w.end()
	requireAll(t, connected, w.acknowledged)
	requireEqualStates(t, c)
	require.Len(t, c.Coordinators(), 3)
	again, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()[2:]})
	require.NoError(t, err)
	require.NoError(t, again.Put(within(t), "late", []byte(fmt.Sprint(len(w.acknowledged)))))
	require.NoError(t, again.Close())
}
