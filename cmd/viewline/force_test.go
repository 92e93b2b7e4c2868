package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// crashed are the node directories of a shard in async, whose replicas have 3, 5 and 4 operations and did not stop
// cleanly.
func crashed(t *testing.T) []string {
	t.Helper()
	layout, err := cluster.LocalLayout(t.TempDir(), 3, 1, 3)
	require.NoError(t, err)
	layout.Durability = "async"
	done, err := cluster.Initialise(layout)
	require.NoError(t, err)
	var directories []string
	for _, file := range done.Nodes {
		config, err := cluster.ReadNodeConfig(file)
		require.NoError(t, err)
		if config.Group != 1 {
			continue
		}
		directories = append(directories, filepath.Dir(file))
		disk, err := storage.Open(config.Data, storage.Options{Durability: vr.DurabilityAsync})
		require.NoError(t, err)
		_, err = disk.Load()
		require.NoError(t, err)
		var entries []core.Entry
		for op := range []core.OpNumber{3, 5, 4}[config.Replica-1] {
			previous := core.Hash(0)
			if op > 0 {
				previous = entries[op-1].Hash
			}
			entries = append(entries, core.Chained(previous, op+1, 1, []byte("operation")))
		}
		require.NoError(t, disk.Write(vr.Batch{Entries: entries, HardState: &core.HardState{View: 2, LastNormalView: 1, Commit: 3}, Sync: true}))
		require.NoError(t, disk.Close())
	}
	require.Len(t, directories, 3)
	return directories
}

func TestForceCommand(t *testing.T) {
	directories := crashed(t)
	force := func(arguments ...string) result { return execute(t, "", append([]string{"force"}, arguments...)...) }
	forced := func() (count int) {
		for _, directory := range directories {
			found, err := filepath.Glob(filepath.Join(directory, "*", "FORCED"))
			require.NoError(t, err)
			count += len(found)
		}
		return count
	}

	got := force(directories...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "nothing was changed")
	require.Contains(t, got.err, "--accept-loss")
	require.Contains(t, got.out, "Durability async")
	require.Contains(t, got.out, "would go on from operation 5")
	require.Zero(t, forced())

	// Two of three will do; the third is said to be missing. One is too few.
	got = force(directories[0], filepath.Join(directories[2], cluster.NodeFile))
	require.Contains(t, got.out, "1 of the group's 3 replicas are not given")
	require.Contains(t, got.out, "would go on from operation 4")
	got = force("--accept-loss", directories[0])
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "2 of the group's 3 replicas are needed, and 1 are here")
	require.Equal(t, exitRefused, force("--accept-loss", directories[0], directories[0]).code)
	require.Zero(t, forced())

	var said struct {
		Plan    cluster.Forcing `json:"plan"`
		Changed bool            `json:"changed"`
	}
	got = force(append(directories, "--accept-loss", "-o", "json")...)
	require.Equal(t, exitOK, got.code, got.err)
	require.NoError(t, json.Unmarshal([]byte(got.out), &said))
	require.True(t, said.Changed)
	require.EqualValues(t, 5, said.Plan.Op)
	require.EqualValues(t, 3, said.Plan.View)
	require.Equal(t, []uint32{2, 3, 1}, []uint32{said.Plan.Replicas[0].Replica, said.Plan.Replicas[1].Replica, said.Plan.Replicas[2].Replica})
	require.Equal(t, 2, forced())

	for _, again := range [][]string{directories, append([]string{"--accept-loss"}, directories...)} {
		got = force(again...)
		require.Equal(t, exitOK, got.code, got.err)
		require.Contains(t, got.out, "the group starts without this")
		require.Contains(t, got.out, "was forced")
	}
	require.Equal(t, 2, forced())
}

// A directory that cannot be read counts for nothing, and it is said why.
func TestForceWithoutViews(t *testing.T) {
	directories := crashed(t)
	for _, directory := range directories[:2] {
		config, err := cluster.ReadNodeConfig(filepath.Join(directory, cluster.NodeFile))
		require.NoError(t, err)
		require.NoError(t, os.Truncate(filepath.Join(config.Data, "replica.db"), 5000))
	}
	got := execute(t, "", append([]string{"force", "--accept-loss"}, directories...)...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "replica 1: vr: storage is damaged")
	require.Equal(t, exitUsage, execute(t, "", "force").code)
	require.Equal(t, exitUsage, execute(t, "", strings.Fields("force /nowhere/at/all")...).code)
}
