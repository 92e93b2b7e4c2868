package shardserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// everyRead is one read of each kind.
func everyRead(c *cluster, oid string) []*pb.Request {
	return []*pb.Request{readRequest(updateMode, oid), readRequest(latestMode, oid), snapshotRequest(c.stamp(), oid)}
}

// Schedule 5: pre-validated in one view, applied in another. The snapshot that the next primary served in
// between must stay true.
func TestWhatWasPreValidatedUnderAnotherLeadHasNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, nil)
		defer c.close()
		s, x, group := &sequence{}, c.key(1, 0), c.shards[1].group
		first, second := c.shards[1].servers[0], c.shards[1].servers[1]
		s.put(t, c, 1, x, "old")
		slow := s.transaction(c.stamp(), []txn.ShardID{1}, "slow", x)
		group.members[0].hold(true, false)
		write := begin(first, onePhaseRequest(slow), time.Time{})
		require.False(t, write.answered())
		group.members[0].hold(false, false) // what is held stays held

		group.lead(group.members[1])
		snapshot := c.stamp()
		requireValue(t, "old", ask(t, second, snapshotRequest(snapshot, x)))
		group.lead(group.members[0])
		requireValue(t, "old", ask(t, first, snapshotRequest(snapshot, x)))

		group.members[0].release()
		verdict := requireStatus(t, txn.StatusRefused, txn.OtherLead, write.await(t))
		require.Zero(t, verdict.GetOp())
		for _, server := range []*Server{first, second} {
			require.Equal(t, "old", locked(server, func() string { return string(server.state.Read(x).Value) }))
		}
		requireValue(t, "old", ask(t, first, snapshotRequest(snapshot, x)))
	})
}

// Schedule 35: a primary that was stopped past a view change does not know it yet.
func TestStoppedPrimaryServesNothingStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, nil)
		defer c.close()
		s, x, group := &sequence{}, c.key(1, 0), c.shards[1].group
		stopped, next := c.shards[1].servers[0], c.shards[1].servers[1]
		s.put(t, c, 1, x, "old")
		group.members[0].lag()
		group.lead(group.members[1], group.members[0])
		synctest.Wait()
		s.put(t, c, 1, x, "new")

		for _, request := range []*pb.Request{readRequest(latestMode, x), snapshotRequest(c.stamp(), x)} {
			refusal := requireCode(t, pb.Code_CODE_NOT_PRIMARY, ask(t, stopped, request))
			require.Equal(t, "shard-1.replica-2:1", refusal.GetPrimaryAddress())
			require.Equal(t, uint64(2), refusal.GetView())
			requireValue(t, "new", ask(t, next, request))
		}
		// A read for an update may be old: its transaction cannot commit here, and there it is found stale.
		stale := requireValue(t, "old", ask(t, stopped, readRequest(updateMode, x)))
		writer := s.transaction(c.stamp(), []txn.ShardID{1}, "mine", x)
		writer.Reads = []txn.ReadEntry{{OID: x, Version: txn.Timestamp(stale.GetVersion()), At: 3, Shard: 1}}
		requireCode(t, pb.Code_CODE_NOT_PRIMARY, ask(t, stopped, onePhaseRequest(writer)))
		requireStatus(t, txn.StatusRefused, txn.StaleRead, ask(t, next, onePhaseRequest(writer)))
	})
}

