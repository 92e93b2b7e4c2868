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
	"github.com/viewline/viewline/txn/commit"
)

// Schedule 24: the clerk dies at each message boundary of its commit, enumerated.
func TestClerkDiesAtEachMessage(t *testing.T) {
	outcomes := map[string]int{}
	for dieAt, lived := 0, false; !lived; dieAt++ {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 2, 1, nil)
			defer c.close()
			require.True(t, newClerk(c, 1, "old", -1).run())
			k := newClerk(c, 2, "new", dieAt)
			lived = k.run()
			synctest.Wait()
			pass(DefaultInDoubtAge + time.Second)
			for shard := range c.shards {
				require.Zero(t, sizesOf(c.shards[shard].primary()).Prepared, "in doubt after the age, died at %d", dieAt)
			}
			pass(2 * DefaultRedriveAge)
			value := requireSettled(t, c)
			if k.outcome != nil {
				require.Equal(t, commit.Committed, k.outcome.Kind)
				require.Equal(t, "new", value, "its caller was told that it committed")
			}
			outcomes[fmt.Sprintf("%s, answered %t", value, k.outcome != nil)]++
		})
	}
	for _, outcome := range []string{"old, answered false", "new, answered false", "new, answered true"} {
		require.NotZero(t, outcomes[outcome], "%v", outcomes)
	}
}

// Wherever the clerk died, its transaction is off every line two replicated rounds after the in-doubt age: one that
// fences all participants, and one that carries the decision to all of them.
func TestTerminationTakesTwoRounds(t *testing.T) {
	took := map[int]int{}
	for dieAt, lived := 0, false; !lived; dieAt++ {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3, 1, nil)
			defer c.close()
			require.True(t, newClerk(c, 1, "old", -1).run())
			lived = newClerk(c, 2, "new", dieAt).run()
			synctest.Wait()
			for shard := range c.shards {
				c.shards[shard].group.members[0].hold(true, false)
			}
			pass(DefaultInDoubtAge + DefaultScanInterval)
			rounds := 0
			for ; preparedAnywhere(c) && rounds < 10; rounds++ {
				for shard := range c.shards {
					c.shards[shard].group.members[0].round()
				}
				synctest.Wait()
			}
			require.LessOrEqual(t, rounds, 2, "died at %d", dieAt)
			took[rounds]++
			for shard := range c.shards {
				c.shards[shard].group.members[0].release()
			}
			pass(2 * DefaultRedriveAge)
			requireSettled(t, c)
		})
	}
	require.Greater(t, took[2], 3, "%v", took)
}

func preparedAnywhere(c *cluster) bool {
	for shard := range c.shards {
		if sizesOf(c.shards[shard].primary()).Prepared > 0 {
			return true
		}
	}
	return false
}

// While the shards do not hear each other for a while after the clerk's death: nothing is decided by one of them alone.
func TestClerkDiesWhileTheShardsAreApart(t *testing.T) {
	for dieAt, lived := 0, false; !lived; dieAt++ {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3, 1, nil)
			defer c.close()
			require.True(t, newClerk(c, 1, "old", -1).run())
			c.setLose(func(txn.ShardID, *pb.Request) bool { return true })
			k := newClerk(c, 2, "new", dieAt)
			lived = k.run()
			synctest.Wait()
			prepared := make(map[txn.ShardID]int)
			for shard := range c.shards {
				prepared[shard] = sizesOf(c.shards[shard].primary()).Prepared
			}
			pass(time.Minute)
			for shard := range c.shards {
				require.Equal(t, prepared[shard], sizesOf(c.shards[shard].primary()).Prepared, "died at %d", dieAt)
			}
			c.setLose(nil)
			pass(2 * time.Minute)
			value := requireSettled(t, c)
			require.True(t, k.outcome == nil || value == "new")
		})
	}
}

// Requests between the terminators get lost, one kind or the other, now and then: they try again.
func TestTerminationRidesOverLostMessages(t *testing.T) {
	for every := 2; every <= 4; every++ {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3, 1, nil)
			defer c.close()
			require.True(t, newClerk(c, 1, "old", -1).run())
			sent := 0
			c.setLose(func(txn.ShardID, *pb.Request) bool { sent++; return sent%every != 0 })
			newClerk(c, 2, "new", 6).run() // all are prepared
			pass(5 * time.Minute)
			require.Equal(t, "new", requireSettled(t, c))
			require.Greater(t, sent, 4)
		})
	}
}

