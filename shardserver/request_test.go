package shardserver

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// badTransactions are changes that make a good one-shard transaction one that is refused.
func badTransactions() map[string]struct {
	change func(*pb.Transaction)
	code   pb.Code
} {
	invalid, limit := pb.Code_CODE_INVALID_ARGUMENT, pb.Code_CODE_LIMIT
	type bad = struct {
		change func(*pb.Transaction)
		code   pb.Code
	}
	put := func(oid string) *pb.WriteEntry {
		return &pb.WriteEntry{Oid: []byte(oid), Kind: pb.WriteKind_WRITE_KIND_PUT}
	}
	return map[string]bad{
		"no attempt":         {func(t *pb.Transaction) { t.Attempt = nil }, invalid},
		"no id":              {func(t *pb.Transaction) { t.Attempt.Id = nil }, invalid},
		"short clerk":        {func(t *pb.Transaction) { t.Attempt.Id.Clerk = t.Attempt.Id.Clerk[:15] }, invalid},
		"long clerk":         {func(t *pb.Transaction) { t.Attempt.Id.Clerk = make([]byte, 17) }, invalid},
		"no home":            {func(t *pb.Transaction) { t.Attempt.Id.Home = 0 }, invalid},
		"attempt 0":          {func(t *pb.Transaction) { t.Attempt.Number = 0 }, invalid},
		"no timestamp":       {func(t *pb.Transaction) { t.Attempt.Timestamp = 0 }, invalid},
		"no participants":    {func(t *pb.Transaction) { t.Participants = nil }, invalid},
		"shard 0":            {func(t *pb.Transaction) { t.Participants = []uint32{0, 1} }, invalid},
		"home not in it":     {func(t *pb.Transaction) { t.Attempt.Id.Home = 2 }, invalid},
		"self not in it":     {func(t *pb.Transaction) { t.Participants = []uint32{2}; t.Attempt.Id.Home = 2 }, invalid},
		"participant twice":  {func(t *pb.Transaction) { t.Participants = []uint32{1, 1} }, invalid},
		"descending":         {func(t *pb.Transaction) { t.Participants = []uint32{2, 1} }, invalid},
		"too many shards":    {func(t *pb.Transaction) { t.Participants = make([]uint32, txn.ParticipantsMax+1) }, limit},
		"nothing to do":      {func(t *pb.Transaction) { t.Writes = nil }, invalid},
		"empty oid":          {func(t *pb.Transaction) { t.Writes[0].Oid = nil }, limit},
		"long oid":           {func(t *pb.Transaction) { t.Writes[0].Oid = make([]byte, txn.OIDBytesMax+1) }, limit},
		"long value":         {func(t *pb.Transaction) { t.Writes[0].Value = make([]byte, txn.ValueBytesMax+1) }, limit},
		"no kind":            {func(t *pb.Transaction) { t.Writes[0].Kind = 0 }, invalid},
		"kind 3":             {func(t *pb.Transaction) { t.Writes[0].Kind = 3 }, invalid},
		"kind 257":           {func(t *pb.Transaction) { t.Writes[0].Kind = 257 }, invalid},
		"delete a value":     {func(t *pb.Transaction) { t.Writes[0].Kind = pb.WriteKind_WRITE_KIND_DELETE }, invalid},
		"written twice":      {func(t *pb.Transaction) { t.Writes = append(t.Writes, t.Writes[0]) }, invalid},
		"writes descend":     {func(t *pb.Transaction) { t.Writes = []*pb.WriteEntry{put("b"), put("a")} }, invalid},
		"reads descend":      {func(t *pb.Transaction) { t.Reads = []*pb.ReadEntry{{Oid: []byte("b")}, {Oid: []byte("a")}} }, invalid},
		"reads an empty oid": {func(t *pb.Transaction) { t.Reads = []*pb.ReadEntry{{}} }, limit},
		"nil write":          {func(t *pb.Transaction) { t.Writes = []*pb.WriteEntry{nil} }, limit},
	}
}

func TestBadTransactionsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		server, member, s := c.shards[1].primary(), c.shards[1].group.members[0], &sequence{}
		logged := member.submissions()
		for name, bad := range badTransactions() {
			good := onePhaseRequest(s.transaction(c.stamp(), []txn.ShardID{1}, "value", c.key(1, 0)))
			bad.change(good.GetCommitOnePhase().GetTransaction())
			refusal := requireCode(t, bad.code, ask(t, server, good))
			if bad.code == pb.Code_CODE_LIMIT {
				require.NotEmpty(t, refusal.GetLimitName(), name)
				require.NotEqual(t, refusal.GetLimit(), refusal.GetActual(), name)
			}
			prepare := &pb.Request{Body: &pb.Request_PrepareTxn{PrepareTxn: &pb.PrepareTxnRequest{
				Transaction: good.GetCommitOnePhase().GetTransaction(),
			}}}
			requireCode(t, bad.code, ask(t, server, prepare))
		}
		several := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "value", c.key(1, 0))
		requireCode(t, pb.Code_CODE_INVALID_ARGUMENT, ask(t, server, onePhaseRequest(several)))
		require.Equal(t, logged, member.submissions(), "none of it was logged")
		require.Zero(t, sizesOf(server).InvariantBreaks)
		require.Zero(t, server.underWay.Load())
	})
}

func TestBadRequestsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, member := c.shards[1].primary(), c.shards[1].group.members[0]
		logged, good := member.submissions(), c.stamp()
		invalid, limit := pb.Code_CODE_INVALID_ARGUMENT, pb.Code_CODE_LIMIT
		tooMany := strings.Split(strings.Repeat("x,", txn.KeysMax)+"x", ",")
		for name, bad := range map[string]struct {
			request *pb.Request
			code    pb.Code
		}{
			"no body":               {&pb.Request{}, invalid},
			"not a shard's":         {&pb.Request{Body: &pb.Request_Timestamps{Timestamps: &pb.TimestampsRequest{Count: 1}}}, invalid},
			"nil read":              {&pb.Request{Body: &pb.Request_Read{}}, invalid},
			"read of nothing":       {readRequest(updateMode), invalid},
			"read without a mode":   {readRequest(0, "x"), invalid},
			"read in mode 3":        {readRequest(3, "x"), invalid},
			"read of an empty oid":  {readRequest(latestMode, "x", ""), limit},
			"read of a long oid":    {readRequest(latestMode, strings.Repeat("x", txn.OIDBytesMax+1)), limit},
			"read of too many":      {readRequest(updateMode, tooMany...), limit},
			"snapshot of nothing":   {snapshotRequest(good), invalid},
			"snapshot at 0":         {snapshotRequest(0, "x"), invalid},
			"snapshot of too many":  {snapshotRequest(good, tooMany...), limit},
			"nil prepare":           {&pb.Request{Body: &pb.Request_PrepareTxn{}}, invalid},
			"nil one phase":         {&pb.Request{Body: &pb.Request_CommitOnePhase{}}, invalid},
			"nil commit":            {&pb.Request{Body: &pb.Request_CommitTxn{}}, invalid},
			"commit of no attempt":  {&pb.Request{Body: &pb.Request_CommitTxn{CommitTxn: &pb.CommitTxnRequest{}}}, invalid},
			"abort of no attempt":   {&pb.Request{Body: &pb.Request_AbortTxn{AbortTxn: &pb.AbortTxnRequest{}}}, invalid},
			"fence of no attempt":   {&pb.Request{Body: &pb.Request_Fence{Fence: &pb.FenceRequest{}}}, invalid},
			"nil fence":             {&pb.Request{Body: &pb.Request_Fence{}}, invalid},
			"end of nothing":        {&pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{}}}, invalid},
			"end of a malformed id": {&pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{Ids: []*pb.TxnID{{}}}}}, invalid},
			"end of too many":       {&pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{Ids: make([]*pb.TxnID, txn.KeysMax+1)}}}, limit},
		} {
			response := ask(t, server, bad.request)
			require.Equal(t, bad.code, response.GetError().GetCode(), "%s: %v", name, response)
		}
		require.Equal(t, logged, member.submissions())
		require.Zero(t, server.underWay.Load())
	})
}

// Schedule 15: a timestamp from nowhere would stop all other writers of its keys for ever.
func TestTimestampFromNowhereIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		server, member, x, s := c.shards[1].primary(), c.shards[1].group.members[0], c.key(1, 0), &sequence{}
		s.put(t, c, 1, x, "old")
		logged := member.submissions()
		for _, ts := range []txn.Timestamp{c.stamp() + 1, 1 << 63, math.MaxUint64} {
			wild := s.transaction(ts, []txn.ShardID{1, 2}, "wild", x)
			for _, request := range []*pb.Request{
				snapshotRequest(ts, x), prepareRequest(wild), fenceRequest(wild.Attempt), abortRequest(wild.Attempt),
			} {
				requireCode(t, pb.Code_CODE_FUTURE_TIMESTAMP, ask(t, server, request))
			}
		}
		require.Equal(t, logged, member.submissions())
		s.put(t, c, 1, x, "new")
		requireValue(t, "new", ask(t, server, snapshotRequest(c.stamp(), x)))
	})
}

