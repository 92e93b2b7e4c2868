package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/vr/storage"
)

// initialised sets a cluster of one coordinator and so many shards of three up and reads the nodes' files.
func initialised(t *testing.T, shards int, change func(*cluster.Layout)) (*cluster.Layout, []*cluster.NodeConfig) {
	t.Helper()
	layout, err := cluster.LocalLayout(t.TempDir(), 1, shards, 3)
	require.NoError(t, err)
	change(layout)
	return layout, initialise(t, layout)
}

func initialise(t *testing.T, layout *cluster.Layout) (configs []*cluster.NodeConfig) {
	t.Helper()
	done, err := cluster.Initialise(layout)
	require.NoError(t, err)
	for _, file := range done.Nodes {
		config, err := cluster.ReadNodeConfig(file)
		require.NoError(t, err)
		configs = append(configs, config)
	}
	return configs
}

// slowly has time-outs as startOn has them.
func slowly() cluster.NodeOptions {
	return cluster.NodeOptions{Tuning: cluster.Tuning{ViewChangeTimeoutMin: time.Second, ViewChangeTimeoutMax: 2 * time.Second}}
}

// startNodes starts nodes, which end with the test.
func startNodes(t *testing.T, options cluster.NodeOptions, configs ...*cluster.NodeConfig) {
	t.Helper()
	for _, config := range configs {
		running, err := cluster.StartNode(config, options)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, running.Close()) })
	}
}

// TestABackendForEachGroup: transactions of shards and a coordinator that are replicated by different backends.
func TestABackendForEachGroup(t *testing.T) {
	layout, configs := initialised(t, 2, func(l *cluster.Layout) {
		l.Backend, l.CoordinatorBackend, l.Shards[0].Backend = cluster.BackendVR, cluster.BackendRaft, cluster.BackendRaft
	})
	startNodes(t, slowly(), configs...)
	require.NoError(t, survey.AwaitWhole(within(t), layout.Groups()))
	for _, r := range survey.Ask(within(t), layout.Groups()) {
		want := []string{"raft", "raft-boltdb"}
		if r.Group == 2 {
			want = []string{"vr", "bbolt"}
		}
		require.Equal(t, want, []string{r.Backend, r.Log})
	}
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: []string{layout.Coordinator[0].Address}})
	require.NoError(t, err)
	defer func() { require.NoError(t, connected.Close()) }()
	oids := []string{onShard(connected, 1, "one"), onShard(connected, 2, "two")}
	for n := 1; n <= 20; n++ {
		require.NoError(t, advanceBoth(t.Context(), connected, oids, n))
	}
	again := initialise(t, layout)
	require.Equal(t, configs, again, "init changes nothing")
}

// TestADirectoryIsOfOneBackend: neither a node nor init takes a data directory of the other backend, whatever the files
// say, and nothing in it is changed.
func TestADirectoryIsOfOneBackend(t *testing.T) {
	for made, other := range map[string]string{cluster.BackendVR: cluster.BackendRaft, cluster.BackendRaft: cluster.BackendVR} {
		t.Run(made, func(t *testing.T) {
			layout, configs := initialised(t, 1, func(l *cluster.Layout) { l.Backend = made })
			before := tree(t, layout.Directory)
			config := *configs[1]
			config.Backend = other
			_, err := cluster.StartNode(&config, cluster.NodeOptions{})
			require.ErrorIs(t, err, cluster.ErrBackend)
			require.ErrorContains(t, err, config.Data+" was made for backend "+made)
			require.ErrorContains(t, err, `set backend = "`+made+`" there again`)

			changed := *layout
			changed.Backend = other
			_, err = cluster.Initialise(&changed)
			require.ErrorIs(t, err, cluster.ErrLayoutChanged)
			require.ErrorContains(t, err, "has backend "+made+", and by this one it would have "+other)
			require.Equal(t, before, tree(t, layout.Directory))

			for _, config := range configs { // as if init had been interrupted, and was run again otherwise
				require.NoError(t, os.Remove(filepath.Join(filepath.Dir(config.Data), cluster.NodeFile)))
			}
			require.NoError(t, os.Remove(filepath.Join(layout.Directory, "cluster-initialised")))
			before = tree(t, layout.Directory)
			_, err = cluster.Initialise(&changed)
			require.ErrorIs(t, err, cluster.ErrBackend)
			require.Equal(t, before, tree(t, layout.Directory))
			require.Equal(t, configs, initialise(t, layout), "the one that it was begun with finishes it")
			startNodes(t, cluster.NodeOptions{}, configs[1])
		})
	}
}

