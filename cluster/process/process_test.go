package process_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// nodeVariable makes this test binary a node, as the commands of viewline would.
const nodeVariable = "VIEWLINE_TEST_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(nodeVariable) == "" {
		os.Exit(m.Run())
	}
	if err := runNode(os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runNode(file string) error {
	if data, set := os.LookupEnv("VIEWLINE_DATA"); set {
		return fmt.Errorf("a variable for another node reached this one: %s", data)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := cluster.ReadNodeConfig(file)
	if err != nil {
		return err
	}
	options := cluster.NodeOptions{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if config.Backend == cluster.BackendRaft { // an election writes to one disk after another, which takes its time on a slow machine
		options.Tuning = cluster.Tuning{ViewChangeTimeoutMin: time.Second, ViewChangeTimeoutMax: 2 * time.Second}
	}
	node, err := cluster.StartNode(config, options)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return node.Drain(context.Background())
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func startIn(t *testing.T, durability, log string, coordinators int) (*process.Cluster, *cluster.Layout) {
	t.Helper()
	return startOn(t, cluster.BackendVR, durability, log, coordinators)
}

func startOn(t *testing.T, backend, durability, log string, coordinators int) (*process.Cluster, *cluster.Layout) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	layout, err := cluster.LocalLayout(t.TempDir(), coordinators, 1, 3)
	require.NoError(t, err)
	layout.Backend, layout.Durability, layout.Log = backend, durability, log
	c, err := process.Start(within(t), process.Options{Binary: binary, Layout: layout, Environment: []string{nodeVariable + "=1"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, layout
}

func TestProcesses(t *testing.T) {
	for _, log := range []string{"bbolt", "wal"} {
		t.Run(log, func(t *testing.T) { testProcesses(t, cluster.BackendVR, log, log) })
	}
	t.Run("raft", func(t *testing.T) { testProcesses(t, cluster.BackendRaft, "", "raft-boltdb") })
}

func testProcesses(t *testing.T, backend, log, kept string) {
	t.Setenv("VIEWLINE_DATA", "meant for somebody else")
	c, layout := startOn(t, backend, "sync", log, 1)
	for _, r := range survey.Ask(within(t), layout.Groups()) {
		require.Equal(t, []string{backend, kept}, []string{r.Backend, r.Log})
	}
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connected.Close()) })
	require.Equal(t, []uint32{1}, c.Shards())
	require.Len(t, c.Nodes(1), 3)

	for n, hurt := range []struct{ do, undo func(process.Node) error }{
		{c.Kill, c.Restart},
		{func(node process.Node) error { return c.Stop(within(t), node) }, c.Continue},
		{func(node process.Node) error { return c.Terminate(within(t), node) }, c.Restart},
	} {
		primary, err := c.Primary(within(t), 1)
		require.NoError(t, err)
		require.NoError(t, hurt.do(primary))
		require.NoError(t, connected.Put(within(t), "a", []byte(fmt.Sprint(n))))
		next, err := c.Primary(within(t), 1)
		require.NoError(t, err)
		require.NotEqual(t, primary, next)
		require.NoError(t, hurt.undo(primary))
		require.NoError(t, c.AwaitWhole(within(t)))
	}
	value, err := connected.Get(within(t), "a")
	require.NoError(t, err)
	require.Equal(t, "2", string(value))

	require.NoError(t, c.Stop(within(t), process.Node{Group: 1, Replica: 2}))
	require.NoError(t, c.Close(), "a stopped process dies too")
	require.ErrorIs(t, c.Kill(process.Node{Group: 1, Replica: 2}), process.ErrNotRunning)
	require.ErrorIs(t, c.Kill(process.Node{Group: 7, Replica: 2}), process.ErrNotRunning)
	for _, r := range survey.Ask(within(t), layout.Groups()) {
		require.NotEmpty(t, r.Error)
	}
}

func TestProcessThatDoesNotStart(t *testing.T) {
	layout, err := cluster.LocalLayout(t.TempDir(), 1, 1, 1)
	require.NoError(t, err)
	binary := filepath.Join(t.TempDir(), "fails")
	file, err := os.OpenFile(binary, os.O_CREATE|os.O_WRONLY, 0o700)
	require.NoError(t, err)
	_, err = io.WriteString(file, "#!/bin/sh\necho a good reason >&2\nexit 3\n")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	_, err = process.Start(within(t), process.Options{Binary: binary, Layout: layout})
	require.ErrorIs(t, err, process.ErrNotRunning)
	require.ErrorContains(t, err, "a good reason")
	_, err = process.Start(within(t), process.Options{Binary: filepath.Join(t.TempDir(), "nothing"), Layout: layout})
	require.ErrorIs(t, err, os.ErrNotExist)
}