// Schedule 36: a new primary reads and pre-validates nothing before its Lead is applied. What needs no Lead is
// served already.
func TestNothingIsServedBeforeTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		defer c.close()
		s, x, group := &sequence{}, c.key(1, 0), c.shards[1].group
		next := c.shards[1].servers[1]
		s.put(t, c, 1, x, "old")
		pending := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, c.shards[1].servers[0], prepareRequest(pending)))

		c.setSilent(errSilent)
		group.lead(group.members[1])
		synctest.Wait()
		late := s.transaction(c.Bound(), []txn.ShardID{1}, "late", c.key(1, 1))
		requests := []*pb.Request{
			readRequest(updateMode, x), readRequest(latestMode, x), snapshotRequest(c.Bound(), x), onePhaseRequest(late),
		}
		for _, request := range requests {
			requireCode(t, pb.Code_CODE_UNAVAILABLE, ask(t, next, request))
		}
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, next, fenceRequest(pending.Attempt)))
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, next, commitRequest(pending.Attempt)))

		c.setSilent(nil)
		pass(time.Second)
		for _, request := range everyRead(c, x) {
			requireValue(t, "new", ask(t, next, request))
		}
		requireStatus(t, txn.StatusRefused, txn.TooOld, ask(t, next, onePhaseRequest(late)))
	})
}

// A floor covers what earlier primaries served from memory: it is asked for only when everything inherited is
// applied, so whoever got a timestamp before cannot prepare any more.
func TestFloorRefusesWhatTheOldPrimaryMayHaveReadPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, nil)
		defer c.close()
		s, x, group := &sequence{}, c.key(1, 0), c.shards[1].group
		slow, snapshot := c.stamp(), c.stamp()
		requireAbsent(t, ask(t, c.shards[1].servers[0], snapshotRequest(snapshot, x)))
		group.lead(group.members[1])
		synctest.Wait()
		late := s.transaction(slow, []txn.ShardID{1}, "late", x)
		requireStatus(t, txn.StatusRefused, txn.TooOld, ask(t, c.shards[1].servers[1], onePhaseRequest(late)))
		requireAbsent(t, ask(t, c.shards[1].servers[1], snapshotRequest(snapshot, x)))
	})
}

// Whoever waits when the lead ends is sent away: what it waits for may have been decided elsewhere, and the
// in-flight list is gone.
func TestReadsThatWaitEndWithTheLead(t *testing.T) {
	ends := map[string]func(*cluster){
		"event": func(c *cluster) { c.shards[1].group.lead(c.shards[1].group.members[1]) },
		"another Lead in the log, no event yet": func(c *cluster) {
			group := c.shards[1].group
			group.lead(group.members[1], group.members[0])
		},
		"restored from a checkpoint": func(c *cluster) {
			checkpoint := checkpointOf(c.t, c.shards[1].servers[0])
			require.NoError(c.t, c.shards[1].servers[0].Machine().Restore(checkpoint))
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2, 3, func(o *Options) { o.TerminateEarlyAfter = -1; o.ReadWait = time.Hour })
				defer c.close()
				s, x := &sequence{}, c.key(1, 0)
				server := c.shards[1].servers[0]
				writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
				requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(writer)))
				var reads []*pending
				for _, request := range everyRead(c, x) {
					reads = append(reads, begin(server, request, time.Time{}))
					require.False(t, reads[len(reads)-1].answered())
				}
				end(c)
				for _, read := range reads {
					require.NotNil(t, read.await(t).GetError())
				}
				require.Zero(t, parkedAt(server))
			})
		})
	}
}

// The lead is looked at in the same step as the values: a read whose primary was deposed, and became primary
// again, in between must not go on as if nothing had been.
func TestReadUnderAnEarlierLeadIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, func(o *Options) { o.TerminateEarlyAfter = -1; o.InDoubtAge = time.Hour })
		defer c.close()
		s, x, group := &sequence{}, c.key(1, 0), c.shards[1].group
		server := c.shards[1].servers[0]
		s.put(t, c, 1, x, "old")
		prepared(t, c, s, 0) // nor does it begin to wait under a lead that is not its own
		group.members[0].hold(false, true)
		latest := begin(server, readRequest(latestMode, x), time.Time{})
		snapshot := begin(server, snapshotRequest(c.stamp(), x), time.Time{})
		require.False(t, latest.answered() || snapshot.answered())
		before := leadOf(server)
		server.loseLead(before)
		pass(time.Second)
		require.NotNil(t, leadOf(server), "the view is still its own: it has led again")
		require.NotSame(t, before, leadOf(server))
		require.Equal(t, before.number+1, leadOf(server).number)
		group.members[0].release() // the same view: the round itself succeeds
		requireCode(t, pb.Code_CODE_UNAVAILABLE, latest.await(t))
		requireCode(t, pb.Code_CODE_UNAVAILABLE, snapshot.await(t))
	})
}

