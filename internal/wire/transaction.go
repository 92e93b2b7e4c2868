package wire

import (
	"slices"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// Transaction converts one participant's part of an attempt.
func Transaction(t *txn.Transaction) *pb.Transaction {
	message := &pb.Transaction{
		Attempt: Attempt(t.Attempt), Participants: Shards(t.Participants), MapVersion: t.MapVersion,
		Reads: make([]*pb.ReadEntry, len(t.Reads)), Writes: make([]*pb.WriteEntry, len(t.Writes)),
	}
	for i, read := range t.Reads {
		message.Reads[i] = &pb.ReadEntry{
			Oid: []byte(read.OID), Version: uint64(read.Version), At: uint64(read.At), Shard: uint32(read.Shard),
		}
	}
	for i, write := range t.Writes {
		message.Writes[i] = &pb.WriteEntry{Oid: []byte(write.OID), Kind: pb.WriteKind(write.Kind), Value: write.Value}
	}
	return message
}

// ParseTransaction reads one participant's part of an attempt and holds it against everything that
// txn.Transaction promises, and against every limit (a *txn.LimitError).
func ParseTransaction(message *pb.Transaction) (*txn.Transaction, error) {
	attempt, err := ParseAttempt(message.GetAttempt())
	if err != nil {
		return nil, err
	}
	keys := len(message.GetReads()) + len(message.GetWrites())
	if keys > 2*txn.KeysMax {
		return nil, &txn.LimitError{Name: "keys of a transaction", Limit: txn.KeysMax, Actual: uint64(keys)}
	}
	t := &txn.Transaction{Attempt: attempt, MapVersion: message.GetMapVersion()}
	if t.Participants, err = parseParticipants(message.GetParticipants(), attempt.ID.Home); err != nil {
		return nil, err
	}
	if t.Reads, err = parseReads(message.GetReads()); err != nil {
		return nil, err
	}
	if t.Writes, err = parseWrites(message.GetWrites()); err != nil {
		return nil, err
	}
	if keys == 0 {
		return nil, malformed("a participant neither reads nor writes")
	}
	return t, CheckSize(t.Reads, t.Writes)
}

// CheckSize returns a *txn.LimitError if a transaction has more than 10,000 keys or 16 MiB.
func CheckSize(reads []txn.ReadEntry, writes []txn.WriteEntry) error {
	keys, size := 0, 0
	next := 0
	for _, write := range writes {
		keys++
		size += len(write.OID) + len(write.Value)
	}
	for _, read := range reads {
		size += len(read.OID)
		for next < len(writes) && writes[next].OID < read.OID {
			next++
		}
		if next == len(writes) || writes[next].OID != read.OID {
			keys++
		}
	}
	if keys > txn.KeysMax {
		return &txn.LimitError{Name: "keys of a transaction", Limit: txn.KeysMax, Actual: uint64(keys)}
	}
	if size > txn.TxnBytesMax {
		return &txn.LimitError{Name: "bytes of a transaction", Limit: txn.TxnBytesMax, Actual: uint64(size)}
	}
	return nil
}

func parseParticipants(message []uint32, home txn.ShardID) ([]txn.ShardID, error) {
	if len(message) > txn.ParticipantsMax {
		return nil, &txn.LimitError{Name: "participants of a transaction", Limit: txn.ParticipantsMax, Actual: uint64(len(message))}
	}
	participants := ParseShards(message)
	for i, shard := range participants {
		if shard == 0 || i > 0 && participants[i-1] >= shard {
			return nil, malformed("the participants are not ascending shards")
		}
	}
	if !slices.Contains(participants, home) {
		return nil, malformed("the home shard %d takes no part", home)
	}
	return participants, nil
}

func parseReads(message []*pb.ReadEntry) ([]txn.ReadEntry, error) {
	reads := make([]txn.ReadEntry, len(message))
	for i, entry := range message {
		oid := string(entry.GetOid())
		if err := txn.CheckOID(oid); err != nil {
			return nil, err
		}
		if i > 0 && reads[i-1].OID >= oid {
			return nil, malformed("the reads are not ascending by oid")
		}
		reads[i] = txn.ReadEntry{
			OID: oid, Version: txn.Timestamp(entry.GetVersion()), At: txn.OpNumber(entry.GetAt()), Shard: txn.ShardID(entry.GetShard()),
		}
	}
	return reads, nil
}

func parseWrites(message []*pb.WriteEntry) ([]txn.WriteEntry, error) {
	writes := make([]txn.WriteEntry, len(message))
	for i, entry := range message {
		oid, kind := string(entry.GetOid()), txn.WriteKind(entry.GetKind())
		if err := txn.CheckOID(oid); err != nil {
			return nil, err
		}
		if err := txn.CheckValue(entry.GetValue()); err != nil {
			return nil, err
		}
		if i > 0 && writes[i-1].OID >= oid {
			return nil, malformed("the writes are not ascending by oid")
		}
		switch {
		case entry.GetKind() != pb.WriteKind_WRITE_KIND_PUT && entry.GetKind() != pb.WriteKind_WRITE_KIND_DELETE:
			return nil, malformed("a write has kind %d", entry.GetKind())
		case kind == txn.Delete && len(entry.GetValue()) > 0:
			return nil, malformed("a delete has a value")
		}
		writes[i] = txn.WriteEntry{OID: oid, Kind: kind, Value: entry.GetValue()}
	}
	return writes, nil
}