// TestStoragesKnowEachOther: to programs that have no node the storages say the same.
func TestStoragesKnowEachOther(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	require.NoError(t, storage.Create(one))
	require.NoError(t, raft.Create(other, raft.DurabilitySync))
	require.ErrorIs(t, raft.Create(one, raft.DurabilitySync), raft.ErrExists)
	_, err := raft.OpenStorage(one, raft.DurabilitySync)
	require.ErrorIs(t, err, raft.ErrNoStorage)
	require.ErrorContains(t, err, "Viewstamped Replication")
	require.ErrorIs(t, storage.Create(other), storage.ErrFormatted)
	_, err = storage.Open(other, storage.Options{})
	require.ErrorIs(t, err, storage.ErrNotFormatted)
	require.ErrorContains(t, err, "a replica of Raft")
	for directory, want := range map[string][]bool{one: {true, false}, other: {false, true}} {
		vr, err := storage.Holds(directory)
		require.NoError(t, err)
		raft, err := raft.Holds(directory)
		require.NoError(t, err)
		require.Equal(t, want, []bool{vr, raft})
	}
}

// TestMixedBackendsDoNotHearEachOther: two replicas of a group of three have one backend and the third the other, which its
// directory was made for. The two go on, the third takes part in nothing, and log and status say what is wrong.
func TestMixedBackendsDoNotHearEachOther(t *testing.T) {
	for most, odd := range map[string]string{cluster.BackendVR: cluster.BackendRaft, cluster.BackendRaft: cluster.BackendVR} {
		t.Run(most, func(t *testing.T) {
			layout, configs := initialised(t, 1, func(l *cluster.Layout) { l.Backend = most })
			twin := *layout
			twin.Backend, twin.Directory = odd, t.TempDir()
			id, err := os.ReadFile(filepath.Join(layout.Directory, "cluster-id"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(twin.Directory, "cluster-id"), id, 0o600))
			configs[3] = initialise(t, &twin)[3]
			said, options := &lines{}, slowly()
			options.Logger = said.logger()
			startNodes(t, options, configs...)

			connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: []string{layout.Coordinator[0].Address}})
			require.NoError(t, err)
			defer func() { require.NoError(t, connected.Close()) }()
			put(t, connected, "a", "1")
			requireValue(t, connected, "a", "1")
			var replicas []survey.Replica
			require.NoError(t, survey.Poll(within(t), func() error {
				replicas = survey.Ask(within(t), layout.Groups())[1:]
				for i := range replicas {
					if r := &replicas[i]; r.Error != "" || r.NodeCounters["peers_dropped_other_backend"] == 0 && r.Replica == 3 {
						return errors.New("not all have met yet")
					}
				}
				return nil
			}))
			require.Equal(t, []any{uint64(0), false, odd}, []any{replicas[2].Commit, replicas[2].Serving, replicas[2].Backend})
			sentence := survey.Assess(replicas).Sentence
			require.Contains(t, sentence, "replica 3 was set up with backend "+odd+", and its group has "+most)
			require.Eventually(t, func() bool { return said.has("another backend", "there="+most, "here="+odd) }, patience, 10*time.Millisecond)
			for i := range replicas {
				require.Empty(t, replicas[i].Failure)
			}
		})
	}
}

