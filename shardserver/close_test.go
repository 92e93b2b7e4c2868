package shardserver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Close answers whoever waits, for whatever, and leaves nothing running.
func TestCloseAnswersWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminateEarlyAfter = -1; o.ReadWait = time.Hour })
		s, server, member := &sequence{}, c.shards[1].primary(), c.shards[1].group.members[0]
		x := c.key(1, 0)
		prepared(t, c, s, 0)
		var waiting []*pending
		for _, request := range everyRead(c, x) { // for a decision
			waiting = append(waiting, begin(server, request, time.Time{}))
		}
		synctest.Wait()
		member.hold(true, true)
		inFlight := begin(server, onePhaseRequest(s.transaction(c.stamp(), []txn.ShardID{1}, "v", c.key(1, 1))), time.Time{})
		round := begin(server, readRequest(latestMode, c.key(1, 2)), time.Time{})
		require.False(t, inFlight.answered() || round.answered())
		gate := make(chan struct{})
		c.mu.Lock()
		c.refresh = gate
		c.mu.Unlock()
		for range 2 { // for the bound: one whose question is asked, one who comes later
			waiting = append(waiting, begin(server, snapshotRequest(c.stamp(), x), time.Time{}))
			synctest.Wait()
		}
		for _, request := range waiting {
			require.False(t, request.answered())
		}

		require.NoError(t, server.Close())
		for _, request := range waiting {
			require.NotNil(t, request.await(t).GetError())
		}
		require.False(t, inFlight.answered(), "the group still has it")
		require.False(t, round.answered(), "the group still has it")
		member.release()
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, inFlight.await(t))
		requireCode(t, pb.Code_CODE_UNAVAILABLE, round.await(t))

		for _, request := range append(everyRead(c, x), snapshotRequest(c.stamp()+5, x)) {
			requireCode(t, pb.Code_CODE_UNAVAILABLE, ask(t, server, request))
		}
		require.Zero(t, server.underWay.Load())
		require.NoError(t, server.Close())
		c.close()
	})
}

func TestNothingIsServedBeforeAttach(t *testing.T) {
	c := &cluster{t: t}
	server, err := New(Options{Shard: 1, Replica: 1, Router: c})
	require.NoError(t, err)
	var codes []pb.Code
	s := &sequence{}
	writer := s.transaction(5, []txn.ShardID{1}, "v", "x")
	for _, request := range append(everyRead(c, "x"), onePhaseRequest(writer), fenceRequest(writer.Attempt), commitRequest(writer.Attempt)) {
		server.Handle(request, time.Time{}, func(response *pb.Response) { codes = append(codes, response.GetError().GetCode()) })
	}
	require.Len(t, codes, 6)
	for _, code := range codes {
		require.Equal(t, pb.Code_CODE_UNAVAILABLE, code)
	}
	status := &pb.ReplicaStatus{}
	server.Describe(status, true)
	require.False(t, status.GetServing())
	require.NoError(t, server.Close())
	server.Attach(newGroup(server.Machine()).members[0]) // too late: starts nothing
}

func TestReplicatorThatClosesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		server := c.shards[1].primary()
		require.NoError(t, c.shards[1].group.members[0].Close())
		synctest.Wait()
		for _, request := range everyRead(c, c.key(1, 0)) {
			require.NotNil(t, ask(t, server, request).GetError())
		}
		c.close()
	})
}

// Many callers at once, while primaries come and go: every request is answered once, and what was committed
// counts exactly.
func TestManyCallersWhilePrimariesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		defer c.close()
		var committed, answers, asked atomic.Int64
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				s := &sequence{last: uint64(caller) << 32}
				for i, mine := 0, 0; i < 60 || mine < 15; i++ { // how many get in each other's way is up to the scheduler
					shard := c.shards[txn.ShardID(i%2+1)]
					oid := c.key(shard.id, i%3)
					for _, request := range []*pb.Request{
						readRequest(updateMode, oid), readRequest(latestMode, oid), snapshotRequest(c.stamp(), oid),
						onePhaseRequest(s.transaction(c.stamp(), []txn.ShardID{shard.id}, fmt.Sprint(caller, i), oid)),
					} {
						asked.Add(1)
						done := make(chan *pb.Response, 2)
						shard.primary().Handle(request, time.Now().Add(time.Second), func(response *pb.Response) { done <- response })
						response := <-done
						answers.Add(1)
						if response.GetVerdict().GetStatus() == pb.Status_STATUS_COMMITTED {
							committed.Add(1)
							mine++
						}
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 10 {
			time.Sleep(5 * time.Millisecond)
			for _, shard := range c.shards {
				shard.group.lead(shard.group.members[i%3])
			}
		}
		callers.Wait()
		require.Equal(t, asked.Load(), answers.Load())
		require.GreaterOrEqual(t, committed.Load(), int64(8*15))
		counted := uint64(0)
		for _, shard := range c.shards {
			hash := locked(shard.servers[0], shard.servers[0].state.Hash)
			counted += shard.servers[0].counts.committed.Load()
			for _, server := range shard.servers {
				require.Equal(t, hash, locked(server, server.state.Hash))
				require.Zero(t, server.underWay.Load())
				require.Zero(t, locked(server, server.front.InFlight))
			}
		}
		require.Equal(t, uint64(committed.Load()), counted)
	})
}