// prepared leaves a transaction prepared at shards 1 and 2 whose clerk is gone.
func prepared(t *testing.T, c *cluster, s *sequence, n int) *txn.Transaction {
	t.Helper()
	transaction := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", c.key(1, n))
	requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, c.shards[1].primary(), prepareRequest(transaction)))
	transaction.Writes = []txn.WriteEntry{{OID: c.key(2, n), Kind: txn.Put, Value: []byte("new")}}
	requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, c.shards[2].primary(), prepareRequest(transaction)))
	return transaction
}

// Whoever waits for a prepared transaction for more than a moment has it terminated, long before its age.
func TestWaitersStartTerminationEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		s := &sequence{}
		prepared(t, c, s, 0)
		began := time.Now()
		var reads []*pending
		for range 10 {
			reads = append(reads, begin(c.shards[1].primary(), snapshotRequest(c.stamp(), c.key(1, 0)), time.Time{}))
		}
		for _, read := range reads {
			requireValue(t, "new", read.await(t))
		}
		require.Equal(t, DefaultTerminateEarlyAfter, time.Since(began).Truncate(time.Millisecond))
		require.Equal(t, uint64(1), c.shards[1].primary().counts.terminations.Load(), "once for all who wait")
	})
}

func TestEarlyTerminationsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.EarlyTerminationsPerSecond = 2; o.InDoubtAge = time.Hour })
		defer c.close()
		s, server := &sequence{}, c.shards[1].primary()
		var reads []*pending
		for i := range 5 {
			prepared(t, c, s, i)
		}
		for i := range 5 {
			reads = append(reads, begin(server, snapshotRequest(c.stamp(), c.key(1, i)), time.Time{}))
		}
		pass(100 * time.Millisecond)
		for _, want := range []int{2, 4, 5} { // those that meet the limit wait for the next second, not for their age
			answered := 0
			for _, read := range reads {
				if read.answered() {
					answered++
				}
			}
			require.Equal(t, want, answered)
			require.Equal(t, uint64(want), server.counts.terminations.Load())
			pass(time.Second)
		}
	})
}

// What waits for an early end is bounded; the rest waits for its age.
func TestHurriedAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.EarlyTerminationsPerSecond = 1; o.ScanInterval = time.Hour })
		defer c.close()
		terminator := c.shards[1].primary().terminator
		for round := range 3 {
			attempts := make([]txn.Attempt, hurriedMax)
			for i := range attempts {
				attempts[i].ID.Sequence = uint64(round*hurriedMax + i + 1)
			}
			terminator.hurry(attempts)
			if round < 2 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		require.LessOrEqual(t, len(terminator.waiting), hurriedMax)
		require.LessOrEqual(t, len(terminator.hurried), hurriedMax)
	})
}

// One that gave up, because another shard did not answer, is followed by the next one after another such age.
func TestTerminationsComeOncePerAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.InDoubtAge = time.Minute })
		defer c.close()
		c.setLose(func(txn.ShardID, *pb.Request) bool { return true })
		prepared(t, c, &sequence{}, 0)
		pass(4*time.Minute + time.Second)
		began := c.shards[1].primary().counts.terminations.Load()
		require.Greater(t, began, uint64(1), "it is tried again")
		require.LessOrEqual(t, began, uint64(4))
		c.setLose(nil)
		pass(2 * time.Minute)
		require.Equal(t, "new", requireSettled(t, c))
	})
}

func TestTerminationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.TerminationsMax = 2 })
		defer c.close()
		s, server := &sequence{}, c.shards[1].primary()
		c.setLose(func(txn.ShardID, *pb.Request) bool { return true })
		for i := range 7 {
			prepared(t, c, s, i)
		}
		pass(DefaultInDoubtAge + time.Second)
		require.Equal(t, uint64(2), server.counts.terminations.Load())
		c.setLose(nil)
		pass(10 * time.Minute)
		require.Zero(t, sizesOf(server).Prepared)
		require.Zero(t, sizesOf(c.shards[2].primary()).Prepared)
	})
}

