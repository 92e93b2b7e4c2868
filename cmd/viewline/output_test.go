package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/internal/tree"
)

func TestWriting(t *testing.T) {
	for oid, want := range map[string]string{"a/b": "a/b", "é": "é", "a b": `"a b"`, "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, `"`: `"\""`, "#": `"#"`, "\xff": `"\xff"`} {
		require.Equal(t, want, word(oid))
	}
	for bytes, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1500: "1.5 kB", 127_600_000: "127.6 MB", 3_000_000_000: "3.0 GB"} {
		require.Equal(t, want, size(bytes))
	}
	var bar bytes.Buffer
	progress{&bar}.tree(tree.Report{Directories: 3, Files: 12}, 20)
	require.Equal(t, "\r\x1b[K[======================        ]  75 %  3 directories, 12 files", bar.String())
}

// TestStatusTable holds what status writes against the page that an operator reads.
func TestStatusTable(t *testing.T) {
	replicas := []survey.Replica{
		{Group: 0, Replica: 1, Address: "10.0.0.1:7001", Role: "primary", Durability: "sync", Log: "wal", Status: "normal", Serving: true, View: 3, Op: 12, Commit: 11},
		{Group: 1, Replica: 1, Address: "10.0.0.1:7101", Role: "backup", Durability: "sync", Log: "wal", Status: "normal", View: 4, Op: 20_000, Commit: 400, Lag: 19_600},
		{Group: 1, Replica: 2, Address: "10.0.0.2:7101", Role: "primary", Durability: "sync", Log: "wal", Status: "normal", Serving: true, View: 4, Op: 20_010, Commit: 20_000},
		{Group: 1, Replica: 3, Address: "10.0.0.3:7101", Role: "backup", Durability: "sync", Log: "wal", Status: "normal", View: 4, Op: 20_009, Commit: 20_000},
		{Group: 2, Replica: 1, Address: "10.0.0.1:7201", Role: "backup", Durability: "sync", Log: "wal", Status: "view-change", View: 8, Op: 5, Commit: 5},
		{Group: 2, Replica: 2, Address: "10.0.0.2:7201", Role: "backup", Durability: "sync", Log: "wal", Status: "stopped", Failure: "the disk is full", View: 7, Op: 5, Commit: 5},
		{Group: 2, Replica: 3, Address: "10.0.0.3:7201", Error: "refused"},
	}
	var out bytes.Buffer
	require.NoError(t, (&app{streams: streams{out: &out}, output: "table"}).writeStatus(replicas, survey.Assess(replicas)))
	require.Equal(t, `GROUP        REPLICA  ADDRESS        ROLE     STATE                      DURABILITY  LOG  VIEW  OP     COMMIT  LAG
coordinator        1  10.0.0.1:7001  primary  normal, serving            sync        wal  3     12     11      0
shard 1            1  10.0.0.1:7101  backup   normal                     sync        wal  4     20000  400     19600
shard 1            2  10.0.0.2:7101  primary  normal, serving            sync        wal  4     20010  20000   0
shard 1            3  10.0.0.3:7101  backup   normal                     sync        wal  4     20009  20000   0
shard 2            1  10.0.0.1:7201  backup   view-change                sync        wal  8     5      5       0
shard 2            2  10.0.0.2:7201  backup   stopped: the disk is full  sync        wal  7     5      5       0
shard 2            3  10.0.0.3:7201  -        no answer                  -           -    -     -      -       -

Shard 2 is down: it needs 2 of its 3 replicas and has 0 (replica 1 is in state view-change, replica 2 has stopped: the disk is full, replica 3 does not answer); start replicas 1, 2 and 3; shard 1 can lose no more replicas (replica 1 lags by 19600 operations); no other group can lose a replica.
`, out.String())
}

// TestStatusTableOfEpochs: once the members of a group have changed, it says how often; and a witness is called one.
func TestStatusTableOfEpochs(t *testing.T) {
	replicas := []survey.Replica{
		{Group: 1, Replica: 2, Address: "a:1", Role: "primary", Durability: "sync", Log: "wal", Status: "normal", Serving: true, Epoch: 2, View: 9, Op: 12, Commit: 12},
		{Group: 1, Replica: 4, Address: "b:1", Role: "witness", Witness: true, Durability: "sync", Log: "wal", Status: "normal", Epoch: 2, View: 9, Op: 12, Commit: 12},
		{Group: 1, Replica: 5, Address: "c:1", Error: "refused"},
	}
	var out bytes.Buffer
	require.NoError(t, (&app{streams: streams{out: &out}, output: "table"}).writeStatus(replicas, survey.Assess(replicas)))
	require.Equal(t, `GROUP    REPLICA  ADDRESS  ROLE     STATE            DURABILITY  LOG  EPOCH  VIEW  OP  COMMIT  LAG
shard 1        2  a:1      primary  normal, serving  sync        wal  2      9     12  12      0
shard 1        4  b:1      witness  normal           sync        wal  2      9     12  12      0
shard 1        5  c:1      -        no answer        -           -    -      -     -   -       -

Shard 1 can lose no more replicas (replica 5 does not answer; of those that are well only replica 2 has the state).
`, out.String())
}
