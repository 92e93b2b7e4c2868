package clerk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

// TestUnknownOutcomes ends the caller's time while a shard has lost its quorum: nobody can know then, and later the
// id alone is enough to find out.
func TestUnknownOutcomes(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1})
	connected := clustertest.Clerk(t, c)
	one, two := onShard(connected, 1, "unknown/a"), onShard(connected, 2, "unknown/b")
	primary, err := c.Primary(within(t), 2)
	require.NoError(t, err)
	require.NoError(t, connected.Put(within(t), two, []byte("before")))
	for replica := uint32(1); replica <= 3; replica++ {
		if replica != primary {
			require.NoError(t, c.Kill(2, replica))
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err = connected.Update(short, func(tx *clerk.Txn) error {
		return errors.Join(tx.Put(one, []byte("after")), tx.Put(two, []byte("after")))
	})
	require.ErrorIs(t, err, clerk.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var unknown *clerk.UnknownError
	require.ErrorAs(t, err, &unknown)

	short, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = connected.Outcome(short, unknown.Attempt)
	require.ErrorIs(t, err, clerk.ErrUnavailable, "without a quorum there is no answer")

	for replica := uint32(1); replica <= 3; replica++ {
		if replica != primary {
			require.NoError(t, c.Restart(2, replica))
		}
	}
	outcome, err := connected.Outcome(within(t), unknown.Attempt)
	require.NoError(t, err)
	values, err := connected.GetMulti(within(t), one, two)
	require.NoError(t, err)
	require.Equal(t, outcome.Committed, values[0].Present)
	require.Equal(t, outcome.Committed, string(values[1].Bytes) == "after")
	again, err := clustertest.Clerk(t, c).Outcome(within(t), unknown.Attempt)
	require.NoError(t, err)
	require.Equal(t, outcome.Committed, again.Committed)
}

// TestForgottenOutcomes lets the shards forget quickly.
func TestForgottenOutcomes(t *testing.T) {
	var committed clerk.Committed
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1, Replicas: 1, Tuning: cluster.Tuning{
		ThresholdLag: 100 * time.Millisecond, RecordHorizonLag: 200 * time.Millisecond,
	}})
	connected := clustertest.ClerkWith(t, c, clerk.Options{Hooks: clerk.Hooks{Committed: func(c clerk.Committed) { committed = c }}})
	require.NoError(t, connected.Put(within(t), "a", []byte("1")))
	require.NoError(t, survey.Poll(within(t), func() error {
		outcome, err := connected.Outcome(within(t), committed.Attempt)
		switch {
		case errors.Is(err, clerk.ErrOutcomeForgotten):
			return nil
		case err != nil || !outcome.Committed:
			return survey.Final{Err: errors.Join(errors.New("it is committed until it is forgotten"), err)}
		default:
			return errors.New("still known")
		}
	}))
	value, err := connected.Get(within(t), "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
}
