package cluster_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

// tree maps every file below a directory to its bytes.
func tree(t *testing.T, directory string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	}))
	return files
}

// A newcomer's directory has all that its node needs; made again it stays as it is, also when an interrupted run has left
// only a part of it.
func TestJoin(t *testing.T) { onBackendsInFull(t, testJoin) }

func testJoin(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Coordinators: 1, Shards: 1})
	for _, group := range []uint32{cluster.CoordinatorGroup, 1} {
		members := uint32(len(c.Groups()[group].Members))
		options := cluster.JoinOptions{Groups: c.Groups(), Group: group, Address: "127.0.0.1:9", Parent: t.TempDir()}
		first, err := cluster.Join(within(t), options)
		require.NoError(t, err)
		require.Equal(t, []any{true, false, false, members + 1}, []any{first.Changed, first.Member, first.Returns, first.Replica})
		config, err := cluster.ReadNodeConfig(first.Node)
		require.NoError(t, err)
		require.True(t, config.Joining)
		require.Equal(t, "127.0.0.1:9", config.Address())
		require.Equal(t, first.Incarnation, config.Incarnation)
		require.Greater(t, first.Incarnation, uint64(1))
		require.Len(t, config.Members, int(members))
		before := tree(t, options.Parent)
		for range 2 {
			again, err := cluster.Join(within(t), options)
			require.NoError(t, err)
			require.False(t, again.Changed)
			again.Changed = true
			require.Equal(t, first, again)
			require.Equal(t, before, tree(t, options.Parent))
			options.Directory, options.Parent = filepath.Dir(first.Node), t.TempDir() // its directory is asked for what it is, too
			before = map[string]string{}
		}
		require.NoError(t, os.Remove(first.Node))
		again, err := cluster.Join(within(t), options)
		require.NoError(t, err)
		require.Equal(t, first, again, "the life that its data directory has")

		other, err := cluster.Join(within(t), cluster.JoinOptions{Groups: c.Groups(), Group: group, Address: "127.0.0.1:10", Parent: t.TempDir()})
		require.NoError(t, err)
		require.Equal(t, first.Replica, other.Replica, "neither is a member")
		require.NotEqual(t, first.Incarnation, other.Incarnation)
	}
}

func TestJoinRefuses(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1})
	standing, err := cluster.Join(within(t), cluster.JoinOptions{Groups: c.Groups(), Group: 1, Address: "127.0.0.1:9", Parent: t.TempDir()})
	require.NoError(t, err)
	address := func(group, place int) string { return c.Groups()[group].Members[place].Address }
	for _, r := range []struct {
		name   string
		change func(*cluster.JoinOptions)
		is     error
		says   string
	}{
		{"no address", func(o *cluster.JoinOptions) { o.Address = "nowhere" }, cluster.ErrConfig, "not host:port"},
		{"no such group", func(o *cluster.JoinOptions) { o.Group = 7 }, cluster.ErrJoin, "no group 7"},
		{"a member that is well", func(o *cluster.JoinOptions) { o.Replica = 2 }, cluster.ErrJoin, "is well"},
		{"the only member", func(o *cluster.JoinOptions) { o.Group, o.Replica = 0, 1 }, cluster.ErrJoin, "only member"},
		{"a member's address", func(o *cluster.JoinOptions) { o.Address = address(1, 1) }, cluster.ErrJoin, "--replica 2"},
		{"another member's address", func(o *cluster.JoinOptions) { o.Replica, o.Address = 1, address(1, 1) }, cluster.ErrJoin, "address of replica 2"},
		{"an address of another group", func(o *cluster.JoinOptions) { o.Address = address(0, 0) }, cluster.ErrJoin, "coordinator-1"},
		{"another's directory", func(o *cluster.JoinOptions) {
			o.Replica, o.Directory = 9, filepath.Dir(standing.Node)
		}, cluster.ErrJoin, "shard-1-4"},
		{"a directory of another group", func(o *cluster.JoinOptions) { o.Directory = c.NodeDirectory(0, 1) }, cluster.ErrJoin, "coordinator-1"},
		{"its directory at another address", func(o *cluster.JoinOptions) {
			o.Address, o.Directory = "127.0.0.1:10", filepath.Dir(standing.Node)
		}, cluster.ErrJoin, "127.0.0.1:9"},
	} {
		t.Run(r.name, func(t *testing.T) {
			options := cluster.JoinOptions{Groups: c.Groups(), Group: 1, Address: "127.0.0.1:11", Parent: t.TempDir()}
			r.change(&options)
			_, err := cluster.Join(within(t), options)
			require.ErrorIs(t, err, r.is)
			require.ErrorContains(t, err, r.says)
			require.Empty(t, tree(t, options.Parent))
		})
	}
}

// A directory of another cluster is not taken, whatever its name.
func TestJoinRefusesAnotherCluster(t *testing.T) {
	one := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1, Replicas: 1})
	other := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1, Replicas: 1})
	parent := t.TempDir()
	_, err := cluster.Join(within(t), cluster.JoinOptions{Groups: one.Groups(), Group: 1, Address: "127.0.0.1:9", Parent: parent})
	require.NoError(t, err)
	_, err = cluster.Join(within(t), cluster.JoinOptions{Groups: other.Groups(), Group: 1, Address: "127.0.0.1:9", Parent: parent})
	require.ErrorIs(t, err, cluster.ErrJoin)
	require.ErrorContains(t, err, "choose another")

	mixed := one.Groups()
	mixed[1].Members = append(mixed[1].Members, cluster.GroupMember{Replica: 2, Address: other.Groups()[1].Members[0].Address})
	_, err = cluster.Join(within(t), cluster.JoinOptions{Groups: mixed, Group: 1, Address: "127.0.0.1:9", Parent: t.TempDir()})
	require.ErrorIs(t, err, survey.ErrClusters)
}
