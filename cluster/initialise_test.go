package cluster

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/replication/vr/storage"
)

func localLayout(t *testing.T) *Layout {
	t.Helper()
	layout, err := LocalLayout(filepath.Join(t.TempDir(), "cluster"), 1, 1, 3)
	require.NoError(t, err)
	return layout
}

// contents maps every file below a directory to its bytes.
func contents(t *testing.T, directory string) map[string]string {
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

func TestInitialiseTwiceChangesNothing(t *testing.T) {
	layout := localLayout(t)
	first, err := Initialise(layout)
	require.NoError(t, err)
	require.True(t, first.Changed)
	require.Len(t, first.Nodes, 4)
	before := contents(t, layout.Directory)
	require.NotEmpty(t, before)

	second, err := Initialise(layout)
	require.NoError(t, err)
	require.False(t, second.Changed)
	require.Equal(t, first.Cluster, second.Cluster)
	require.Equal(t, before, contents(t, layout.Directory))
	for _, file := range second.Nodes {
		config, err := ReadNodeConfig(file)
		require.NoError(t, err)
		require.Equal(t, first.Cluster, config.Cluster)
		require.Equal(t, filepath.Join(filepath.Dir(file), "data"), config.Data)
	}
}

func TestInitialiseFinishesWhatWasInterrupted(t *testing.T) {
	layout := localLayout(t)
	first, err := Initialise(layout)
	require.NoError(t, err)
	// As if the run had ended while the last node was set up.
	require.NoError(t, os.Remove(filepath.Join(layout.Directory, doneFile)))
	require.NoError(t, os.Remove(first.Nodes[3]))
	second, err := Initialise(layout)
	require.NoError(t, err)
	require.True(t, second.Changed)
	require.Equal(t, first, &Initialised{Cluster: second.Cluster, Nodes: second.Nodes, Changed: true})
	require.FileExists(t, first.Nodes[3])
}

func TestInitialiseRefusesAnotherLayout(t *testing.T) {
	layout := localLayout(t)
	_, err := Initialise(layout)
	require.NoError(t, err)
	changed := *layout
	changed.Shards = []ShardLayout{{ID: 1, Replicas: layout.Shards[0].Replicas[:2]}}
	_, err = Initialise(&changed)
	require.ErrorIs(t, err, ErrLayoutChanged)
	grown := *layout
	grown.Shards = append(grown.Shards, ShardLayout{ID: 2, Replicas: []Member{{Replica: 1, Address: "127.0.0.1:9"}}})
	_, err = Initialise(&grown)
	require.ErrorIs(t, err, ErrLayoutChanged)
}

func TestWipedDirectoryIsRefused(t *testing.T) {
	layout := localLayout(t)
	done, err := Initialise(layout)
	require.NoError(t, err)
	config, err := ReadNodeConfig(done.Nodes[2])
	require.NoError(t, err)

	// Only the log is gone: the identity says that there was one.
	require.NoError(t, os.Remove(filepath.Join(config.Data, "replica.db")))
	_, err = StartNode(config, NodeOptions{})
	require.ErrorIs(t, err, storage.ErrNotFormatted)

	require.NoError(t, os.RemoveAll(config.Data))
	_, err = StartNode(config, NodeOptions{})
	require.ErrorIs(t, err, node.ErrNotFormatted)
	require.NoDirExists(t, config.Data)
	_, err = Initialise(layout)
	require.ErrorIs(t, err, ErrDataMissing)
	require.NoDirExists(t, config.Data)
}

func TestDirectoryOfAnotherIsRefused(t *testing.T) {
	layout := localLayout(t)
	done, err := Initialise(layout)
	require.NoError(t, err)
	config, err := ReadNodeConfig(done.Nodes[1])
	require.NoError(t, err)
	other, err := ReadNodeConfig(done.Nodes[2])
	require.NoError(t, err)

	for field, change := range map[string]func(*NodeConfig){
		"replica": func(c *NodeConfig) { c.Data = other.Data },
		"group":   func(c *NodeConfig) { c.Data = filepath.Join(layout.Directory, "coordinator-1", dataDirectory) },
		"cluster": func(c *NodeConfig) { c.Cluster = "000102030405060708090a0b0c0d0e0f" },
	} {
		changed := *config
		change(&changed)
		_, err := StartNode(&changed, NodeOptions{})
		var refused *node.IdentityError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, field, refused.Field)
	}
}

// TestALogIsForGood: init makes it as the layout says, and a node that is told another one later does not start.
func TestALogIsForGood(t *testing.T) {
	for log, other := range map[string]string{"": "wal", "bbolt": "wal", "wal": "bbolt"} {
		layout := localLayout(t)
		layout.Log = log
		done, err := Initialise(layout)
		require.NoError(t, err)
		config, err := ReadNodeConfig(done.Nodes[1])
		require.NoError(t, err)
		running, err := StartNode(config, NodeOptions{})
		require.NoError(t, err)
		require.NoError(t, running.Close())

		config.Log = other
		_, err = StartNode(config, NodeOptions{})
		var refused *storage.LogError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, other, refused.Want.String())
		config.Log = ""
		running, err = StartNode(config, NodeOptions{})
		require.NoError(t, err, "as it was made")
		require.NoError(t, running.Close())
		layout.Log = other
		_, err = Initialise(layout)
		require.ErrorIs(t, err, ErrLayoutChanged)
	}
}

func TestDirectoryInUseIsRefused(t *testing.T) {
	layout := localLayout(t)
	done, err := Initialise(layout)
	require.NoError(t, err)
	config, err := ReadNodeConfig(done.Nodes[1])
	require.NoError(t, err)
	running, err := StartNode(config, NodeOptions{})
	require.NoError(t, err)
	require.Equal(t, config.Address(), running.Addr())
	_, err = StartNode(config, NodeOptions{})
	require.ErrorIs(t, err, node.ErrInUse)
	_, err = Initialise(layout)
	require.NoError(t, err, "a running replica is no reason for init to complain")
	require.NoError(t, running.Close())
	require.NoError(t, running.Close())
}

func TestPlaintextBeyondLoopbackIsRefused(t *testing.T) {
	layout := localLayout(t)
	done, err := Initialise(layout)
	require.NoError(t, err)
	config, err := ReadNodeConfig(done.Nodes[1])
	require.NoError(t, err)
	config.Listen = "0.0.0.0:0"
	_, err = StartNode(config, NodeOptions{})
	var refused *node.InsecureListenError
	require.ErrorAs(t, err, &refused)
	running, err := StartNode(config, NodeOptions{Insecure: true})
	require.NoError(t, err)
	require.NoError(t, running.Close())
}
