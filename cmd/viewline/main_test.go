package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/txn"
)

// TestMain makes this test binary a node when a demo in a test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"coordinator", "shardserver", "bench"}, os.Args[1]) {
		main()
	}
	os.Exit(m.Run())
}

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

func execute(t *testing.T, input string, arguments ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), arguments, streams{in: strings.NewReader(input), out: &out, err: &errs})
	return result{code, out.String(), errs.String()}
}

func TestUsageErrors(t *testing.T) {
	config := filepath.Join(t.TempDir(), "bad.toml")
	require.NoError(t, os.WriteFile(config, []byte("colour = 1\n"), 0o600))
	for _, c := range []struct {
		line, says string
	}{
		{"member add --group 1 4 127.0.0.1:1", `the address of the node is "4", need HOST:PORT`},
		{"member replace --group 1 3 127.0.0.1:99999", `the address of the node is "127.0.0.1:99999", need HOST:PORT`},
		{"get", "0 arguments do not fit; usage: viewline get OID..."},
		{"put a", "1 arguments do not fit; usage: viewline put OID VALUE|-"},
		{"get a --timeout -1s", "need 0 or more"},
		{"load . --name a/b --coordinators 127.0.0.1:1 --timeout 10ms", "no slash"},
		{"load /dev/null", "not a directory"},
		{"pud a b", "did you mean put"},
		{"frobnicate", `unknown command "frobnicate"`},
		{"get a --colour red", "unknown flag"},
		{"get a -o xml", "need table or json"},
		{"get a b --latest", "--latest reads one object"},
		{"get a --coordinators nowhere", "missing port"},
		{"outcome 17", "malformed transaction id"},
		{"txn /does/not/exist", "no such file"},
		{"coordinator", "--config is missing"},
		{"shardserver --config " + config, "unknown key colour"},
		{"init /does/not/exist", "no such file"},
		{"load /does/not/exist", "no such file"},
		{"chaos --durability iron", "sync, async and memory"},
		{"chaos --partitions walls", "namespaces, proxy and off"},
		{"chaos --replicas 2", "need 3 or more"},
		{"bench --theta -1", "theta -1"},
		{"bench replication --backends paxos", "there are vr"},
		{"bench replication --scenario sleep", "there are [throughput failover catchup]"},
		{"bench replication --durability async", "there are [sync memory]"},
		{"bench replication --replicas 2", "need 3 to 7"},
		{"bench replication --runs 0", "need more than 0"},
		{"bench replication --warmup 0", "need more than 0"},
		{"bench replication --report", "--report needs --results FILE"},
		{"bench replication --report --results /does/not/exist", "no such file"},
		{"bench replication --results " + config, "line 1"},
		{"bench replication --profile /does/not/exist", "no such file"},
		{"bench replication --view-change-timeout 1ms", "twice the heartbeat"},
		{"demo extra", "1 arguments do not fit; usage: viewline demo"},
	} {
		t.Run(c.line, func(t *testing.T) {
			got := execute(t, "", strings.Fields(c.line)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, c.says)
			require.Empty(t, got.out)
		})
	}
	got := execute(t, "fetch a", "txn", "-")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "line 1")
}

func TestUnavailable(t *testing.T) {
	for _, line := range []string{"get a", "status", "put a b", "load ."} {
		got := execute(t, "", append(strings.Fields(line), "--coordinators", "127.0.0.1:1", "--timeout", "100ms")...)
		require.Equal(t, exitUnavailable, got.code, got.err)
		require.Contains(t, got.err, "--coordinators", "the error says what to do next")
	}
}

