package shardserver

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

func TestBytesUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *Options) { o.UnderWayBytesMax = 64 << 10 })
		defer c.close()
		server, member, s := c.shards[1].primary(), c.shards[1].group.members[0], &sequence{}
		member.hold(true, false)
		var writes []*pending
		refused := 0
		for i := range 20 {
			writer := s.transaction(c.stamp(), []txn.ShardID{1}, strings.Repeat("v", 8<<10), c.key(1, i))
			write := begin(server, onePhaseRequest(writer), time.Time{})
			if write.answered() {
				requireCode(t, pb.Code_CODE_OVERLOADED, write.await(t))
				refused++
				continue
			}
			writes = append(writes, write)
		}
		require.Len(t, writes, 7)
		require.Equal(t, 13, refused)
		require.LessOrEqual(t, server.underWay.Load(), int64(64<<10))
		member.release()
		for _, write := range writes {
			requireStatus(t, txn.StatusCommitted, txn.ReasonNone, write.await(t))
		}
		require.Zero(t, server.underWay.Load())
		s.put(t, c, 1, c.key(1, 0), "room again")
	})
}

func TestWaitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.WaitsMax = 3; o.TerminateEarlyAfter = -1; o.ReadWait = time.Hour })
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(writer)))
		var reads []*pending
		for _, request := range everyRead(c, x) {
			reads = append(reads, begin(server, request, time.Time{}))
			require.False(t, reads[len(reads)-1].answered())
		}
		for _, request := range everyRead(c, x) {
			requireCode(t, pb.Code_CODE_OVERLOADED, ask(t, server, request))
		}
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, commitRequest(writer.Attempt)))
		for _, read := range reads {
			requireValue(t, "new", read.await(t))
		}
	})
}

func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *Options) { o.InFlightMax = 2 })
		defer c.close()
		server, member, s := c.shards[1].primary(), c.shards[1].group.members[0], &sequence{}
		member.hold(true, false)
		var writes []*pending
		for i := range 2 {
			writer := s.transaction(c.stamp(), []txn.ShardID{1}, "new", c.key(1, i))
			writes = append(writes, begin(server, onePhaseRequest(writer), time.Time{}))
			require.False(t, writes[i].answered())
		}
		third := s.transaction(c.stamp(), []txn.ShardID{1}, "new", c.key(1, 2))
		requireStatus(t, txn.StatusRefused, txn.Limit, ask(t, server, onePhaseRequest(third)))
		member.release()
		for _, write := range writes {
			requireStatus(t, txn.StatusCommitted, txn.ReasonNone, write.await(t))
		}
		third.TS = c.stamp()
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, onePhaseRequest(third)))
	})
}

func TestReplyBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *Options) { o.ReplyBytesMax = 10 })
		defer c.close()
		server, x, y, s := c.shards[1].primary(), c.key(1, 0), c.key(1, 1), &sequence{}
		s.put(t, c, 1, x, "sixsix")
		s.put(t, c, 1, y, "four")
		for _, request := range []*pb.Request{
			readRequest(updateMode, x, y, x), readRequest(latestMode, x, x), snapshotRequest(c.stamp(), x, x),
		} {
			refusal := requireCode(t, pb.Code_CODE_LIMIT, ask(t, server, request))
			require.Equal(t, uint64(10), refusal.GetLimit())
			require.Greater(t, refusal.GetActual(), uint64(10))
		}
		require.Nil(t, ask(t, server, readRequest(updateMode, x, y)).GetError())
	})
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Shard: 1, Replica: 1, Router: &cluster{}}
	require.NoError(t, good.Validate())
	for name, change := range map[string]func(*Options){
		"shard":         func(o *Options) { o.Shard = 0 },
		"replica":       func(o *Options) { o.Replica = 0 },
		"router":        func(o *Options) { o.Router = nil },
		"version lag":   func(o *Options) { o.VersionHorizonLag = time.Second },
		"record lag":    func(o *Options) { o.RecordHorizonLag = time.Second },
		"in-doubt age":  func(o *Options) { o.InDoubtAge = -1 },
		"read wait":     func(o *Options) { o.ReadWait = -1 },
		"scan":          func(o *Options) { o.ScanInterval = -1 },
		"terminations":  func(o *Options) { o.TerminationsMax = -1 },
		"bytes":         func(o *Options) { o.UnderWayBytesMax = -1 },
		"waits":         func(o *Options) { o.WaitsMax = -1 },
		"history's own": func(o *Options) { o.PreparedMax = -1 },
	} {
		bad := good
		change(&bad)
		_, err := New(bad)
		require.ErrorIs(t, err, ErrOptions, name)
	}
}
