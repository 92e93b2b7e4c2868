package shardserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

const (
	updateMode = pb.ReadMode_READ_MODE_UPDATE
	latestMode = pb.ReadMode_READ_MODE_LATEST
)

func TestReadsFindWhatWasCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		for _, mode := range []pb.ReadMode{updateMode, latestMode} {
			requireAbsent(t, ask(t, server, readRequest(mode, x)))
		}
		before := c.stamp()
		first := s.put(t, c, 1, x, "one")
		between := c.stamp()
		second := s.put(t, c, 1, x, "two")

		for _, mode := range []pb.ReadMode{updateMode, latestMode} {
			response := ask(t, server, readRequest(mode, x))
			require.Equal(t, uint64(second), requireValue(t, "two", response).GetVersion())
			require.Equal(t, uint64(locked(server, server.state.Applied)), response.GetRead().GetAt())
		}
		requireAbsent(t, ask(t, server, snapshotRequest(before, x)))
		require.Equal(t, uint64(first), requireValue(t, "one", ask(t, server, snapshotRequest(between, x))).GetVersion())
		requireValue(t, "one", ask(t, server, snapshotRequest(first, x)))
		requireValue(t, "two", ask(t, server, snapshotRequest(c.stamp(), x)))
	})
}

func TestReadAnswersInTheOrderOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, x, y, s := c.shards[1].primary(), c.key(1, 0), c.key(1, 1), &sequence{}
		s.put(t, c, 1, x, "x")
		s.put(t, c, 1, y, "y")
		for _, request := range []*pb.Request{readRequest(updateMode, y, x, y), snapshotRequest(c.stamp(), y, x, y)} {
			response := ask(t, server, request)
			values := response.GetRead().GetValues()
			if response.GetSnapshot() != nil {
				values = response.GetSnapshot().GetValues()
			}
			require.Len(t, values, 3)
			for i, want := range []string{"y", "x", "y"} {
				require.Equal(t, want, string(values[i].GetValue()))
			}
		}
	})
}

// A read of an update transaction waits for those who write its objects, prepared or in flight, and then sees
// what they wrote.
func TestUpdateReadWaitsForWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		server, x, y, s := c.shards[1].primary(), c.key(1, 0), c.key(1, 1), &sequence{}
		writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
		member := c.shards[1].group.members[0]
		member.hold(true, false)
		prepare := begin(server, prepareRequest(writer), time.Time{})
		require.False(t, prepare.answered())
		read := begin(server, readRequest(updateMode, y, x), time.Time{})
		require.False(t, read.answered(), "it is in flight")
		requireAbsent(t, ask(t, server, readRequest(updateMode, y)))

		member.release()
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, prepare.await(t))
		require.False(t, read.answered(), "it is prepared")

		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, commitRequest(writer.Attempt)))
		response := read.await(t)
		require.Equal(t, "new", string(response.GetRead().GetValues()[1].GetValue()))
		require.Equal(t, uint64(locked(server, server.state.Applied)), response.GetRead().GetAt())
	})
}

// It does not wait for long: validation makes what it sees safe.
func TestUpdateReadGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminateEarlyAfter = -1 })
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		s.put(t, c, 1, x, "old")
		writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(writer)))
		began := time.Now()
		read := begin(server, readRequest(updateMode, x), time.Time{})
		requireValue(t, "old", read.await(t))
		require.Equal(t, DefaultReadWait, time.Since(began).Truncate(time.Millisecond))
	})
}

// A latest read goes by a round that began after it came, and waits for whatever is prepared: its clerk may
// have been told already that it committed.
func TestLatestReadConfirmsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminateEarlyAfter = -1 })
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		member := c.shards[1].group.members[0]
		s.put(t, c, 1, x, "old")

		member.hold(false, true)
		read := begin(server, readRequest(latestMode, x), time.Time{})
		require.False(t, read.answered(), "nobody has confirmed that this is the primary")
		writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(writer)))
		member.release()
		require.False(t, read.answered(), "a writer is prepared")
		pass(10 * DefaultReadWait)
		require.False(t, read.answered(), "it is not decided yet, however long that takes")
		requireStatus(t, txn.StatusAborted, txn.Fenced, ask(t, server, abortRequest(writer.Attempt)))
		requireValue(t, "old", read.await(t))
	})
}