func TestFlagsComeBeforeVariables(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	both := flags.String("log-level", "info", "")
	variable := flags.Int("rounds", 1, "")
	neither := flags.String("listen", "standard", "")
	require.NoError(t, flags.Parse([]string{"--log-level", "warn"}))
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"VIEWLINE_LOG_LEVEL": "debug", "VIEWLINE_ROUNDS": "3"}[name]
		return value, ok
	}
	require.NoError(t, setFromEnvironment(flags, lookup))
	require.Equal(t, []any{"warn", 3, "standard"}, []any{*both, *variable, *neither})
	flags.Int("accounts", 1, "")
	err := setFromEnvironment(flags, func(string) (string, bool) { return "many", true })
	code, _ := judge(err, "viewline")
	require.Equal(t, exitUsage, code)
	t.Setenv("VIEWLINE_OUTPUT", "xml")
	require.Equal(t, exitUsage, execute(t, "", "version").code, "a variable's value is checked as a flag's is")
}

// TestRefusesPlaintext: neither a node nor a client sends anything in plaintext beyond loopback unless told to.
func TestRefusesPlaintext(t *testing.T) {
	for _, line := range []string{"get a", "status", "load .", "bench"} {
		got := execute(t, "", append(strings.Fields(line), "--coordinators", "127.0.0.1:1,10.0.0.1:7001")...)
		require.Equal(t, exitRefused, got.code, got.err)
		require.Contains(t, got.err, "--insecure")
	}
	got := execute(t, "", "member", "add", "--group", "1", "10.0.0.1:7001", "--coordinators", "127.0.0.1:1")
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "--insecure")
	require.Equal(t, exitUsage, execute(t, "", "member", "add", "--group", "1", "nowhere").code)
}

func TestNodeConfigPrecedence(t *testing.T) {
	layout, err := cluster.LocalLayout(t.TempDir(), 1, 1, 1)
	require.NoError(t, err)
	done, err := cluster.Initialise(layout)
	require.NoError(t, err)
	file := done.Nodes[1]
	config, err := (&nodeFlags{config: file}).read("shardserver")
	require.NoError(t, err)
	require.Equal(t, config.Address(), config.Listen)
	config, err = (&nodeFlags{config: file, listen: "127.0.0.1:9", data: "/elsewhere"}).read("shardserver")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:9", "/elsewhere"}, []string{config.Listen, config.Data})

	for _, peers := range []map[string]string{{"one": "127.0.0.1:9"}, {"1": "127.0.0.1:9"}, {"2": "nowhere"}} {
		_, err = (&nodeFlags{config: file, peers: peers}).read("shardserver")
		code, _ := judge(err, "viewline")
		require.Equal(t, exitUsage, code, err)
	}
	got := execute(t, "", "coordinator", "--config", file)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "viewline shardserver")
	got = execute(t, "", "shardserver", "--config", file, "--listen", "0.0.0.0:0")
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "--insecure")
	got = execute(t, "", "shardserver", "--config", file, "--log-level", "loud")
	require.Equal(t, exitUsage, got.code)
}

func TestInitCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.toml")
	text := "[[coordinator]]\nreplica = 1\naddress = \"127.0.0.1:7000\"\n[[shard]]\nid = 1\n[[shard.replica]]\nreplica = 1\naddress = \"127.0.0.1:7101\"\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	first := execute(t, "", "init", path)
	require.Equal(t, exitOK, first.code, first.err)
	require.Contains(t, first.out, "viewline coordinator --config "+filepath.Join(filepath.Dir(path), "viewline-data", "coordinator-1", "node.toml"))
	require.Contains(t, first.out, "viewline shardserver --config")
	require.True(t, strings.HasSuffix(first.out, "\n  export VIEWLINE_COORDINATORS=127.0.0.1:7000\n  viewline status\n"), first.out)
	second := execute(t, "", "init", path)
	require.Equal(t, exitOK, second.code)
	require.Contains(t, second.out, "nothing is changed")
	require.NoError(t, os.RemoveAll(filepath.Join(filepath.Dir(path), "viewline-data", "shard-1-1", "data")))
	third := execute(t, "", "init", path)
	require.Equal(t, exitRefused, third.code)
}

