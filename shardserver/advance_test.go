package shardserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// The threshold and the horizons follow the coordinator's timestamps at their distances, and what they pass is
// forgotten.
func TestThresholdAndHorizonsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *Options) {
			o.ThresholdLag, o.VersionHorizonLag, o.RecordHorizonLag = time.Minute, 2*time.Minute, 3*time.Minute
		})
		defer c.close()
		server, s := c.shards[1].primary(), &sequence{}
		slow := s.transaction(c.stamp(), []txn.ShardID{1}, "slow", c.key(1, 1))
		var last txn.Timestamp
		for range 300 {
			last = s.put(t, c, 1, c.key(1, 0), "value")
			pass(time.Second)
		}
		near := func(lag time.Duration, mark txn.Timestamp) {
			t.Helper()
			distance := time.Duration(last.Millis()-mark.Millis()) * time.Millisecond
			require.InDelta(t, lag.Seconds(), distance.Seconds(), 2.5)
		}
		near(time.Minute, locked(server, server.state.Threshold))
		near(2*time.Minute, locked(server, server.state.VersionHorizon))
		near(3*time.Minute, locked(server, server.state.RecordHorizon))
		require.Less(t, sizesOf(server).Versions, 125)
		require.Less(t, sizesOf(server).Decisions, 190)
		requireStatus(t, txn.StatusForgotten, txn.Forgotten, ask(t, server, onePhaseRequest(slow)))
	})
}

// A quiet shard logs next to nothing, and still comes to the same.
func TestQuietShardAdvancesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, member, s := c.shards[1].primary(), c.shards[1].group.members[0], &sequence{}
		s.put(t, c, 1, c.key(1, 0), "value")
		pass(time.Minute)
		logged := member.submissions()
		for range 10 * 60 { // others keep the coordinator busy
			c.stamp()
			_, err := c.RefreshBound(t.Context())
			require.NoError(t, err)
			pass(time.Second)
		}
		const steps = 10 * 60 * quietPart / 60 // by the threshold, whose lag is the shortest
		require.LessOrEqual(t, member.submissions()-logged, 2*steps)
		require.GreaterOrEqual(t, member.submissions()-logged, steps/2)
		distance := time.Duration(c.stamp().Millis()-locked(server, server.state.Threshold).Millis()) * time.Millisecond
		require.Less(t, distance, DefaultThresholdLag*(quietPart+2)/quietPart)
		require.Greater(t, distance, DefaultThresholdLag)
	})
}

func TestBackupDoesNotAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, nil)
		defer c.close()
		pass(2 * time.Minute)
		require.Zero(t, c.shards[1].group.members[1].submissions())
		require.Zero(t, c.shards[1].group.members[2].submissions())
	})
}

func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, func(o *Options) { o.HashVersionsMax = 4 })
		defer c.close()
		server, s := c.shards[1].primary(), &sequence{}
		s.put(t, c, 1, c.key(1, 0), "value")
		prepared(t, c, s, 1)
		ask(t, server, readRequest(updateMode, c.key(1, 0)))
		ask(t, server, readRequest(latestMode, c.key(1, 0)))
		ask(t, server, snapshotRequest(c.stamp(), c.key(1, 0)))
		late := s.transaction(c.stamp(), []txn.ShardID{1}, "late", c.key(1, 0))
		late.Reads = []txn.ReadEntry{{OID: c.key(1, 0), Shard: 1}}
		requireStatus(t, txn.StatusRefused, txn.StaleRead, ask(t, server, onePhaseRequest(late)))

		status := &pb.ReplicaStatus{Counters: map[string]uint64{"fsyncs": 3}}
		server.Describe(status, true)
		require.True(t, status.GetServing())
		require.Equal(t, uint64(locked(server, server.state.Applied)), status.GetApplied())
		hash := locked(server, server.state.Hash)
		require.Equal(t, hash[:], status.GetStateHash())
		for name, want := range map[string]uint64{
			"fsyncs": 3, "txn_committed": 1, "txn_prepared": 1, "prepared": 1, "versions": 1, "decisions": 2, "lead_number": 1,
			"reads_update": 1, "reads_latest": 1, "reads_snapshot": 1, "txn_refused.stale_read": 1, "invariant_breaks": 0, "in_flight": 0,
		} {
			got, there := status.GetCounters()[name]
			require.True(t, there, name)
			require.Equal(t, want, got, name)
		}
		again := &pb.ReplicaStatus{}
		server.Describe(again, true)
		require.Equal(t, status.GetStateHash(), again.GetStateHash())
		for i := range 3 {
			s.put(t, c, 1, c.key(1, 2+i), "value")
		}
		server.Describe(again, true)
		hash = locked(server, server.state.Hash)
		require.Equal(t, hash[:], again.GetStateHash())
		require.NotEqual(t, status.GetStateHash(), again.GetStateHash())
		backup := &pb.ReplicaStatus{}
		c.shards[1].servers[2].Describe(backup, true)
		require.False(t, backup.GetServing())
		require.Equal(t, again.GetApplied(), backup.GetApplied())
		require.Equal(t, again.GetStateHash(), backup.GetStateHash())
		s.put(t, c, 1, c.key(1, 5), "value")
		large := &pb.ReplicaStatus{}
		server.Describe(large, true)
		require.Empty(t, large.GetStateHash(), "too large to be read whole for a status")
	})
}

// TestOldestPreparedIsDescribed: the age of what a clerk left prepared, and none once it is decided.
func TestOldestPreparedIsDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		age := func() uint64 {
			status := &pb.ReplicaStatus{}
			c.shards[1].primary().Describe(status, false)
			require.Contains(t, status.Counters, "oldest_prepared_milliseconds")
			return status.Counters["oldest_prepared_milliseconds"]
		}
		require.Zero(t, age())
		for dieAt := 0; sizesOf(c.shards[1].primary()).Prepared == 0; dieAt++ {
			require.False(t, newClerk(c, uint64(dieAt+1), "new", dieAt).run(), "it never left anything prepared")
			synctest.Wait()
		}
		before := age()
		pass(time.Second)
		require.InDelta(t, before+1000, age(), 100)
		pass(DefaultInDoubtAge + time.Second)
		require.Zero(t, age())
	})
}
