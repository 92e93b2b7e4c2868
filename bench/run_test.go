package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/bench"
	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
)

// TestRunsAreSerializable runs every kind of load on a real cluster, hot enough that transactions get in each
// other's way, and holds the recorded histories against the verdict.
func TestRunsAreSerializable(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{})
	target := bench.Target{
		Dial: func(ctx context.Context, hooks clerk.Hooks) (*clerk.Clerk, error) {
			return clerk.Dial(ctx, clerk.Options{Coordinators: c.Endpoints(), Hooks: hooks})
		},
		Meter: func(ctx context.Context) (bench.Cost, error) { return bench.MeterOf(c.Survey(ctx)) },
	}
	for _, options := range []bench.Options{
		{Kind: bench.Transaction, Shards: 1, Theta: 0.9},
		{Kind: bench.Transaction, Shards: 2, Theta: 1.2, Clerks: 2},
		{Kind: bench.Put},
		{Kind: bench.Get},
	} {
		options.Callers, options.Keys, options.Duration = 8, 64, 300*time.Millisecond
		result, err := bench.Run(t.Context(), target, options)
		require.NoError(t, err, options)
		require.Equal(t, "SERIALIZABLE", result.Verdict)
		require.Positive(t, result.Commits)
		require.Greater(t, result.Recorded, int(result.Commits))
		require.Positive(t, result.FramesPerCommit)
		if options.Kind == bench.Transaction {
			require.NotEmpty(t, result.Aborts, "nothing got in anything's way: %+v", result)
			require.Positive(t, result.FsyncsPerCommit)
		}
	}
}
