package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

func sample() *txn.Transaction {
	return &txn.Transaction{
		Attempt:      txn.Attempt{ID: txn.TxnID{Clerk: txn.ClerkID{1, 2, 3}, Sequence: 7, Home: 2}, Number: 3, TS: 1000},
		Participants: []txn.ShardID{1, 2, 5},
		Reads:        []txn.ReadEntry{{OID: "a", Version: 5, At: 9, Shard: 2}, {OID: "b", Shard: 2, At: 1}},
		Writes: []txn.WriteEntry{
			{OID: "a", Kind: txn.Put, Value: []byte("x")}, {OID: "c", Kind: txn.Delete}, {OID: "d", Kind: txn.Put, Value: []byte("y")},
		},
		MapVersion: 4,
	}
}

func TestTransactionRoundTrip(t *testing.T) {
	parsed, err := ParseTransaction(Transaction(sample()))
	require.NoError(t, err)
	require.Equal(t, sample(), parsed)
}

func TestMalformedTransactionsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*pb.Transaction){
		"no attempt":               func(m *pb.Transaction) { m.Attempt = nil },
		"a short clerk":            func(m *pb.Transaction) { m.Attempt.Id.Clerk = []byte("x") },
		"no home":                  func(m *pb.Transaction) { m.Attempt.Id.Home = 0 },
		"attempt 0":                func(m *pb.Transaction) { m.Attempt.Number = 0 },
		"no timestamp":             func(m *pb.Transaction) { m.Attempt.Timestamp = 0 },
		"no participants":          func(m *pb.Transaction) { m.Participants = nil },
		"participants not sorted":  func(m *pb.Transaction) { m.Participants = []uint32{2, 1} },
		"participants repeated":    func(m *pb.Transaction) { m.Participants = []uint32{2, 2} },
		"shard 0 takes part":       func(m *pb.Transaction) { m.Participants = []uint32{0, 2} },
		"home takes no part":       func(m *pb.Transaction) { m.Participants = []uint32{1, 5} },
		"reads not sorted":         func(m *pb.Transaction) { m.Reads[1].Oid = []byte("A") },
		"a read repeated":          func(m *pb.Transaction) { m.Reads[1].Oid = []byte("a") },
		"writes not sorted":        func(m *pb.Transaction) { m.Writes[2].Oid = []byte("b") },
		"a write repeated":         func(m *pb.Transaction) { m.Writes[1].Oid = []byte("a") },
		"a write of unknown kind":  func(m *pb.Transaction) { m.Writes[0].Kind = 9 },
		"a kind that wraps around": func(m *pb.Transaction) { m.Writes[0].Kind = 257 },
		"a delete with a value":    func(m *pb.Transaction) { m.Writes[1].Value = []byte("v") },
		"nothing to do":            func(m *pb.Transaction) { m.Reads, m.Writes = nil, nil },
	} {
		message := Transaction(sample())
		spoil(message)
		_, err := ParseTransaction(message)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestLimitsAreTyped(t *testing.T) {
	many := func(count int) []*pb.ReadEntry {
		reads := make([]*pb.ReadEntry, count)
		for i := range reads {
			reads[i] = &pb.ReadEntry{Oid: []byte{byte(i >> 16), byte(i >> 8), byte(i)}}
		}
		return reads
	}
	big := make([]*pb.WriteEntry, 17)
	for i := range big {
		big[i] = &pb.WriteEntry{Oid: []byte{byte(i)}, Kind: pb.WriteKind_WRITE_KIND_PUT, Value: make([]byte, txn.ValueBytesMax)}
	}
	for name, spoil := range map[string]func(*pb.Transaction){
		"an empty oid":          func(m *pb.Transaction) { m.Reads[0].Oid = nil },
		"a long oid":            func(m *pb.Transaction) { m.Writes[2].Oid = []byte(strings.Repeat("z", txn.OIDBytesMax+1)) },
		"a long value":          func(m *pb.Transaction) { m.Writes[0].Value = make([]byte, txn.ValueBytesMax+1) },
		"many keys":             func(m *pb.Transaction) { m.Reads = many(txn.KeysMax + 1) },
		"very many keys":        func(m *pb.Transaction) { m.Reads = many(2*txn.KeysMax + 1) },
		"many bytes":            func(m *pb.Transaction) { m.Writes = big },
		"too many participants": func(m *pb.Transaction) { m.Participants = make([]uint32, txn.ParticipantsMax+1) },
	} {
		message := Transaction(sample())
		spoil(message)
		_, err := ParseTransaction(message)
		require.ErrorIs(t, err, txn.ErrLimit, name)
	}
	message := Transaction(sample())
	message.Reads = many(txn.KeysMax - 3)
	_, err := ParseTransaction(message)
	require.NoError(t, err, "exactly as many as there may be")
}

func TestVerdictRoundTrip(t *testing.T) {
	id := sample().ID
	verdict := txn.Verdict{
		Status: txn.StatusAborted, Reason: txn.StaleRead, Attempt: sample().Attempt, OIDs: []string{"a", "\xff"},
		Other: txn.Attempt{ID: txn.TxnID{Home: 1}, Number: 1, TS: 4}, Shard: 2, View: 9, Op: 77, Participants: []txn.ShardID{1, 2},
	}
	parsed, err := ParseVerdict(Verdict(verdict), id)
	require.NoError(t, err)
	require.Equal(t, verdict, parsed)
	require.True(t, parsed.Logged())

	for _, bad := range []*pb.Verdict{nil, {}, {Status: 99}, {Status: 257}, {Status: -1}, {Status: 1, Reason: 200}, {Status: 1, Reason: 257}, {Status: 1, Other: &pb.Attempt{Number: 1}}} {
		_, err := ParseVerdict(bad, id)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

// FuzzParseTransaction: whatever bytes come, the answer is a typed error or a transaction that keeps every
// promise of its type and converts back to the same.
func FuzzParseTransaction(f *testing.F) {
	data, err := proto.Marshal(Transaction(sample()))
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		message := &pb.Transaction{}
		if proto.Unmarshal(data, message) != nil {
			return
		}
		parsed, err := ParseTransaction(message)
		if err != nil {
			return
		}
		again, err := ParseTransaction(Transaction(parsed))
		require.NoError(t, err)
		require.Equal(t, parsed, again)
	})
}
