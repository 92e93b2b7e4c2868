package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// demoTree is a small tree whose directories can move.
func demoTree(t *testing.T) string {
	t.Helper()
	directory := t.TempDir()
	for n := range 60 {
		place := filepath.Join(directory, fmt.Sprintf("p%d", n%4), fmt.Sprintf("q%d", n%9), fmt.Sprintf("r%d", n))
		require.NoError(t, os.MkdirAll(place, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(place, "file"), []byte(place), 0o600))
	}
	return directory
}

// watched is an output that calls a function once it holds some text.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	call  func(so string)
}

func (w *watched) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(text)
	if w.call != nil && strings.Contains(w.text.String(), w.until) {
		go w.call(w.text.String())
		w.call = nil
	}
	return n, err
}

// TestDemo runs the whole demo on a small tree, with this binary as its nodes, uses the cluster that it leaves
// running, and ends it.
func TestDemo(t *testing.T) {
	temporary, directory := t.TempDir(), demoTree(t)
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	used, ports := make(chan result, 1), make(chan int, 1)
	out := &watched{until: "| viewline txn", call: func(so string) {
		_, rest, _ := strings.Cut(so, "VIEWLINE_COORDINATORS=")
		coordinators, _, _ := strings.Cut(rest, "\n")
		used <- execute(t, "", "status", "--coordinators", coordinators)
		ports <- adminPorts(so)
		cancel()
	}}
	var errs bytes.Buffer
	code := run(ctx, []string{"demo", "--keep", "--dir", directory}, streams{in: strings.NewReader(""), out: out, err: &errs})
	require.Equal(t, exitOK, code, errs.String())
	for _, said := range []string{"Killed the primary shard-1-", "Killed the primary coordinator-", "Audited the money", "Every check held"} {
		require.Contains(t, out.text.String(), said)
	}
	require.Contains(t, (<-used).out, "Every group can lose 1 replica and go on.")
	require.Equal(t, 9, <-ports, "every node's log tells its admin port")
	requireEmpty(t, temporary)
}

// adminPorts counts the logs that say what the demo tells to look for.
func adminPorts(said string) (count int) {
	_, rest, _ := strings.Cut(said, "grep -h 'admin port' ")
	pattern, _, _ := strings.Cut(rest, " ")
	logs, _ := filepath.Glob(pattern)
	for _, name := range logs {
		if log, err := os.ReadFile(name); err == nil && strings.Contains(string(log), "admin port") {
			count++
		}
	}
	return count
}

// TestDemoInterrupted ends a demo in the middle of its work.
func TestDemoInterrupted(t *testing.T) {
	temporary, directory := t.TempDir(), demoTree(t)
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{until: "Killed the primary", call: func(string) { cancel() }}
	var errs bytes.Buffer
	code := run(ctx, []string{"demo", "--dir", directory}, streams{in: strings.NewReader(""), out: out, err: &errs})
	require.Equal(t, exitInterrupted, code, errs.String())
	require.Equal(t, "viewline: interrupted\n  everything is cleaned up\n", errs.String())
	requireEmpty(t, temporary)
}

// TestDemoFails: what failed can be looked into.
func TestDemoFails(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	got := execute(t, "", "demo", "--dir", filepath.Join(temporary, "nothing"))
	require.Equal(t, exitUsage, got.code, got.err)
	_, kept, said := strings.Cut(strings.SplitN(got.err, "\n  ", 2)[0], "the nodes' data and logs stay in ")
	require.True(t, said, got.err)
	log, err := os.ReadFile(filepath.Join(kept, "shard-1-1", "log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "serving")
}

func requireEmpty(t *testing.T, directory string) {
	t.Helper()
	left, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}