// A proposal of which nobody knows what became may still be applied, so it must stay in flight; as nobody
// knows for how long, the primary leads anew, which makes it harmless.
func TestUnknownOutcomeEndsTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		s, x, group := &sequence{}, c.key(1, 0), c.shards[1].group
		server := c.shards[1].servers[0]
		number := leadOf(server).number
		group.members[0].hold(true, false)
		writer := s.transaction(c.stamp(), []txn.ShardID{1}, "new", x)
		write := begin(server, onePhaseRequest(writer), time.Time{})
		read := begin(server, snapshotRequest(c.stamp(), x), time.Time{})
		require.False(t, write.answered() || read.answered())
		group.members[0].lose()
		requireCode(t, pb.Code_CODE_OUTCOME_UNKNOWN, write.await(t))
		require.NotNil(t, read.await(t).GetError())
		pass(time.Second)
		require.Equal(t, number+1, leadOf(server).number)
		for _, request := range everyRead(c, x) {
			requireAbsent(t, ask(t, server, request))
		}
		encoded, err := encodeOperation(onePhaseOperation(number, onePhaseRequest(writer).GetCommitOnePhase().GetTransaction()))
		require.NoError(t, err)
		group.append(group.members[0], encoded, func(replication.Result) {})
		for _, request := range everyRead(c, x) {
			requireAbsent(t, ask(t, server, request))
		}
	})
}

func TestLeadGivesSlotsAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		defer c.close()
		group, x := c.shards[2].group, c.key(2, 0)
		status := &pb.ReplicaStatus{}
		c.shards[2].servers[0].Describe(status, true)
		require.True(t, status.GetServing())
		requireAbsent(t, ask(t, c.shards[2].servers[0], readRequest(updateMode, x)))
		reportOf := func(view uint64, replica uint32, address string) route.Primary {
			return route.Primary{Group: 2, Epoch: 7, View: view, Replica: replica, Address: address}
		}
		require.Contains(t, c.takeReports(), reportOf(1, 1, "shard-2.replica-1:1"))

		c.takeReports()
		pass(5*DefaultReportInterval + time.Millisecond)
		require.GreaterOrEqual(t, len(c.takeReports()), 8, "again and again, for the coordinator may forget it")

		group.lead(group.members[1])
		synctest.Wait()
		require.Contains(t, c.takeReports(), reportOf(2, 2, "shard-2.replica-2:1"))
		backup := &pb.ReplicaStatus{}
		c.shards[2].servers[0].Describe(backup, true)
		require.False(t, backup.GetServing())
	})
}

func TestNoServiceWithoutSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, shards: map[txn.ShardID]*shard{}, noMap: true}
		c.start(1, 1, nil)
		defer c.close()
		c.shards[1].group.lead(c.shards[1].group.members[0])
		synctest.Wait()
		s := &sequence{}
		server := c.shards[1].servers[0]
		for _, request := range everyRead(c, "x") {
			requireCode(t, pb.Code_CODE_UNAVAILABLE, ask(t, server, request))
		}
		requireCode(t, pb.Code_CODE_UNAVAILABLE, ask(t, server, onePhaseRequest(s.transaction(c.stamp(), []txn.ShardID{1}, "v", "x"))))
		status := &pb.ReplicaStatus{}
		server.Describe(status, true)
		require.False(t, status.GetServing())

		c.mu.Lock()
		for slot := range c.slots {
			c.slots[slot] = 1
		}
		c.noMap = false
		c.mu.Unlock()
		pass(time.Second)
		for _, request := range everyRead(c, "x") {
			requireAbsent(t, ask(t, server, request))
		}
	})
}
