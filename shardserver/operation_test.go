package shardserver

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

func someTransaction() *txn.Transaction {
	s := &sequence{}
	t := s.transaction(1<<40, []txn.ShardID{1, 2, 7}, "value", "a", "b")
	t.Writes = append(t.Writes, txn.WriteEntry{OID: "c", Kind: txn.Delete})
	t.Reads = []txn.ReadEntry{{OID: "a", Version: 9, At: 3, Shard: 1}, {OID: "z", At: 4, Shard: 1}}
	t.MapVersion = 5
	return t
}

// someOperations are one of each kind, as messages and as what they mean.
func someOperations() map[string]struct {
	message *pb.ShardOperation
	want    history.Operation
} {
	t := someTransaction()
	single := someTransaction()
	single.Participants = []txn.ShardID{1}
	fence := &pb.FenceRequest{Attempt: wire.Attempt(t.Attempt), EveryLater: true}
	lead := history.Lead{Number: 3, View: 8, Floor: 1 << 30}
	advance := history.Advance{Lead: 3, Threshold: 30, VersionHorizon: 20, RecordHorizon: 10}
	own := history.Own{MapVersion: 2, Shard: 1, Slots: []uint16{0, 5, 1023}}
	return map[string]struct {
		message *pb.ShardOperation
		want    history.Operation
	}{
		"prepare":   {prepareOperation(4, wire.Transaction(t)), history.PrepareTxn{Lead: 4, Txn: t}},
		"one phase": {onePhaseOperation(4, wire.Transaction(single)), history.CommitOnePhase{Lead: 4, Txn: single}},
		"commit":    {commitOperation(wire.Attempt(t.Attempt)), history.CommitTxn{Attempt: t.Attempt}},
		"abort":     {abortOperation(wire.Attempt(t.Attempt)), history.AbortTxn{Attempt: t.Attempt}},
		"fence":     {fenceOperation(fence), history.Fence{Attempt: t.Attempt, EveryLater: true}},
		"end":       {endOperation(&pb.EndTxnRequest{Ids: []*pb.TxnID{wire.ID(t.ID)}}), history.EndTxn{IDs: []txn.TxnID{t.ID}}},
		"lead":      {leadOperation(lead), lead},
		"advance":   {advanceOperation(advance), advance},
		"own":       {ownOperation(own), own},
	}
}

func TestOperationsAreReadAsTheyWereWritten(t *testing.T) {
	for name, operation := range someOperations() {
		encoded, err := encodeOperation(operation.message)
		require.NoError(t, err, name)
		got, err := decodeOperation(encoded)
		require.NoError(t, err, name)
		require.Equal(t, operation.want, got, name)
	}
}

// Whatever the log holds has a result, and what makes no sense has no effect but to be counted.
func TestNonsenseInTheLogHasAResult(t *testing.T) {
	encode := func(message *pb.ShardOperation) []byte {
		encoded, err := proto.Marshal(message)
		require.NoError(t, err)
		return encoded
	}
	nonsense := map[string][]byte{
		"nothing":         {},
		"not a message":   {0xff, 0xff, 0xff},
		"no body":         encode(&pb.ShardOperation{Version: operationVersion}),
		"another version": encode(&pb.ShardOperation{Version: 2, Body: leadOperation(history.Lead{Number: 1}).GetBody()}),
		"slots descend":   encode(&pb.ShardOperation{Version: 1, Body: &pb.ShardOperation_Own{Own: &pb.OwnOperation{Shard: 1, Slots: []uint32{5, 4}}}}),
		"slot 1024":       encode(&pb.ShardOperation{Version: 1, Body: &pb.ShardOperation_Own{Own: &pb.OwnOperation{Shard: 1, Slots: []uint32{1024}}}}),
		"no transactions": encode(&pb.ShardOperation{Version: 1, Body: &pb.ShardOperation_EndTxn{EndTxn: &pb.EndTxnRequest{}}}),
		"no attempt":      encode(&pb.ShardOperation{Version: 1, Body: &pb.ShardOperation_CommitTxn{}}),
		"no participants": encode(&pb.ShardOperation{Version: 1, Body: &pb.ShardOperation_PrepareTxn{PrepareTxn: &pb.Transaction{}}}),
	}
	server, err := New(Options{Shard: 1, Replica: 1, Router: &cluster{}})
	require.NoError(t, err)
	op := uint64(0)
	for name, operation := range nonsense {
		_, err := decodeOperation(operation)
		require.ErrorIs(t, err, errOperation, name)
		op++
		results := server.Machine().Apply(replication.OpNumber(op), [][]byte{operation})
		require.Len(t, results, 1)
		result, err := decodeResult(results[0])
		require.NoError(t, err, name)
		require.False(t, result.GetTookEffect(), name)
		require.Equal(t, op, sizesOf(server).InvariantBreaks, name)
		require.Equal(t, txn.OpNumber(op), locked(server, server.state.Applied), name)
	}
	require.Zero(t, locked(server, server.state.LeadNumber))
	require.NoError(t, server.Close())
}

func FuzzDecodeOperation(f *testing.F) {
	for _, operation := range someOperations() {
		encoded, err := encodeOperation(operation.message)
		require.NoError(f, err)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		operation, err := decodeOperation(encoded)
		if err != nil {
			require.ErrorIs(t, err, errOperation)
			require.Nil(t, operation)
			return
		}
		var message pb.ShardOperation
		require.NoError(t, proto.Unmarshal(encoded, &message))
		again, err := encodeOperation(&message)
		require.NoError(t, err)
		same, err := decodeOperation(again)
		require.NoError(t, err)
		require.Equal(t, operation, same)
	})
}

// FuzzApply gives two replicas the same log, whatever it is: they must not fall over, and must come to the same
// state and the same results.
func FuzzApply(f *testing.F) {
	for _, operation := range someOperations() {
		encoded, err := encodeOperation(operation.message)
		require.NoError(f, err)
		f.Add(encoded, encoded)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		own, err := encodeOperation(ownOperation(history.Own{MapVersion: 1, Shard: 1, Slots: []uint16{1, 2, 3}}))
		require.NoError(t, err)
		lead, err := encodeOperation(leadOperation(history.Lead{Number: 1, View: 1, Floor: 5}))
		require.NoError(t, err)
		log := [][]byte{own, lead, first, second, first}
		var results [2][][]byte
		var hashes [2][32]byte
		for i := range results {
			server, err := New(Options{Shard: 1, Replica: replication.ReplicaID(i + 1), Router: &cluster{}})
			require.NoError(t, err)
			results[i] = server.Machine().Apply(1, log)
			hashes[i] = locked(server, server.state.Hash)
			require.NoError(t, server.Close())
		}
		require.Equal(t, results[0], results[1])
		require.Equal(t, hashes[0], hashes[1])
	})
}