// Everybody who waits for the bound shares a question that was asked after they came.
func TestBoundIsAskedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, x := c.shards[1].primary(), c.key(1, 0)
		refreshes := c.refreshCount()
		gate := make(chan struct{})
		c.mu.Lock()
		c.refresh = gate
		c.mu.Unlock()
		first := begin(server, snapshotRequest(c.stamp(), x), time.Time{})
		require.False(t, first.answered())
		var others []*pending
		for range 20 {
			others = append(others, begin(server, snapshotRequest(c.stamp(), x), time.Time{}))
		}
		require.False(t, others[0].answered())
		require.Equal(t, refreshes+1, c.refreshCount())
		close(gate)
		requireAbsent(t, first.await(t))
		for _, other := range others {
			requireAbsent(t, other.await(t))
		}
		require.Equal(t, refreshes+2, c.refreshCount())
		requireAbsent(t, ask(t, server, snapshotRequest(c.last, x)))
		require.Equal(t, refreshes+2, c.refreshCount(), "a timestamp known to be good needs no question")
	})
}

func TestSilentCoordinatorMakesNewTimestampsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		known := s.put(t, c, 1, x, "old")
		c.setSilent(errSilent)
		requireCode(t, pb.Code_CODE_UNAVAILABLE, ask(t, server, snapshotRequest(known+1, x)))
		requireValue(t, "old", ask(t, server, snapshotRequest(known, x)))
	})
}

func TestWrongShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		server, mine, other, s := c.shards[1].primary(), c.key(1, 0), c.key(2, 0), &sequence{}
		logged := c.shards[1].group.members[0].submissions()
		writer := s.transaction(c.stamp(), []txn.ShardID{1}, "value", other)
		reader := s.transaction(c.stamp(), []txn.ShardID{1}, "value", mine)
		reader.Reads = []txn.ReadEntry{{OID: other, Shard: 1}}
		for _, request := range append(everyRead(c, other), prepareRequest(writer), onePhaseRequest(reader)) {
			refusal := requireCode(t, pb.Code_CODE_WRONG_SHARD, ask(t, server, request))
			require.Equal(t, uint64(1), refusal.GetMapVersion())
			require.Contains(t, refusal.GetMessage(), other)
		}
		require.Equal(t, logged, c.shards[1].group.members[0].submissions())
	})
}

// What the group says of a proposal that certainly did not happen is told as such, and leaves nothing in flight.
func TestCertainRefusalsOfTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		lead := leadOf(server)
		for err, code := range map[error]pb.Code{
			replication.ErrOverloaded: pb.Code_CODE_OVERLOADED,
			replication.ErrTooLarge:   pb.Code_CODE_LIMIT,
			replication.ErrClosed:     pb.Code_CODE_UNAVAILABLE,
		} {
			c.shards[1].group.members[0].setRefuse(err)
			writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
			end := &pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{
				Ids: []*pb.TxnID{prepareRequest(writer).GetPrepareTxn().GetTransaction().GetAttempt().GetId()},
			}}}
			for _, request := range []*pb.Request{prepareRequest(writer), fenceRequest(writer.Attempt), commitRequest(writer.Attempt), end} {
				requireCode(t, code, ask(t, server, request))
			}
		}
		require.Zero(t, locked(server, server.front.InFlight))
		require.Same(t, lead, leadOf(server))
		c.shards[1].group.members[0].setRefuse(nil)
		requireAbsent(t, ask(t, server, snapshotRequest(c.stamp(), x)))
	})
}

func TestBackupNamesThePrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, nil)
		defer c.close()
		s := &sequence{}
		backup, x := c.shards[1].servers[2], c.key(1, 0)
		writer := s.transaction(c.stamp(), []txn.ShardID{1}, "new", x)
		for _, request := range append(everyRead(c, x), onePhaseRequest(writer), fenceRequest(writer.Attempt)) {
			refusal := requireCode(t, pb.Code_CODE_NOT_PRIMARY, ask(t, backup, request))
			require.Equal(t, "shard-1.replica-1:1", refusal.GetPrimaryAddress())
		}
	})
}

func TestRequestIsNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		s := &sequence{}
		request := onePhaseRequest(s.transaction(c.stamp(), []txn.ShardID{1}, "new", c.key(1, 0)))
		before := proto.Clone(request)
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, c.shards[1].primary(), request))
		require.True(t, proto.Equal(before, request))
	})
}
