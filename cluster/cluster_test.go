package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for things that take much less.
const patience = 2 * time.Minute

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, c *clerk.Clerk, oid, value string) {
	t.Helper()
	require.NoError(t, c.Put(within(t), oid, []byte(value)))
}

func requireValue(t *testing.T, c *clerk.Clerk, oid, want string) {
	t.Helper()
	value, err := c.Get(within(t), oid)
	require.NoError(t, err)
	require.Equal(t, want, string(value))
}

// onBackends runs a test with each backend, of what none has for itself.
func onBackends(t *testing.T, test func(t *testing.T, backend string)) {
	t.Helper()
	for _, backend := range []string{cluster.BackendVR, cluster.BackendRaft} {
		t.Run(backend, func(t *testing.T) { test(t, backend) })
	}
}

// startOn starts a cluster with a backend. An election of Raft writes to one disk after another before anybody leads: on a
// slow machine that must not take longer than the time-out.
func startOn(t *testing.T, backend string, options cluster.Options) *cluster.Cluster {
	t.Helper()
	options.Backend = backend
	if backend == cluster.BackendRaft {
		options.Tuning.ViewChangeTimeoutMin, options.Tuning.ViewChangeTimeoutMax = time.Second, 2*time.Second
	}
	return clustertest.Start(t, options)
}

// onBackendsInFull is onBackends of a test for which one backend is enough in a short run.
func onBackendsInFull(t *testing.T, test func(t *testing.T, backend string)) {
	t.Helper()
	if testing.Short() {
		test(t, cluster.BackendVR)
		return
	}
	onBackends(t, test)
}

// onShard gives an oid that lies on a shard.
func onShard(c *clerk.Clerk, shard uint32, stem string) string {
	for n := 0; ; n++ {
		if oid := fmt.Sprintf("%s/%d", stem, n); c.ShardOf(oid) == shard {
			return oid
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for _, options := range []cluster.Options{
		{},
		{Directory: "x", Shards: -1},
		{Directory: "x", Replicas: 8},
		{Directory: "x", Coordinators: 9},
		{Directory: "x", Backend: "paxos"},
	} {
		_, err := cluster.Start(t.Context(), options)
		require.ErrorIs(t, err, cluster.ErrOptions)
	}
}

func TestPrimariesAreKilledAndComeBack(t *testing.T) {
	onBackends(t, testPrimariesAreKilledAndComeBack)
}

func testPrimariesAreKilledAndComeBack(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{})
	connected := clustertest.Clerk(t, c)
	for n, group := range []uint32{1, cluster.CoordinatorGroup, 2} {
		oids := []string{onShard(connected, 1, "one"), onShard(connected, 2, "two")}
		put(t, connected, oids[0], fmt.Sprint(n))
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NoError(t, c.Kill(group, primary))
		require.Error(t, c.Kill(group, primary), "it does not run any more")
		requireValue(t, connected, oids[0], fmt.Sprint(n))
		put(t, connected, oids[1], fmt.Sprint(n))
		next, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NotEqual(t, primary, next)
		require.NoError(t, c.Restart(group, primary))
		require.Error(t, c.Restart(group, primary), "it runs already")
		require.NoError(t, c.AwaitWhole(within(t)))
		requireValue(t, connected, oids[1], fmt.Sprint(n))
	}
}

func TestIsolatedPrimaryIsReplacedAndHeals(t *testing.T) {
	onBackends(t, testIsolatedPrimaryIsReplacedAndHeals)
}

func testIsolatedPrimaryIsReplacedAndHeals(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1, Coordinators: 1})
	connected := clustertest.Clerk(t, c)
	put(t, connected, "a", "1")
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	c.Isolate(1, primary)
	put(t, connected, "a", "2")
	requireValue(t, connected, "a", "2")
	c.Heal()
	require.NoError(t, c.AwaitWhole(within(t)))
	requireValue(t, connected, "a", "2")
}

// TestPausedPrimaryIsReplaced: nobody learns from a broken connection that it hangs.
func TestPausedPrimaryIsReplaced(t *testing.T) { onBackendsInFull(t, testPausedPrimaryIsReplaced) }

func testPausedPrimaryIsReplaced(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1})
	connected := clustertest.Clerk(t, c)
	for _, group := range []uint32{1, cluster.CoordinatorGroup} {
		before, after := fmt.Sprintf("before/%d", group), fmt.Sprintf("after/%d", group)
		put(t, connected, before, "1")
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NoError(t, c.Pause(group, primary))
		require.NoError(t, c.Pause(group, primary))
		put(t, connected, before, "2")
		requireValue(t, connected, before, "2")
		next, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NotEqual(t, primary, next)
		require.NoError(t, c.Resume(group, primary))
		require.NoError(t, c.Resume(group, primary))
		require.NoError(t, c.AwaitWhole(within(t)))
		requireValue(t, connected, before, "2")
		put(t, connected, after, "3")
	}
	require.NoError(t, c.Pause(1, 1))
	require.NoError(t, c.Kill(1, 1), "what is paused can be killed")
	require.Error(t, c.Pause(1, 1), "it does not run")
	require.Error(t, c.Resume(1, 1), "it does not run")
	require.NoError(t, c.Restart(1, 1))
	require.NoError(t, c.AwaitWhole(within(t)), "and is not paused when it comes back")
	require.NoError(t, c.Pause(1, 2), "what is paused is closed with the rest")
}

