package shardserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
)

// clerk drives one transaction with the real machine, and dies where the test wants it to.
type clerk struct {
	cluster *cluster
	machine *commit.Machine
	events  chan commit.Event
	// dieAt is how many messages it sends and takes before it dies; negative: it does not.
	dieAt    int
	messages int
	outcome  *commit.Outcome
}

// newClerk makes a clerk that reads an object of every shard and puts a value into it.
func newClerk(c *cluster, id uint64, value string, dieAt int) *clerk {
	var parts []commit.Part
	for shard := txn.ShardID(1); int(shard) <= len(c.shards); shard++ {
		oid := c.key(shard, 0)
		value := ask(c.t, c.shards[shard].primary(), readRequest(updateMode, oid))
		read := requireOne(c.t, value)
		parts = append(parts, commit.Part{
			Shard: shard,
			Reads: []txn.ReadEntry{{
				OID: oid, Version: txn.Timestamp(read.GetVersion()), At: txn.OpNumber(value.GetRead().GetAt()), Shard: shard,
			}},
		})
	}
	for i := range parts {
		parts[i].Writes = []txn.WriteEntry{{OID: parts[i].Reads[0].OID, Kind: txn.Put, Value: []byte(value)}}
	}
	machine, err := commit.New(commit.Options{}, txn.TxnID{Clerk: txn.ClerkID{9}, Sequence: id, Home: 1}, parts, 1)
	require.NoError(c.t, err)
	return &clerk{cluster: c, machine: machine, events: make(chan commit.Event, 1024), dieAt: dieAt}
}

// run drives the transaction to its end, and reports whether the clerk lived to see it.
func (k *clerk) run() (lived bool) {
	actions := k.machine.Start()
	for {
		for _, action := range actions {
			switch action := action.(type) {
			case commit.Send:
				if !k.message() {
					return false
				}
				k.send(action)
			case commit.WantTimestamp:
				k.events <- commit.Timestamp{TS: k.cluster.stamp()}
			case commit.WantTimer:
				time.AfterFunc(time.Duration(action.Millis)*time.Millisecond, func() { k.events <- commit.Timer{Token: action.Token} })
			case commit.Answer:
				k.outcome = &action.Outcome
			case commit.Done:
				require.False(k.cluster.t, action.Contradiction)
				return true
			}
		}
		event := <-k.events
		if _, timer := event.(commit.Timer); !timer && !k.message() {
			return false
		}
		actions = k.machine.Step(event)
	}
}

func (k *clerk) message() bool {
	k.messages++
	return k.dieAt < 0 || k.messages <= k.dieAt
}

func (k *clerk) send(send commit.Send) {
	k.cluster.shards[send.Shard].primary().Handle(clerkRequest(send), time.Time{}, func(response *pb.Response) {
		if send.Kind == commit.EndTxn {
			return
		}
		if refusal := response.GetError(); refusal != nil {
			k.events <- commit.Failed{
				Send: send, Certain: refusal.GetCode() != pb.Code_CODE_OUTCOME_UNKNOWN && refusal.GetCode() != pb.Code_CODE_INTERNAL,
				WrongShard: refusal.GetCode() == pb.Code_CODE_WRONG_SHARD,
			}
			return
		}
		verdict, err := wire.ParseVerdict(response.GetVerdict(), send.Attempt.ID)
		require.NoError(k.cluster.t, err)
		k.events <- commit.Reply{Send: send, Verdict: verdict}
	})
}

func clerkRequest(send commit.Send) *pb.Request {
	switch send.Kind {
	case commit.PrepareTxn:
		return prepareRequest(send.Txn)
	case commit.CommitOnePhase:
		return onePhaseRequest(send.Txn)
	case commit.CommitTxn:
		return commitRequest(send.Attempt)
	case commit.AbortTxn:
		return abortRequest(send.Attempt)
	case commit.Fence:
		return fenceRequest(send.Attempt)
	default:
		return &pb.Request{Body: &pb.Request_EndTxn{EndTxn: &pb.EndTxnRequest{Ids: []*pb.TxnID{wire.ID(send.Attempt.ID)}}}}
	}
}

// requireSettled wants nothing prepared, no commit without an END, and no contradiction anywhere, and the same
// value everywhere, which it returns.
func requireSettled(t testing.TB, c *cluster) string {
	t.Helper()
	snapshot, values := c.stamp(), map[string]bool{}
	value := ""
	for shard := range c.shards {
		for _, server := range c.shards[shard].servers {
			sizes := sizesOf(server)
			require.Zero(t, sizes.Prepared, "shard %d", shard)
			require.Zero(t, sizes.Unended, "shard %d", shard)
			require.Zero(t, sizes.InvariantBreaks, "shard %d", shard)
			require.Zero(t, server.counts.contradictions.Load(), "shard %d", shard)
		}
		read := requireOne(t, ask(t, c.shards[shard].primary(), snapshotRequest(snapshot, c.key(shard, 0))))
		value = string(read.GetValue())
		values[value] = true
	}
	require.Len(t, values, 1, "the shards disagree: %v", values)
	return value
}