// TestExampleFile: the file that the README names is a layout whose coordinator the commands find by themselves.
func TestExampleFile(t *testing.T) {
	layout, err := cluster.ReadLayout(filepath.Join("..", "..", "examples", "cluster.toml"))
	require.NoError(t, err)
	var coordinators []string
	for _, member := range layout.Coordinator {
		coordinators = append(coordinators, member.Address)
	}
	require.Equal(t, coordinators, defaultCoordinators())
	require.Len(t, layout.Shards, 2)
}

func TestVersionAndHelp(t *testing.T) {
	require.Contains(t, execute(t, "", "version").out, "viewline ")
	var v version
	require.NoError(t, json.Unmarshal([]byte(execute(t, "", "version", "-o", "json").out), &v))
	help := execute(t, "", "--help")
	require.Equal(t, exitOK, help.code)
	for code := exitOK; code <= exitVerification; code++ {
		require.Contains(t, help.out, fmt.Sprintf("\n  %d  ", code))
	}
}

// TestOnACluster uses every command that needs one.
func TestOnACluster(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 2, Replicas: 3})
	t.Setenv("VIEWLINE_COORDINATORS", strings.Join(c.Endpoints(), ","))
	t.Run("keys", testKeys)
	t.Run("txn", testTxn)
	t.Run("tree", testTree)
	t.Run("status", func(t *testing.T) { testStatus(t, c) })
}

func testKeys(t *testing.T) {
	require.Equal(t, result{}, execute(t, "", "put", "alice", "100"))
	require.Equal(t, result{out: "100\n"}, execute(t, "", "get", "alice"))
	require.Equal(t, result{out: "100\n"}, execute(t, "", "get", "alice", "--latest"))
	require.Equal(t, result{}, execute(t, "from\nstdin", "put", "bob", "-"))
	require.Equal(t, result{}, execute(t, "", "put", "empty", ""))
	require.Equal(t, result{out: "\n"}, execute(t, "", "get", "empty"))

	got := execute(t, "", "get", "alice", "bob", "nobody")
	require.Equal(t, exitNotFound, got.code)
	require.Equal(t, "OID     VALUE\nalice   \"100\"\nbob     \"from\\nstdin\"\nnobody  (not found)\n", got.out)
	got = execute(t, "", "get", "alice", "nobody", "-o", "json")
	require.Equal(t, exitNotFound, got.code)
	require.JSONEq(t, `[{"oid":"alice","present":true,"value":"100"},{"oid":"nobody","present":false}]`, got.out)
	for _, line := range [][]string{{"get", "nobody"}, {"get", "nobody", "--latest"}} {
		got = execute(t, "", line...)
		require.Equal(t, exitNotFound, got.code)
		require.Empty(t, got.out)
	}
	require.Equal(t, result{}, execute(t, "\xff\x00", "put", "b\xfen", "-"))
	require.JSONEq(t, `[{"oid_base64":"Yv5u","present":true,"value_base64":"/wA="}]`, execute(t, "", "get", "b\xfen", "-o", "json").out)
	require.Equal(t, "OID       VALUE\n\"b\\xfen\"  \"\\xff\\x00\"\nalice     \"100\"\n", execute(t, "", "get", "b\xfen", "alice").out)
	require.Equal(t, result{}, execute(t, "", "delete", "alice", "bob", "nobody"))
	require.Equal(t, exitNotFound, execute(t, "", "get", "alice").code)
	require.Equal(t, exitRefused, execute(t, "", "put", strings.Repeat("x", 5000), "1").code)
	require.Equal(t, exitRefused, execute(t, strings.Repeat("x", 2<<20), "put", "large", "-").code)
}

