package main

import (
	"encoding/json"
	"fmt"
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

func TestMemberUsage(t *testing.T) {
	for _, line := range []string{
		"member add", "member add 127.0.0.1:1", "member remove --group 1", "member remove --group 1 one", "member remove --group 1 0",
		"member remove --group 1 2 2", "member replace --group 1 2", "member replace --group x 2 127.0.0.1:1", "member frobnicate", "member list 1",
		"init --join 1", "init --join one --address 127.0.0.1:1", "init --address 127.0.0.1:1", "init --join 1 --address 127.0.0.1:1 cluster.toml", "init",
	} {
		got := execute(t, "", append(strings.Fields(line), "--coordinators", "127.0.0.1:1", "--timeout", "100ms")...)
		require.Equal(t, exitUsage, got.code, "%s: %s", line, got.err)
	}
}

// free is an address that a node can have.
func free(t *testing.T) string {
	t.Helper()
	address, err := cluster.FreeAddress()
	require.NoError(t, err)
	return address
}

// TestMemberCommands takes a newcomer in, lets a member go, and brings one back whose disk was lost, as an operator does.
func TestMemberCommands(t *testing.T) {
	for _, backend := range []string{cluster.BackendVR, cluster.BackendRaft} {
		t.Run(backend, func(t *testing.T) {
			if testing.Short() && backend != cluster.BackendVR {
				t.Skip("the commands are the same")
			}
			testMemberCommands(t, backend)
		})
	}
}

func testMemberCommands(t *testing.T, backend string) {
	c := clustertest.Start(t, cluster.Options{
		Coordinators: 1, Shards: 1, Backend: backend,
		Tuning: cluster.Tuning{ViewChangeTimeoutMin: time.Second, ViewChangeTimeoutMax: 2 * time.Second}, // of a slow machine's disks
	})
	t.Setenv("VIEWLINE_COORDINATORS", strings.Join(c.Endpoints(), ","))
	t.Setenv("VIEWLINE_TIMEOUT", "30s")
	require.Equal(t, exitOK, execute(t, "", "put", "alice", "100").code)
	newcomer := joinByCommand(t, c)

	got := execute(t, "", "member", "add", "--group", "1", newcomer, "--dry-run")
	require.Equal(t, exitUnavailable, got.code, got.err)
	require.Contains(t, got.err, "a newcomer's node has to run")
	require.NoError(t, c.Restart(1, 4))
	awaitRehearsal(t, newcomer)
	require.Equal(t, []uint64{0, 0, 0}, epochs(t), "a dry run changes nothing")

	got = execute(t, "", "member", "add", "--group", "1", newcomer)
	require.Equal(t, exitOK, got.code, got.err)
	require.Regexp(t, `^epoch 1 of shard 1 has begun; its members: 1, 2, 3, 4; replica [1-4] serves\n$`, got.out)
	require.Equal(t, "note: 4 members survive the loss of no more than 3 do: an odd number is best\n", got.err)
	require.Equal(t, []uint64{1, 1, 1, 1}, epochs(t))
	got = execute(t, "", "member", "add", "--group", "1", newcomer)
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "replica 4, a member already")
	got = execute(t, "", "init", "--join", "1", "--address", newcomer, "--directory", c.NodeDirectory(1, 4))
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, "nothing is changed")
	require.Contains(t, got.out, "It is a member already.")

	require.NoError(t, c.AwaitMembers(t.Context(), 1))
	got = execute(t, "", "member", "remove", "--group", "1", "3")
	require.Equal(t, exitOK, got.code, got.err)
	require.Regexp(t, `^epoch 2 of shard 1 has begun; its members: 1, 2, 4; replica [124] serves\n`+
		`replica 3 has left: its node can be stopped, and its directory deleted\n$`, got.out)
	require.NoError(t, c.Kill(1, 3))
	got = execute(t, "", "member", "remove", "--group", "1", "3")
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "its members: replicas 1, 2 and 4")
	got = execute(t, "", "init", "--join", "1", "--address", free(t), "--replica", "3", "--directory", filepath.Join(t.TempDir(), "n"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "no id is used again")

	comeBack(t, c)
	got = execute(t, "", "get", "alice")
	require.Equal(t, "100\n", got.out, got.err)
}

// joinByCommand sets a newcomer up, twice.
func joinByCommand(t *testing.T, c *cluster.Cluster) (address string) {
	t.Helper()
	address = free(t)
	directory := c.NodeDirectory(1, 4)
	line := []string{"init", "--join", "1", "--address", address, "--directory", directory}
	got := execute(t, "", line...)
	require.Equal(t, exitOK, got.code, got.err)
	require.Regexp(t, `^shard-1-4 of cluster [0-9a-f]{32} is set up; start it, in a terminal or service of its own:\n`+
		`  viewline shardserver --config `+directory+`/node.toml\nThen let it in:\n  viewline member add --group 1 `+address+`\n$`, got.out)
	got = execute(t, "", line...)
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, "was set up before; nothing is changed")
	var done cluster.Joined
	got = execute(t, "", append(line, "-o", "json")...)
	require.NoError(t, json.Unmarshal([]byte(got.out), &done))
	require.Equal(t, []any{uint32(4), false, false}, []any{done.Replica, done.Changed, done.Member})
	return address
}