// TestWhatRaftDoesNotHave is refused before anything is made, and it is said what to do.
func TestWhatRaftDoesNotHave(t *testing.T) {
	yes := true
	for _, c := range []struct {
		name   string
		change func(*cluster.Layout)
		says   string
	}{
		{"async", func(l *cluster.Layout) { l.Durability = "async" }, "choose sync or memory"},
		{"wal", func(l *cluster.Layout) { l.Log = "wal" }, "leave log away"},
		{"leases", func(l *cluster.Layout) { l.Leases = &yes }, "leave leases away"},
		{"a witness", func(l *cluster.Layout) { l.Shards[0].Replicas[1].Witness = true }, "leave witness away"},
		{"hope", func(l *cluster.Layout) { l.Durability = "hope" }, "sync and memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			layout, err := cluster.LocalLayout(filepath.Join(t.TempDir(), "cluster"), 3, 1, 3)
			require.NoError(t, err)
			layout.Shards[0].Backend = cluster.BackendRaft
			c.change(layout)
			_, err = cluster.Initialise(layout)
			require.ErrorIs(t, err, cluster.ErrConfig)
			require.ErrorContains(t, err, c.says)
			require.NoDirExists(t, layout.Directory)
			if c.name != "hope" {
				require.ErrorContains(t, err, "shard 1 has backend raft")
				layout.Shards[0].Backend = ""
				require.NoError(t, layout.Validate(), "Viewstamped Replication has it")
			}
		})
	}
	_, err := cluster.Start(t.Context(), cluster.Options{Directory: t.TempDir(), Backend: cluster.BackendRaft, Witnesses: true})
	require.ErrorIs(t, err, cluster.ErrConfig)
	_, err = cluster.Start(t.Context(), cluster.Options{
		Directory: t.TempDir(), Backend: cluster.BackendRaft, Tuning: cluster.Tuning{ViewChangeTimeoutMin: time.Second, ViewChangeTimeoutMax: 3 * time.Second},
	})
	require.ErrorIs(t, err, cluster.ErrConfig)
	require.ErrorContains(t, err, "3s is not twice 1s")
}

// TestRaftIsNotForced: nothing is looked at.
func TestRaftIsNotForced(t *testing.T) {
	_, configs := initialised(t, 1, func(l *cluster.Layout) { l.Backend = cluster.BackendRaft })
	var directories []string
	for _, config := range configs[1:] {
		directories = append(directories, filepath.Dir(config.Data))
	}
	_, err := cluster.PlanForce(directories)
	require.ErrorIs(t, err, cluster.ErrForceBackend)
	require.ErrorContains(t, err, "shard 1 has backend raft")
}

// TestNewcomersHaveTheBackendOfTheirGroup: Join takes it from the group, and what another one was told takes part in nothing.
func TestNewcomersHaveTheBackendOfTheirGroup(t *testing.T) {
	c := startOn(t, cluster.BackendRaft, cluster.Options{Coordinators: 1, Shards: 1})
	options := cluster.JoinOptions{Groups: c.Groups(), Group: 1, Address: "127.0.0.1:9", Parent: t.TempDir(), Witness: true}
	_, err := cluster.Join(within(t), options)
	require.ErrorIs(t, err, cluster.ErrConfig)
	require.ErrorContains(t, err, "no witnesses")
	require.Empty(t, tree(t, options.Parent))
	options.Witness = false
	options.Address, err = cluster.FreeAddress()
	require.NoError(t, err)
	joined, err := cluster.Join(within(t), options)
	require.NoError(t, err)
	config, err := cluster.ReadNodeConfig(joined.Node)
	require.NoError(t, err)
	require.Equal(t, []string{"raft", "sync", ""}, []string{config.Backend, config.Durability, config.Log})

	require.NoError(t, os.RemoveAll(config.Data))
	text, err := os.ReadFile(joined.Node)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(joined.Node, []byte(strings.Replace(string(text), `backend = "raft"`, `backend = "vr"`, 1)), 0o600))
	_, err = cluster.Join(within(t), options)
	require.NoError(t, err)
	config, err = cluster.ReadNodeConfig(joined.Node)
	require.NoError(t, err)
	require.Equal(t, "raft", config.Backend, "the group's own")
	require.NoError(t, os.RemoveAll(config.Data))

	config.Backend = cluster.BackendVR
	id, err := config.ClusterID()
	require.NoError(t, err)
	require.NoError(t, node.FormatDirectory(config.Data, node.Identity{Cluster: id, Group: 1, Replica: 4, Incarnation: config.Incarnation}))
	require.NoError(t, storage.Create(config.Data))
	startNodes(t, slowly(), config)
	_, err = survey.ChangeMembers(within(t), c.Groups()[1], survey.Changing{Add: []string{config.Address()}}, survey.ChangeOptions{})
	require.ErrorIs(t, err, survey.ErrChange)
	require.ErrorContains(t, err, "set up with backend vr, and group 1 has raft")
	require.NoError(t, c.AwaitMembers(within(t), 1))
	require.Len(t, c.Groups()[1].Members, 3)
}
