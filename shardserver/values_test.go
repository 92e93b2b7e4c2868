package shardserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// sequence numbers the transactions of a test.
type sequence struct{ last uint64 }

// transaction makes a new transaction of some shards, the first of which is its home, that puts a value into
// objects.
func (s *sequence) transaction(ts txn.Timestamp, participants []txn.ShardID, value string, oids ...string) *txn.Transaction {
	s.last++
	t := &txn.Transaction{
		Attempt: txn.Attempt{
			ID: txn.TxnID{Clerk: txn.ClerkID{1}, Sequence: s.last, Home: participants[0]}, Number: 1, TS: ts,
		},
		Participants: participants,
	}
	for _, oid := range oids {
		t.Writes = append(t.Writes, txn.WriteEntry{OID: oid, Kind: txn.Put, Value: []byte(value)})
	}
	return t
}

// put commits a value in one phase and returns when.
func (s *sequence) put(t testing.TB, c *cluster, shard txn.ShardID, oid, value string) txn.Timestamp {
	t.Helper()
	ts := c.stamp()
	response := ask(t, c.shards[shard].primary(), onePhaseRequest(s.transaction(ts, []txn.ShardID{shard}, value, oid)))
	requireStatus(t, txn.StatusCommitted, txn.ReasonNone, response)
	return ts
}

// requireValue wants a read of one object to have found a value.
func requireValue(t testing.TB, want string, response *pb.Response) *pb.Value {
	t.Helper()
	value := requireOne(t, response)
	require.True(t, value.GetPresent())
	require.Equal(t, want, string(value.GetValue()))
	return value
}

func requireAbsent(t testing.TB, response *pb.Response) {
	t.Helper()
	require.False(t, requireOne(t, response).GetPresent())
}

func requireOne(t testing.TB, response *pb.Response) *pb.Value {
	t.Helper()
	require.Nil(t, response.GetError(), "%v", response)
	values := response.GetRead().GetValues()
	if response.GetSnapshot() != nil {
		values = response.GetSnapshot().GetValues()
	}
	require.Len(t, values, 1)
	return values[0]
}

// pass lets virtual time go by and everything that is due then happen: a little more time than that, for what is
// due at the very moment at which the test wakes happens beside it.
func pass(duration time.Duration) {
	time.Sleep(duration + time.Microsecond)
	synctest.Wait()
}

// locked looks at something that a server's mutex guards.
func locked[T any](server *Server, look func() T) T {
	server.mu.Lock()
	defer server.mu.Unlock()
	return look()
}

func leadOf(server *Server) *lead { return locked(server, func() *lead { return server.lead }) }

func sizesOf(server *Server) history.Counters { return locked(server, server.state.Counters) }

// holds reports whether a server has an attempt prepared.
func holds(server *Server, attempt txn.Attempt) bool {
	return locked(server, func() bool { return server.state.IsPrepared(attempt) })
}

// parkedAt counts those who wait at a server, and those who have a time.
func parkedAt(server *Server) int {
	return locked(server, func() int { return len(server.parked.byID) + len(server.parked.times) })
}