// TestPausedGroupAnswersNothing: with every replica of a shard paused nothing is read, and Resume is enough.
func TestPausedGroupAnswersNothing(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Shards: 1, Replicas: 1, Coordinators: 1})
	connected := clustertest.Clerk(t, c)
	put(t, connected, "a", "1")
	require.NoError(t, c.Pause(1, 1))
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := connected.GetLatest(short, "a")
	require.ErrorIs(t, err, clerk.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, c.Resume(1, 1))
	requireValue(t, connected, "a", "1")
}

// TestPrimaryThatIsHeardButHearsNothing cuts one direction only: what the primary sends arrives, no answer does.
func TestPrimaryThatIsHeardButHearsNothing(t *testing.T) {
	onBackendsInFull(t, testPrimaryThatIsHeardButHearsNothing)
}

func testPrimaryThatIsHeardButHearsNothing(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1, Coordinators: 1})
	connected := clustertest.Clerk(t, c)
	put(t, connected, "a", "1")
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	for replica := uint32(1); replica <= 3; replica++ {
		c.Cut(1, replica, primary)
	}
	put(t, connected, "a", "2")
	next, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	require.NotEqual(t, primary, next)
	c.Heal()
	require.NoError(t, c.AwaitWhole(within(t)))
	requireValue(t, connected, "a", "2")
}

func TestWithoutQuorumNothingIsAcknowledged(t *testing.T) {
	onBackendsInFull(t, testWithoutQuorumNothingIsAcknowledged)
}

func testWithoutQuorumNothingIsAcknowledged(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1, Coordinators: 1})
	connected := clustertest.Clerk(t, c)
	put(t, connected, "a", "1")
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	for replica := uint32(1); replica <= 3; replica++ {
		if replica != primary {
			require.NoError(t, c.Kill(1, replica))
		}
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = connected.Put(short, "a", []byte("2"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, errors.Is(err, clerk.ErrAborted) || errors.Is(err, clerk.ErrOutcomeUnknown), "%v", err)
	require.Equal(t, survey.Down, survey.Assess(c.Survey(t.Context())).Health)
	for replica := uint32(1); replica <= 3; replica++ {
		if replica != primary {
			require.NoError(t, c.Restart(1, replica))
		}
	}
	put(t, connected, "a", "3")
	requireValue(t, connected, "a", "3")
}

func TestEverythingStopsAndStartsAgain(t *testing.T) {
	onBackends(t, testEverythingStopsAndStartsAgain)
}

func testEverythingStopsAndStartsAgain(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1, Tuning: cluster.Tuning{CheckpointEvery: 20}})
	connected := clustertest.Clerk(t, c)
	for n := range 100 {
		put(t, connected, fmt.Sprintf("key/%d", n%10), fmt.Sprint(n))
	}
	for group := range uint32(2) {
		for replica := uint32(1); replica <= 3; replica++ {
			require.NoError(t, c.Kill(group, replica))
		}
	}
	// Shards first: they have to come up while the coordinator is away.
	for _, group := range []uint32{1, 0} {
		for replica := uint32(1); replica <= 3; replica++ {
			require.NoError(t, c.Restart(group, replica))
		}
	}
	for n := range 10 {
		requireValue(t, connected, fmt.Sprintf("key/%d", n), fmt.Sprint(90+n))
	}
}

func TestReplicaThatWasAwayCatchesUpByCheckpoint(t *testing.T) {
	onBackends(t, testReplicaThatWasAwayCatchesUpByCheckpoint)
}

func testReplicaThatWasAwayCatchesUpByCheckpoint(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1, Coordinators: 1, Tuning: cluster.Tuning{CheckpointEvery: 10}})
	connected := clustertest.Clerk(t, c)
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	away := primary%3 + 1
	require.NoError(t, c.Kill(1, away))
	for n := range 100 {
		put(t, connected, "a", fmt.Sprint(n))
	}
	require.NoError(t, c.Restart(1, away))
	require.NoError(t, survey.Poll(within(t), func() error {
		replicas := c.SurveyStates(t.Context())[1:]
		if hash := replicas[0].StateHash; hash == "" || hash != replicas[1].StateHash || hash != replicas[2].StateHash {
			return errors.New("the states differ")
		}
		return nil
	}))
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	onBackendsInFull(t, testDrainFinishesWhatIsUnderWay)
}

func testDrainFinishesWhatIsUnderWay(t *testing.T, backend string) {
	c := startOn(t, backend, cluster.Options{Shards: 1, Coordinators: 1})
	connected := clustertest.Clerk(t, c)
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	results := make(chan error, 50)
	for n := range cap(results) {
		go func() { results <- connected.Put(within(t), fmt.Sprint(n), []byte("x")) }()
	}
	require.NoError(t, c.Drain(within(t), 1, primary))
	for range cap(results) {
		require.NoError(t, <-results)
	}
	for n := range cap(results) {
		requireValue(t, connected, fmt.Sprint(n), "x")
	}
}
