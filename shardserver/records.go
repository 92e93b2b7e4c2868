package shardserver

import (
	"fmt"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// checkpointRecord converts one element of a checkpoint.
func checkpointRecord(record history.Record) (*pb.CheckpointRecord, error) {
	switch record := record.(type) {
	case history.Header:
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Header{Header: headerMessage(record)}}, nil
	case history.Object:
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Object{Object: objectMessage(record)}}, nil
	case history.Prepared:
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Prepared{Prepared: &pb.CheckpointPrepared{
			Transaction: wire.Transaction(record.Txn), Op: uint64(record.Op),
		}}}, nil
	case history.Decision:
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Decision{Decision: &pb.CheckpointDecision{
			Attempt: wire.Attempt(record.Attempt), Status: pb.Status(record.Status), Reason: pb.Reason(record.Reason),
			Participants: wire.Shards(record.Participants), Ended: record.Ended, Closed: record.Closed, Op: uint64(record.Op),
		}}}, nil
	case history.ReadStamp:
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_ReadStamp{ReadStamp: &pb.CheckpointReadStamp{
			Oid: []byte(record.OID), Timestamp: uint64(record.TS),
		}}}, nil
	default:
		return nil, fmt.Errorf("shardserver: a checkpoint's record of type %T", record)
	}
}

func headerMessage(header history.Header) *pb.CheckpointHeader {
	return &pb.CheckpointHeader{
		Version: checkpointVersion, Shard: uint32(header.Shard), LeadNumber: header.LeadNumber, LeadView: header.LeadView,
		Floor: uint64(header.Floor), Threshold: uint64(header.Threshold), VersionHorizon: uint64(header.VersionHorizon),
		RecordHorizon: uint64(header.RecordHorizon), ReadStampLow: uint64(header.ReadStampLow), Applied: uint64(header.Applied),
		Owns: header.Owned, MapVersion: header.MapVersion, Slots: slotNumbers(header.Slots), InvariantBreaks: header.InvariantBreaks,
	}
}

func objectMessage(object history.Object) *pb.CheckpointObject {
	message := &pb.CheckpointObject{Oid: []byte(object.OID), Versions: make([]*pb.CheckpointVersion, len(object.Versions))}
	for i, version := range object.Versions {
		message.Versions[i] = &pb.CheckpointVersion{
			Timestamp: uint64(version.TS), Installed: uint64(version.Installed), Kind: pb.WriteKind(version.Kind), Value: version.Value,
		}
	}
	return message
}

// parseCheckpointRecord reads one element of a checkpoint other than its end. What the elements must be to
// each other is history's to check.
func parseCheckpointRecord(message *pb.CheckpointRecord) (history.Record, error) {
	switch body := message.GetBody().(type) {
	case *pb.CheckpointRecord_Header:
		return parseHeader(body.Header)
	case *pb.CheckpointRecord_Object:
		return parseObject(body.Object)
	case *pb.CheckpointRecord_Prepared:
		transaction, err := wire.ParseTransaction(body.Prepared.GetTransaction())
		return history.Prepared{Txn: transaction, Op: txn.OpNumber(body.Prepared.GetOp())}, err
	case *pb.CheckpointRecord_Decision:
		return parseDecision(body.Decision)
	case *pb.CheckpointRecord_ReadStamp:
		oid := string(body.ReadStamp.GetOid())
		return history.ReadStamp{OID: oid, TS: txn.Timestamp(body.ReadStamp.GetTimestamp())}, txn.CheckOID(oid)
	default:
		return nil, malformedCheckpoint("a record has no body that is known here")
	}
}

func parseHeader(message *pb.CheckpointHeader) (history.Record, error) {
	if message.GetVersion() != checkpointVersion {
		return nil, malformedCheckpoint("format version %d, not %d", message.GetVersion(), checkpointVersion)
	}
	slots, err := parseSlots(message.GetSlots())
	return history.Header{
		Shard: txn.ShardID(message.GetShard()), Applied: txn.OpNumber(message.GetApplied()), LeadNumber: message.GetLeadNumber(),
		LeadView: message.GetLeadView(), Floor: txn.Timestamp(message.GetFloor()), Threshold: txn.Timestamp(message.GetThreshold()),
		VersionHorizon: txn.Timestamp(message.GetVersionHorizon()), RecordHorizon: txn.Timestamp(message.GetRecordHorizon()),
		ReadStampLow: txn.Timestamp(message.GetReadStampLow()), Owned: message.GetOwns(), MapVersion: message.GetMapVersion(),
		Slots: slots, InvariantBreaks: message.GetInvariantBreaks(),
	}, err
}

func parseObject(message *pb.CheckpointObject) (history.Record, error) {
	object := history.Object{OID: string(message.GetOid()), Versions: make([]history.Version, len(message.GetVersions()))}
	if err := txn.CheckOID(object.OID); err != nil {
		return nil, err
	}
	for i, version := range message.GetVersions() {
		if version.GetKind() != pb.WriteKind_WRITE_KIND_PUT && version.GetKind() != pb.WriteKind_WRITE_KIND_DELETE {
			return nil, malformedCheckpoint("a version has kind %d", version.GetKind())
		}
		if err := txn.CheckValue(version.GetValue()); err != nil {
			return nil, err
		}
		object.Versions[i] = history.Version{
			TS: txn.Timestamp(version.GetTimestamp()), Installed: txn.OpNumber(version.GetInstalled()),
			Kind: txn.WriteKind(version.GetKind()), Value: version.GetValue(),
		}
	}
	return object, nil
}

func parseDecision(message *pb.CheckpointDecision) (history.Record, error) {
	attempt, err := wire.ParseAttempt(message.GetAttempt())
	if err != nil {
		return nil, err
	}
	if message.GetStatus() < 0 || message.GetStatus() > pb.Status_STATUS_FORGOTTEN ||
		message.GetReason() < 0 || message.GetReason() > pb.Reason_REASON_INVARIANT {
		return nil, malformedCheckpoint("a decision has status %d and reason %d", message.GetStatus(), message.GetReason())
	}
	return history.Decision{
		Attempt: attempt, Status: txn.Status(message.GetStatus()), Reason: txn.Reason(message.GetReason()),
		Op: txn.OpNumber(message.GetOp()), Participants: wire.ParseShards(message.GetParticipants()),
		Ended: message.GetEnded(), Closed: message.GetClosed(),
	}, nil
}
