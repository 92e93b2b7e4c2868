package shardserver

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// commitWithoutEnd leaves so many commits of two shards whose END was lost.
func commitWithoutEnd(t *testing.T, c *cluster, s *sequence, shards []txn.ShardID, count int) {
	t.Helper()
	for range count {
		transaction := s.transaction(c.stamp(), shards, "new", c.key(shards[0], int(s.last%8)))
		for _, shard := range shards {
			part := *transaction
			part.Writes = []txn.WriteEntry{{OID: c.key(shard, int(s.last%8)), Kind: txn.Put, Value: []byte("new")}}
			requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, c.shards[shard].primary(), prepareRequest(&part)))
		}
		for _, shard := range shards {
			requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, c.shards[shard].primary(), commitRequest(transaction.Attempt)))
		}
	}
}

// While a shard is away for long, commits that wait for it pile up before all others. The others are ended all
// the same, and those too as soon as it is back.
func TestCommitsThatWaitForAShardDoNotHoldTheOthersUp(t *testing.T) {
	for _, stuck := range []int{300, unendedScanMax + 100} {
		t.Run(fmt.Sprint(stuck), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3, 1, func(o *Options) {
					if o.Shard != 1 {
						o.RedriveAge = time.Hour // all depends on shard 1
					}
				})
				defer c.close()
				s, server := &sequence{}, c.shards[1].primary()
				var away atomic.Int64
				c.setLose(func(to txn.ShardID, _ *pb.Request) bool {
					if to == 3 {
						away.Add(1)
					}
					return to == 3
				})
				commitWithoutEnd(t, c, s, []txn.ShardID{1, 3}, stuck)
				commitWithoutEnd(t, c, s, []txn.ShardID{1, 2}, 5)
				require.Equal(t, stuck+5, sizesOf(server).Unended)
				pass(DefaultRedriveAge + time.Minute)
				require.Equal(t, stuck, sizesOf(server).Unended)
				require.Zero(t, sizesOf(c.shards[2].primary()).Unended)
				before := away.Load()
				pass(5 * time.Minute)
				require.Less(t, away.Load()-before, int64(350), "one commit at a time finds out whether the shard is back")
				c.setLose(nil)
				pass(2 * time.Minute)
				require.Zero(t, sizesOf(server).Unended)
				require.Zero(t, sizesOf(c.shards[3].primary()).Unended)
			})
		})
	}
}

func TestRedriverKnowsTheAge(t *testing.T) {
	r, start := redriver{age: 16 * time.Second}, time.Unix(1000, 0)
	at := func(millis int) time.Time { return start.Add(time.Duration(millis) * time.Millisecond) }
	require.Zero(t, r.see(at(0), 10))
	require.Zero(t, r.see(at(15_999), 20))
	require.EqualValues(t, 10, r.see(at(16_000), 20))
	for i := range 1000 {
		r.see(at(16_000+10*i), txn.Timestamp(30+i))
		require.LessOrEqual(t, len(r.sightings), sightingsPerAge+2)
	}
	old := r.see(at(42_000), 5000)
	require.Greater(t, old, txn.Timestamp(900), "at 25 to 26 s it was about 1,000")
	require.LessOrEqual(t, old, txn.Timestamp(1029))
	r.forget()
	require.Zero(t, r.see(at(60_000), 7000), "another process may have begun all of them a moment ago")
}
