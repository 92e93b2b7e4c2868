package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/bench/backends"
)

// TestBenchReplication measures for a moment, with this binary as the replicas, shows it, and reports what is in the file.
func TestBenchReplication(t *testing.T) {
	temporary, plots := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	// Variables are for this process: a replica takes everything from who started it.
	t.Setenv("VIEWLINE_OUTPUT", "table")
	results := filepath.Join(t.TempDir(), "results")
	line := strings.Fields("bench replication --backends vr --runs 1 --proposers 2 --duration 50ms --warmup 1ms --view-change-timeout 2s --results " + results)
	got := execute(t, "", line...)
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, "THROUGHPUT  REPLICAS  BYTES  PROPOSERS  BACKEND  RUNS  OPS/S")
	require.Contains(t, got.err, "an fsync on")
	require.Contains(t, got.err, "run 1 of 1: throughput, sync, 3 replicas, 128 bytes, 2 proposers, vr, run 1")
	requireEmpty(t, temporary)

	got = execute(t, "", append(line, "-o", "json")...)
	require.Equal(t, exitOK, got.code, got.err)
	var shown struct {
		Runs      []backends.Record  `json:"runs"`
		Summaries []backends.Summary `json:"summaries"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.out), &shown))
	require.Len(t, shown.Runs, 1)
	require.Len(t, shown.Summaries, 1)

	got = execute(t, "", append(line, "--report", "--plots", plots)...)
	require.Equal(t, exitOK, got.code, got.err)
	require.Contains(t, got.out, "| sync | 3 | 128 | 2 |")
	_, err := os.Stat(filepath.Join(plots, "throughput-sync-3-128.svg"))
	require.NoError(t, err)
	require.NotContains(t, execute(t, "", "bench", "replication", "--help").out, "replica  ", "that command is for nobody")
}

// TestReplicaWithoutParent: a replica's process that nobody talks to ends, and says why.
func TestReplicaWithoutParent(t *testing.T) {
	got := execute(t, "", "bench", "replication", "replica")
	require.Equal(t, exitServer, got.code)
	require.Contains(t, got.err, "the parent is gone")
}
