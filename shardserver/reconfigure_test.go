package shardserver

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// become has the group take these for its members, however often that has to be asked for.
func (r *realShard) become(t *testing.T, ids ...replication.ReplicaID) {
	t.Helper()
	change := replication.Change{}
	for _, id := range ids {
		change.Members = append(change.Members, replication.Member{ID: id, Address: fmt.Sprintf("at-%d:1", id)})
	}
	for tries := 0; ; tries++ {
		leader := r.replicas[r.leader().options.Replica-1]
		change.Epoch = leader.Membership().Epoch + 1
		_, err := leader.Reconfigure(t.Context(), change)
		if err == nil {
			break
		}
		require.True(t, replication.DidNotHappen(err), err)
		require.Less(t, tries, 100, err)
		pass(50 * time.Millisecond)
	}
	pass(2 * time.Second)
}

// TestDoubtOutlivesTheMembers: what clerks have left prepared is finished by replicas none of which was a member then, and
// while the members change every increment that was acknowledged counts exactly once.
func TestDoubtOutlivesTheMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, real := newReal(t, func(o *Options) { o.InDoubtAge = time.Hour }) // none of these ever finishes anything
		defer real.close(t, c)
		pass(2 * time.Second)
		s := &sequence{}
		prepared(t, c, s, 0)
		halfway := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "halfway", c.key(1, 1))
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, c.shards[1].primary(), prepareRequest(halfway)))

		counter, count, stop := c.key(1, 5), 0, make(chan struct{})
		var caller sync.WaitGroup
		caller.Go(func() {
			s := &sequence{last: 1 << 40}
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if done, err := increment(c, s, counter); done && err == nil {
					count++
				}
			}
		})
		for range 3 {
			real.boot(t, c, true, nil)
		}
		pass(2 * time.Second)
		real.become(t, 2, 3, 4)
		real.become(t, 4, 5, 6)
		for i, left := range real.servers[:3] { // the first left earlier: it may name one that has left since, who knows more
			refusal := requireCode(t, pb.Code_CODE_NOT_PRIMARY, ask(t, left, readRequest(latestMode, counter)))
			require.EqualValues(t, min(i+1, 2), refusal.GetEpoch())
			require.Contains(t, [][]string{{"at-2:1", "at-3:1", "at-4:1"}, {"at-4:1", "at-5:1", "at-6:1"}}[min(i, 1)], refusal.GetPrimaryAddress())
		}
		for i := range 3 {
			require.Equal(t, "left", real.replicas[i].Status().Protocol)
			require.NoError(t, real.servers[i].Close())
			require.NoError(t, real.replicas[i].Close())
		}
		pass(2 * DefaultInDoubtAge)
		close(stop)
		caller.Wait()
		require.Greater(t, count, 50)
		leader := c.shards[1].primary()
		require.GreaterOrEqual(t, leader.options.Replica, replication.ReplicaID(4))
		requireValue(t, strconv.Itoa(count), ask(t, leader, readRequest(latestMode, counter)))
		requireValue(t, "new", ask(t, leader, readRequest(latestMode, c.key(1, 0))))
		requireValue(t, "new", ask(t, c.shards[2].primary(), readRequest(latestMode, c.key(2, 0))))
		requireAbsent(t, ask(t, leader, readRequest(latestMode, c.key(1, 1))))
		require.Zero(t, sizesOf(leader).Prepared)
		require.Zero(t, sizesOf(leader).InvariantBreaks)
		require.NotZero(t, leader.counts.terminations.Load())
	})
}