// Transactions in doubt that wait for a shard which is away do not take the turns of those that can be ended.
func TestTransactionsInDoubtHaveTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1, func(o *Options) { o.TerminationsMax = 2 })
		defer c.close()
		s, server := &sequence{}, c.shards[1].primary()
		c.setLose(func(to txn.ShardID, _ *pb.Request) bool { return to == 3 })
		for i := range 6 {
			stuck := s.transaction(c.stamp(), []txn.ShardID{1, 3}, "new", c.key(1, i))
			requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(stuck)))
		}
		free := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", c.key(1, 6))
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(free)))
		pass(3 * time.Minute)
		require.False(t, holds(server, free.Attempt))
		require.Equal(t, 6, sizesOf(server).Prepared)
	})
}

// The age goes by what each process saw itself, so a new primary need not begin anew; and what its predecessor
// had begun is begun again.
func TestNewPrimaryTerminates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		defer c.close()
		s, group := &sequence{}, c.shards[1].group
		c.setLose(func(txn.ShardID, *pb.Request) bool { return true })
		transaction := prepared(t, c, s, 0)
		pass(DefaultInDoubtAge + time.Second/2)
		require.Equal(t, uint64(1), c.shards[1].servers[0].counts.terminations.Load(), "under way, but nobody answers")
		c.setLose(nil)
		c.shards[2].group.members[0].setRefuse(errSilent) // shard 2 does not help
		group.lead(group.members[1])
		c.shards[2].group.members[0].setRefuse(nil)
		pass(DefaultScanInterval)
		synctest.Wait()
		require.Equal(t, uint64(1), c.shards[1].servers[1].counts.terminations.Load())
		require.False(t, holds(c.shards[1].servers[1], transaction.Attempt))
		require.Zero(t, sizesOf(c.shards[2].primary()).Prepared)
		requireValue(t, "new", ask(t, c.shards[1].servers[1], readRequest(latestMode, c.key(1, 0))))
	})
}

// Whoever does not serve any more terminates nothing.
func TestDeposedPrimaryDropsItsTerminations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 3, nil)
		defer c.close()
		transaction := prepared(t, c, &sequence{}, 0)
		var sent atomic.Int64
		c.setLose(func(txn.ShardID, *pb.Request) bool { sent.Add(1); return true })
		pass(DefaultInDoubtAge + 5*time.Second)
		require.Greater(t, sent.Load(), int64(4), "both shards ask, and ask again")
		c.setSilent(errSilent) // nobody gets a new Lead
		for _, shard := range c.shards {
			shard.group.lead(shard.group.members[1])
		}
		pass(DefaultScanInterval)
		before := sent.Load()
		pass(time.Minute)
		require.Equal(t, before, sent.Load())
		require.True(t, holds(c.shards[1].servers[1], transaction.Attempt))
	})
}

// A transaction that is too young, or that is alone, is nobody's business; one in doubt that another shard never
// prepared is aborted.
func TestInDoubtTransactionThatNeverPreparedElsewhereAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		s, server := &sequence{}, c.shards[1].primary()
		half := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "new", c.key(1, 0))
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(half)))
		pass(DefaultInDoubtAge - 2*DefaultScanInterval)
		require.True(t, holds(server, half.Attempt))
		pass(4 * DefaultScanInterval)
		require.False(t, holds(server, half.Attempt))
		requireAbsent(t, ask(t, server, readRequest(latestMode, c.key(1, 0))))
		late := s.transaction(half.TS, []txn.ShardID{1, 2}, "new", c.key(2, 0))
		late.Attempt = half.Attempt
		requireStatus(t, txn.StatusAborted, txn.Fenced, ask(t, c.shards[2].primary(), prepareRequest(late)))
		status := &pb.ReplicaStatus{}
		server.Describe(status, true)
		require.Equal(t, uint64(1), status.GetCounters()["terminations.aborted"])
		require.Equal(t, uint64(1), status.GetCounters()["txn_aborted.fenced"])
	})
}

// Commits of several shards whose END was lost are told to all of them again, and then ended.
func TestCommitsWithoutAnEndAreDrivenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, nil)
		defer c.close()
		s := &sequence{}
		transaction := prepared(t, c, s, 0)
		for shard := txn.ShardID(1); shard <= 2; shard++ {
			requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, c.shards[shard].primary(), commitRequest(transaction.Attempt)))
			require.Equal(t, 1, sizesOf(c.shards[shard].primary()).Unended)
		}
		pass(DefaultRedriveAge - DefaultScanInterval)
		require.Equal(t, 1, sizesOf(c.shards[1].primary()).Unended, "its clerk may still send the END")
		pass(2 * redriveScanEvery * DefaultScanInterval)
		require.Equal(t, "new", requireSettled(t, c))
	})
}
