package vrtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/vrtest"
)

// TestAGroupInWhichNobodyIsLeftOfTheFirst: it grows, has a dead member and then its primary replaced, and each one
// removed that it began with; what was acknowledged is there all along.
func TestAGroupInWhichNobodyIsLeftOfTheFirst(t *testing.T) {
	g, ctx := start(t, 1)
	sum := uint64(0)
	acknowledged := func() {
		t.Helper()
		sum++
		require.Equal(t, sum, propose(ctx, t, g))
	}
	acknowledged()
	var members []replication.ReplicaID
	for id := replication.ReplicaID(2); id <= 4; id++ {
		added, err := g.Add(ctx)
		require.NoError(t, err)
		require.Equal(t, id, added)
		members = append(members, id)
	}
	report, err := g.Reconfigure(ctx, 1, 2, 3)
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Epoch)
	acknowledged()
	require.NoError(t, g.Remove(ctx, 1))
	require.Nil(t, g.Replica(1))
	acknowledged()
	_, err = g.Reconfigure(ctx, members...)
	require.NoError(t, err)
	acknowledged()
	require.NoError(t, g.Kill(2))
	added, err := g.Replace(ctx, 2)
	require.NoError(t, err)
	require.EqualValues(t, 5, added)
	acknowledged()
	primary, _, err := g.Primary(ctx)
	require.NoError(t, err)
	_, err = g.Replace(ctx, primary)
	require.NoError(t, err)
	require.Nil(t, g.Replica(primary))
	acknowledged()
	primary, _, err = g.Primary(ctx)
	require.NoError(t, err)
	for _, id := range g.Replica(primary).Status().Members {
		await(t, g, id, sum)
		require.NoError(t, g.Kill(id))
		require.NoError(t, g.Restart(id))
		acknowledged()
	}
}

func TestMembersThatCannotBe(t *testing.T) {
	g, ctx := start(t, 3)
	acknowledged := propose(ctx, t, g)
	_, err := g.Reconfigure(ctx, 1, 2, 3)
	require.ErrorIs(t, err, replication.ErrMembership)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = g.Reconfigure(short, 1, 2, 9)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, replication.DidNotHappen(err), "nobody has heard of 9")
	require.Equal(t, acknowledged+1, propose(ctx, t, g))
	require.NoError(t, g.Close())
	_, err = g.Add(ctx)
	require.ErrorIs(t, err, vrtest.ErrClosed)
	require.ErrorIs(t, g.Remove(ctx, 1), vrtest.ErrClosed)
	_, err = g.Replace(ctx, 1)
	require.ErrorIs(t, err, vrtest.ErrClosed)
	_, err = g.Reconfigure(ctx, 1)
	require.ErrorIs(t, err, vrtest.ErrClosed)
}
