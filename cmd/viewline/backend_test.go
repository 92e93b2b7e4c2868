package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

// TestBackendUsage: what no backend is, and what Raft does not have, is refused before anything is started or made.
func TestBackendUsage(t *testing.T) {
	example, err := filepath.Abs(filepath.Join("..", "..", "examples", "cluster.toml"))
	require.NoError(t, err)
	text, err := os.ReadFile(example)
	require.NoError(t, err)
	witness := filepath.Join(t.TempDir(), "witness.toml")
	require.NoError(t, os.WriteFile(witness, append(text, "witness = true\n"...), 0o600))
	for _, c := range []struct{ line, says string }{
		{"init --backend paxos " + example, "there are vr and raft"},
		{"init --backend raft " + witness, "leave witness away"},
		{"init --backend raft --join 1 --address 127.0.0.1:1", "leave --backend away"},
		{"demo --backend paxos", "there are vr and raft"},
		{"chaos --backend paxos", "there are vr and raft"},
		{"chaos --backend raft --durability async", "neither durability async, nor witnesses, nor log wal"},
		{"chaos --backend raft --witness", "neither durability async, nor witnesses, nor log wal"},
		{"bench --backend paxos", "there are vr and raft"},
		{"bench --backend raft --log wal", "leave log away"},
		{"bench --backend raft --leases", "leave --leases away"},
	} {
		t.Run(c.line, func(t *testing.T) {
			got := execute(t, "", strings.Fields(c.line)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, c.says)
			require.Empty(t, got.out)
		})
	}
	require.NoDirExists(t, filepath.Join(filepath.Dir(witness), "viewline-data"))
}

// TestInitWithABackend: the flag goes before the file, a group's own key before both; and a directory is of one backend.
func TestInitWithABackend(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "cluster.toml"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "cluster.toml")
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), "id = 2\n", "id = 2\nbackend = \"vr\"\n", 1)), 0o600))
	got := execute(t, "", "init", "--backend", "raft", path)
	require.Equal(t, exitOK, got.code, got.err)
	directories := filepath.Join(filepath.Dir(path), "viewline-data")
	for name, backend := range map[string]string{"coordinator-2": "raft", "shard-1-3": "raft", "shard-2-1": "vr"} {
		config, err := cluster.ReadNodeConfig(filepath.Join(directories, name, cluster.NodeFile))
		require.NoError(t, err)
		require.Equal(t, backend, config.Backend, name)
	}
	got = execute(t, "", "init", path)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "has backend raft, and by this one it would have vr")
	t.Setenv("VIEWLINE_BACKEND", "raft")
	got = execute(t, "", "init", path)
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, "nothing is changed")

	file := filepath.Join(directories, "shard-1-1", cluster.NodeFile)
	config, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(config), `backend = "raft"`, `backend = "vr"`, 1)), 0o600))
	got = execute(t, "", "shardserver", "--config", file)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "was made for backend raft, and this node's file says vr")
	require.Contains(t, got.err, "set backend in the node's file as it was")
	require.NoError(t, os.WriteFile(file, config, 0o600))
	got = execute(t, "", "force", filepath.Dir(file))
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "shard 1 has backend raft\n  put the disks of a majority back")
}

// eventually runs a command until it succeeds.
func eventually(t *testing.T, arguments ...string) (got result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, survey.Poll(ctx, func() error {
		if got = execute(t, "", arguments...); got.code != exitOK {
			return errors.New(got.err)
		}
		return nil
	}))
	return got
}

// TestCommandsOnRaft uses the commands of an operator on groups of Raft.
func TestCommandsOnRaft(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{
		Coordinators: 1, Shards: 1, Backend: cluster.BackendRaft,
		Tuning: cluster.Tuning{ViewChangeTimeoutMin: time.Second, ViewChangeTimeoutMax: 2 * time.Second}, // of a slow machine's disks
	})
	t.Setenv("VIEWLINE_COORDINATORS", strings.Join(c.Endpoints(), ","))
	t.Setenv("VIEWLINE_TIMEOUT", "30s")
	require.Equal(t, exitOK, execute(t, "", "put", "alice", "100").code)
	require.Equal(t, "100\n", execute(t, "", "get", "alice", "--latest").out)
	require.Equal(t, exitOK, execute(t, "get alice\nput bob 5\n", "txn").code)

	got := eventually(t, "status") // a slow machine may have an election at any moment
	require.Regexp(t, `^GROUP +REPLICA +ADDRESS +ROLE +STATE +BACKEND +DURABILITY +LOG +VIEW `, got.out)
	require.Equal(t, 4, strings.Count(got.out, "  raft  "))
	require.Equal(t, 4, strings.Count(got.out, "raft-boltdb"))
	got = eventually(t, "transfer", "1", "0")
	require.Regexp(t, `^replica [1-3] is the primary of view \d+\n$`, got.out)
	require.Equal(t, exitRefused, execute(t, "", "transfer", "1", "9").code)
	require.Equal(t, exitOK, execute(t, "", "put", "alice", "101").code)

	got = execute(t, "", "member", "list", "--group", "1")
	require.Equal(t, exitOK, got.code, got.err)
	require.Equal(t, 4, strings.Count(got.out, "\n"), got.out)
	got = execute(t, "", "init", "--join", "1", "--address", "127.0.0.1:9", "--witness", "--directory", filepath.Join(t.TempDir(), "n"))
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "the newcomer has a state as the others")
}