// Schedule 2: a snapshot read sees a transaction that is proposed and not yet applied.
func TestSnapshotWaitsForWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminateEarlyAfter = -1 })
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		member := c.shards[1].group.members[0]
		writer, snapshot := s.transaction(c.stamp(), []txn.ShardID{1}, "new", x), c.stamp()
		later := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "later", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(later)))
		member.hold(true, false)
		write := begin(server, onePhaseRequest(writer), time.Time{})
		require.False(t, write.answered())
		read := begin(server, snapshotRequest(snapshot, x), time.Time{})
		require.False(t, read.answered())

		member.release()
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, write.await(t))
		requireValue(t, "new", read.await(t)) // the one above the snapshot is nothing to wait for
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, commitRequest(later.Attempt)))
		requireValue(t, "new", ask(t, server, snapshotRequest(snapshot, x)))
	})
}

// Schedule 3: the stamps are raised first, so nobody slips in while the read waits, be it for writers or for
// the round that confirms the primary.
func TestSnapshotRaisesBeforeItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminateEarlyAfter = -1 })
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		member := c.shards[1].group.members[0]
		first := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "first", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(first)))
		slow, snapshot := c.stamp(), c.stamp()

		member.hold(false, true)
		read := begin(server, snapshotRequest(snapshot, x), time.Time{})
		require.False(t, read.answered())
		refused := func() {
			for _, ts := range []txn.Timestamp{slow, snapshot} {
				late := s.transaction(ts, []txn.ShardID{1, 2}, "late", x)
				verdict := requireStatus(t, txn.StatusRefused, txn.ReadByLater, ask(t, server, prepareRequest(late)))
				require.Zero(t, verdict.GetOp())
			}
		}
		refused() // while the round is under way
		member.release()
		require.False(t, read.answered(), "the first one is prepared below the snapshot")
		refused() // while it waits
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, commitRequest(first.Attempt)))
		requireValue(t, "first", read.await(t))
		refused() // and after
	})
}

func TestWaitingEndsWithTheRequestsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminateEarlyAfter = -1 })
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		writer := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", x)
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(writer)))
		for _, request := range []*pb.Request{
			readRequest(updateMode, x), readRequest(latestMode, x), snapshotRequest(c.stamp(), x),
		} {
			began := time.Now()
			read := begin(server, request, began.Add(20*time.Millisecond))
			requireCode(t, pb.Code_CODE_DEADLINE, read.await(t))
			require.Equal(t, 20*time.Millisecond, time.Since(began).Truncate(time.Millisecond))
			requireCode(t, pb.Code_CODE_DEADLINE, begin(server, request, time.Now()).await(t))
		}
		require.Zero(t, locked(server, server.front.Waiting))
		require.Zero(t, parkedAt(server))
	})
}

func TestSnapshotBelowTheHorizonIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, func(o *Options) {
			o.ThresholdLag, o.VersionHorizonLag, o.RecordHorizonLag = time.Second, 2*time.Second, 3*time.Second
		})
		defer c.close()
		server, x, s := c.shards[1].primary(), c.key(1, 0), &sequence{}
		old := s.put(t, c, 1, x, "old")
		for range 10 {
			pass(time.Second)
			s.put(t, c, 1, x, "new")
		}
		requireCode(t, pb.Code_CODE_SNAPSHOT_TOO_OLD, ask(t, server, snapshotRequest(old, x)))
		requireValue(t, "new", ask(t, server, snapshotRequest(c.stamp(), x)))
	})
}
