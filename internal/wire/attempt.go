package wire

import (
	"errors"
	"fmt"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// ErrMalformed is what every error of this package is, unless it is a *txn.LimitError.
var ErrMalformed = errors.New("wire: malformed message")

func malformed(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, arguments...))
}

// ID converts a transaction's id.
func ID(id txn.TxnID) *pb.TxnID {
	return &pb.TxnID{Clerk: id.Clerk[:], Sequence: id.Sequence, Home: uint32(id.Home)}
}

// ParseID reads a transaction's id: 16 bytes of clerk and a home shard.
func ParseID(message *pb.TxnID) (txn.TxnID, error) {
	id := txn.TxnID{Sequence: message.GetSequence(), Home: txn.ShardID(message.GetHome())}
	if len(message.GetClerk()) != len(id.Clerk) {
		return txn.TxnID{}, malformed("a clerk's id has %d bytes, not %d", len(message.GetClerk()), len(id.Clerk))
	}
	if id.Home == 0 {
		return txn.TxnID{}, malformed("a transaction has no home shard")
	}
	copy(id.Clerk[:], message.GetClerk())
	return id, nil
}

// Attempt converts an attempt.
func Attempt(a txn.Attempt) *pb.Attempt {
	return &pb.Attempt{Id: ID(a.ID), Number: a.Number, Timestamp: uint64(a.TS)}
}

// ParseAttempt reads an attempt: a good id, a number from 1 and a timestamp.
func ParseAttempt(message *pb.Attempt) (txn.Attempt, error) {
	id, err := ParseID(message.GetId())
	if err != nil {
		return txn.Attempt{}, err
	}
	if message.GetNumber() == 0 {
		return txn.Attempt{}, malformed("an attempt has number 0")
	}
	if message.GetTimestamp() == 0 {
		return txn.Attempt{}, malformed("an attempt has no timestamp")
	}
	return txn.Attempt{ID: id, Number: message.GetNumber(), TS: txn.Timestamp(message.GetTimestamp())}, nil
}

// Verdict converts a shard's answer.
func Verdict(v txn.Verdict) *pb.Verdict {
	message := &pb.Verdict{
		Status: pb.Status(v.Status), Reason: pb.Reason(v.Reason), Shard: uint32(v.Shard), View: v.View, Op: uint64(v.Op),
		Timestamp: uint64(v.Attempt.TS), Attempt: v.Attempt.Number, Participants: Shards(v.Participants),
	}
	for _, oid := range v.OIDs {
		message.Oids = append(message.Oids, []byte(oid))
	}
	if v.Other != (txn.Attempt{}) {
		message.Other = Attempt(v.Other)
	}
	return message
}

// ParseVerdict reads a shard's answer about an attempt of the transaction that the caller asked about.
func ParseVerdict(message *pb.Verdict, id txn.TxnID) (txn.Verdict, error) {
	v := txn.Verdict{
		Status: txn.Status(message.GetStatus()), Reason: txn.Reason(message.GetReason()), Shard: txn.ShardID(message.GetShard()),
		View: message.GetView(), Op: txn.OpNumber(message.GetOp()), Participants: ParseShards(message.GetParticipants()),
		Attempt: txn.Attempt{ID: id, Number: message.GetAttempt(), TS: txn.Timestamp(message.GetTimestamp())},
	}
	// The numbers of the wire are wider than ours: they are checked as they came.
	if status, reason := message.GetStatus(), message.GetReason(); status <= 0 || status > pb.Status(txn.StatusForgotten) ||
		reason < 0 || reason > pb.Reason(txn.Invariant) {
		return txn.Verdict{}, malformed("a verdict has status %d and reason %d", message.GetStatus(), message.GetReason())
	}
	for _, oid := range message.GetOids() {
		v.OIDs = append(v.OIDs, string(oid))
	}
	if message.GetOther() != nil {
		other, err := ParseAttempt(message.GetOther())
		if err != nil {
			return txn.Verdict{}, err
		}
		v.Other = other
	}
	return v, nil
}

// Shards converts a list of shards.
func Shards(shards []txn.ShardID) []uint32 {
	if len(shards) == 0 {
		return nil
	}
	message := make([]uint32, len(shards))
	for i, shard := range shards {
		message[i] = uint32(shard)
	}
	return message
}

// ParseShards reads a list of shards; what the list has to satisfy is its reader's to check.
func ParseShards(message []uint32) []txn.ShardID {
	if len(message) == 0 {
		return nil
	}
	shards := make([]txn.ShardID, len(message))
	for i, shard := range message {
		shards[i] = txn.ShardID(shard)
	}
	return shards
}