// awaitRehearsal runs dry until the change would be made.
func awaitRehearsal(t *testing.T, newcomer string) {
	t.Helper()
	require.NoError(t, survey.Poll(t.Context(), func() error {
		got := execute(t, "", "member", "add", "--group", "1", newcomer, "--dry-run")
		if got.code == exitUnavailable {
			return fmt.Errorf("it says: %s", got.err)
		}
		require.Equal(t, exitOK, got.code, got.err)
		require.Regexp(t, `(?s)^REPLICA  ADDRESS .*\n      4  `+newcomer+`  joins  yes .*\nepoch 1 would begin; nothing was changed\n$`, got.out)
		return nil
	}))
}

// comeBack loses the disk of replica 2, and has it come back.
func comeBack(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	config, err := cluster.ReadNodeConfig(filepath.Join(c.NodeDirectory(1, 2), cluster.NodeFile))
	require.NoError(t, err)
	line := []string{"init", "--join", "1", "--replica", "2", "--address", config.Address(), "--directory", c.NodeDirectory(1, 2)}
	got := execute(t, "", line...)
	require.Contains(t, got.out, "It is a member already", got.err)
	require.NoError(t, c.Kill(1, 2))
	require.NoError(t, os.RemoveAll(config.Data))
	got = execute(t, "", line...)
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, "viewline member replace --group 1 2 "+config.Address())
	require.NoError(t, c.Restart(1, 2))
	got = execute(t, "", "member", "add", "--group", "1", config.Address())
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "viewline member replace --group 1 2 "+config.Address())
	got = execute(t, "", "member", "replace", "--group", "1", "2", config.Address())
	require.Equal(t, exitOK, got.code, got.err)
	require.Regexp(t, `^epoch 3 of shard 1 has begun; its members: 1, 2, 4; replica [124] serves\n$`, got.out)
	require.Equal(t, []uint64{3, 3, 3}, epochs(t))
}

// epochs lists shard 1 and returns the epochs of its members.
func epochs(t *testing.T) (found []uint64) {
	t.Helper()
	got := execute(t, "", "member", "list", "-o", "json", "--group", "1")
	require.Equal(t, exitOK, got.code, got.err)
	var rows []memberRow
	require.NoError(t, json.Unmarshal([]byte(got.out), &rows))
	for _, row := range rows {
		require.EqualValues(t, 1, row.Group)
		require.NotZero(t, row.Incarnation)
		found = append(found, row.Epoch)
	}
	return found
}

func TestMemberList(t *testing.T) {
	a, out := &app{output: "table"}, &strings.Builder{}
	a.out = out
	member := func(replica uint32, incarnation uint64) survey.EpochMember {
		return survey.EpochMember{Replica: replica, Address: fmt.Sprint("h:", replica), Incarnation: incarnation}
	}
	found := survey.Members{
		Membership: survey.Membership{Group: 2, Epoch: 5, Members: []survey.EpochMember{member(1, 1), member(2, 7), member(3, 1), member(6, 9)}},
		Lives:      map[uint32]uint64{1: 1, 2: 1, 6: 9},
		Replicas: []survey.Replica{
			{Role: "primary", Status: "normal", Serving: true, Op: 10},
			{Role: "backup", Status: "left", Op: 3, Lag: 7},
			{Error: "refused"},
			{Role: "backup", Status: "stopped", Failure: "the disk is full", Op: 10},
		},
	}
	found.Members[3].Witness = true
	require.NoError(t, a.writeMembers(memberRows(&found)))
	require.Equal(t, `GROUP    EPOCH  REPLICA  ADDRESS  INCARNATION  WITNESS  ROLE     STATE                                   OP  LAG
shard 2      5        1  h:1                1  -        primary  normal, serving                         10    0
shard 2      5        2  h:2                7  -        backup   another life answers, of incarnation 1   3    7
shard 2      5        3  h:3                1  -        -        no answer                                0    0
shard 2      5        6  h:6                9  witness  backup   stopped: the disk is full               10    0
`, out.String())
}

func TestChangedIsTold(t *testing.T) {
	a, out := &app{output: "table"}, &strings.Builder{}
	a.out = out
	members := []survey.EpochMember{{Replica: 1}, {Replica: 4}}
	require.NoError(t, a.writeChanged(&survey.Changed{Epoch: 3, Members: members, Primary: 4, Left: []uint32{2}, Silent: []uint32{3}}, nil))
	require.Equal(t, `epoch 3 of coordinator has begun; its members: 1, 4; replica 4 serves
replica 2 has left: its node can be stopped, and its directory deleted
replica 3 does not answer, and is not needed: its directory can be deleted
`, out.String())
	out.Reset()
	report := []survey.ReplicaReport{
		{EpochMember: survey.EpochMember{Replica: 1, Address: "h:1"}, Was: true, Will: true, Heard: true, Op: 9, Ready: true},
		{EpochMember: survey.EpochMember{Replica: 2, Address: "h:2"}, Was: true},
		{EpochMember: survey.EpochMember{Replica: 4, Address: "h:4"}, Will: true, Heard: true, Lag: 9},
	}
	require.NoError(t, a.writeChanged(&survey.Changed{DryRun: true, Epoch: 3, Report: report}, survey.ErrNotChanged))
	require.Equal(t, `REPLICA  ADDRESS  PART    HEARD  OP  LAG  READY
      1  h:1      stays   yes     9    0  yes
      2  h:2      leaves  no      0    0  no
      4  h:4      joins   yes     0    9  no

it would be refused now
`, out.String())
	require.Equal(t, "waiting: replica 4 lacks 9 operations", waitingFor(report, survey.ErrNotChanged))
	require.Equal(t, "waiting: "+survey.ErrNotChanged.Error(), waitingFor(nil, survey.ErrNotChanged))
	report[2].Heard = false
	require.Equal(t, "waiting: replica 4 is not heard", waitingFor(report, nil))
}
