package backends

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

const (
	// replicaArgument has the test binary be a replica's process.
	replicaArgument = "replica-of-a-test"
	// parentArgument has it be one that starts such processes and waits to be killed.
	parentArgument = "parent-of-a-test"
)

// TestMain makes this test binary what a test starts it as.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == replicaArgument:
		if err := serve(os.Stdin, os.Stdout, testRegistry()); err != nil && !errors.Is(err, ErrParent) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) > 1 && os.Args[1] == parentArgument:
		beParent(os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// testRegistry has, beside the true backends, some that break the terms.
func testRegistry() []backend {
	return append(registry(), broken("careless", Sync, func(o *opening) { o.durability = Memory }),
		broken("careful", Memory, func(o *opening) { o.durability = Sync }))
}

// broken is a backend that says one durability and has another.
func broken(name, says string, opens func(*opening)) backend {
	b, _ := find(registry(), "vr")
	b.name, b.durabilities = name, []string{says}
	open := b.open
	b.open = func(o opening) (replication.Replicator, error) {
		opens(&o)
		return open(o)
	}
	return b
}

// short are the options of a test: time-outs that no busy machine reaches, and little work.
func short(t *testing.T) Options {
	t.Helper()
	o := shortIn(t.TempDir())
	o.Progress = func(what string) { t.Log(what) }
	return o
}

func shortIn(directory string) Options {
	binary, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Options{
		Command: []string{binary, replicaArgument}, Proposers: []int{4}, ValueBytes: []int{1024}, Runs: 1, Kills: 1,
		Duration: 100 * time.Millisecond, Warmup: 10 * time.Millisecond, BehindBytes: 1 << 20, Directory: directory,
		known: testRegistry(), Terms: Terms{ViewChangeTimeout: time.Second, CheckpointBytes: 256 << 10},
	}
}

// TestThroughput measures, and takes what it has measured from the file the second time.
func TestThroughput(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Backends, o.Durabilities = []string{"vr", "raft", "vr/wal"}, []string{Sync, Memory}
	o.Results, o.Profiles = filepath.Join(t.TempDir(), "results"), t.TempDir()
	records, err := Compare(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, records, 5, "vr/wal has no log in memory")
	for _, r := range records {
		require.Positive(t, r.Speed.Operations)
		require.Positive(t, r.Speed.CPUMicros)
		require.GreaterOrEqual(t, r.Speed.Max, r.Speed.P50)
		require.Equal(t, r.Durability == Sync, r.Speed.Fsyncs > 0)
		require.GreaterOrEqual(t, r.Policy.Operations, probeOperations)
	}
	profiles, err := os.ReadDir(o.Profiles)
	require.NoError(t, err)
	require.Len(t, profiles, 15)
	requireEmpty(t, o.Directory)

	o.Command = []string{"/does/not/exist"}
	again, err := Compare(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, records, again)
	o.Runs = 2
	_, err = Compare(t.Context(), o)
	require.ErrorIs(t, err, os.ErrNotExist, "what is not there is run")
	o.Runs, o.Warmup = 1, time.Second
	_, err = Compare(t.Context(), o)
	require.ErrorIs(t, err, ErrResults, "what was run on other terms does not count")
}

func TestFailover(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Scenarios, o.Backends = []string{Failover}, []string{"vr", "raft"}
	records, err := Compare(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, records, 2)
	for _, r := range records {
		require.Positive(t, r.Outage.Took)
	}
	requireEmpty(t, o.Directory)
}

func TestCatchup(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Scenarios, o.Backends = []string{Catchup}, []string{"vr", "raft"}
	records, err := Compare(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, records, 2)
	for _, r := range records {
		require.Positive(t, r.Return.Took)
		require.Positive(t, r.Return.Whole)
		require.Positive(t, r.Return.Down)
		require.Greater(t, r.Return.Bytes, uint64(256<<10), "the replica had to fetch something")
	}
	requireEmpty(t, o.Directory)
}

// TestOtherPolicyIsRefused: who says that it syncs must, and on a majority; and who does not must not.
func TestOtherPolicyIsRefused(t *testing.T) {
	for name, durability := range map[string]string{"careless": Sync, "careful": Memory} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := short(t)
			o.Backends, o.Durabilities = []string{"vr", name}, []string{durability}
			records, err := Compare(t.Context(), o)
			var refused *PolicyError
			require.ErrorAs(t, err, &refused)
			require.ErrorIs(t, err, ErrPolicy)
			require.Equal(t, name, refused.Policy.Backend)
			require.Empty(t, records, "not even the other is measured")
			requireEmpty(t, o.Directory)
		})
	}
}

// TestInterrupted: nothing is left of a comparison that is given up, at whatever it is.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(what string) {
		if t.Log(what); what == "run 1 of 1: throughput, sync, 3 replicas, 1024 bytes, 4 proposers, vr, run 1" {
			cancel()
		}
	}
	_, err := Compare(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
	requireEmpty(t, o.Directory)
}

func requireEmpty(t *testing.T, directory string) {
	t.Helper()
	left, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}