func testTxn(t *testing.T) {
	got := execute(t, "put a 1\nput \"b c\" 'x'\nget a\nget none # a comment\ndelete a\nget a", "txn")
	require.Equal(t, result{out: "OID   VALUE\na     \"1\"\nnone  (not found)\na     (not found)\n"}, got)
	file := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(file, []byte("get \"b c\""), 0o600))
	got = execute(t, "", "txn", file, "-o", "json")
	require.JSONEq(t, `[{"oid":"b c","present":true,"value":"'x'"}]`, got.out)
	require.Equal(t, result{}, execute(t, "", "txn", "-"))
	require.Equal(t, result{out: "[]\n"}, execute(t, "", "txn", "-o", "json"))
	got = execute(t, "put d 1\nput "+strings.Repeat("x", 5000)+" 1", "txn")
	require.Equal(t, exitRefused, got.code)
	require.Equal(t, exitNotFound, execute(t, "", "get", "d").code, "a transaction happens whole or not at all")
	// A transaction that never was, of a moment ago: an older one may be forgotten.
	recent := txn.Attempt{ID: txn.TxnID{Home: 1, Sequence: 1}, Number: 1, TS: txn.TimestampAt(uint64(time.Now().UnixMilli()))}
	got = execute(t, "", "outcome", recent.String())
	require.Equal(t, result{out: "aborted: it did not happen\n"}, got)
}

func testTree(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "things")
	require.NoError(t, os.MkdirAll(filepath.Join(directory, "in"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(directory, "in", "file"), []byte("text"), 0o600))
	require.Equal(t, exitNotFound, execute(t, "", "verify", directory).code)
	got := execute(t, "", "load", directory)
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, `as "things": 2 directories, 1 files, 0 links, 4 bytes in`)
	require.Contains(t, got.out, "3 write transactions")
	got = execute(t, "", "load", directory, "-o", "json")
	require.Contains(t, got.out, `"transactions": 0`)
	got = execute(t, "", "verify", directory, "--name", "things")
	require.Equal(t, exitOK, got.code, got.err)
	require.NoError(t, os.WriteFile(filepath.Join(directory, "in", "file"), []byte("next"), 0o600))
	got = execute(t, "", "verify", directory)
	require.Equal(t, exitVerification, got.code)
	require.Contains(t, got.err, `"in/file"`)
}

func testStatus(t *testing.T, c *cluster.Cluster) {
	got := execute(t, "", "status")
	require.Equal(t, exitOK, got.code, got.err)
	require.Equal(t, 1+7+1+1, strings.Count(got.out, "\n"))
	require.Equal(t, 3, strings.Count(got.out, "serving"))
	require.Contains(t, got.out, "No group can lose a replica.")
	require.NoError(t, c.Kill(2, 3))
	require.NoError(t, c.Kill(2, 2))
	got = execute(t, "", "status", "-o", "json")
	require.Equal(t, exitUnavailable, got.code)
	var status struct {
		Replicas   []survey.Replica  `json:"replicas"`
		Assessment survey.Assessment `json:"assessment"`
	}
	require.NoError(t, json.NewDecoder(io.Reader(strings.NewReader(got.out))).Decode(&status))
	require.Len(t, status.Replicas, 7)
	require.Equal(t, survey.Down, status.Assessment.Health)
	require.Contains(t, status.Assessment.Sentence, "Shard 2 is down")
}

// TestNodeCommandDrains runs a node as its command does, until it is told to end.
func TestNodeCommandDrains(t *testing.T) {
	layout, err := cluster.LocalLayout(t.TempDir(), 1, 1, 1)
	require.NoError(t, err)
	done, err := cluster.Initialise(layout)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	codes := make(chan int, 1)
	var log bytes.Buffer
	go func() {
		codes <- run(ctx, []string{"coordinator", "--config", done.Nodes[0], "--log-format", "json"}, streams{err: &log})
	}()
	_, err = survey.AwaitPrimary(t.Context(), layout.Groups()[0])
	require.NoError(t, err)
	again := execute(t, "", "coordinator", "--config", done.Nodes[0])
	require.Equal(t, exitRefused, again.code)
	require.Contains(t, again.err, "another process runs this replica")
	cancel()
	require.Equal(t, exitOK, <-codes, log.String())
	require.Contains(t, log.String(), `"msg":"draining"`)
}
