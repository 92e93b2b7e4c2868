package shardserver

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// operationVersion is the version of the format of a replicated operation.
const operationVersion = 1

// errOperation is what every error of decodeOperation is.
var errOperation = errors.New("shardserver: malformed operation")

func malformedOperation(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", errOperation, fmt.Sprintf(format, arguments...))
}

// The constructors of replicated operations. The messages of a request are taken over as they came in, so that
// an operation is encoded once.

func prepareOperation(lead uint64, transaction *pb.Transaction) *pb.ShardOperation {
	return &pb.ShardOperation{Lead: lead, Body: &pb.ShardOperation_PrepareTxn{PrepareTxn: transaction}}
}

func onePhaseOperation(lead uint64, transaction *pb.Transaction) *pb.ShardOperation {
	return &pb.ShardOperation{Lead: lead, Body: &pb.ShardOperation_CommitOnePhase{CommitOnePhase: transaction}}
}

func commitOperation(attempt *pb.Attempt) *pb.ShardOperation {
	return &pb.ShardOperation{Body: &pb.ShardOperation_CommitTxn{CommitTxn: attempt}}
}

func abortOperation(attempt *pb.Attempt) *pb.ShardOperation {
	return &pb.ShardOperation{Body: &pb.ShardOperation_AbortTxn{AbortTxn: attempt}}
}

func fenceOperation(fence *pb.FenceRequest) *pb.ShardOperation {
	return &pb.ShardOperation{Body: &pb.ShardOperation_Fence{Fence: fence}}
}

func endOperation(end *pb.EndTxnRequest) *pb.ShardOperation {
	return &pb.ShardOperation{Body: &pb.ShardOperation_EndTxn{EndTxn: end}}
}

func leadOperation(lead history.Lead) *pb.ShardOperation {
	return &pb.ShardOperation{Body: &pb.ShardOperation_LeadOperation{LeadOperation: &pb.LeadOperation{
		Number: lead.Number, View: lead.View, Floor: uint64(lead.Floor),
	}}}
}

func advanceOperation(advance history.Advance) *pb.ShardOperation {
	return &pb.ShardOperation{Lead: advance.Lead, Body: &pb.ShardOperation_Advance{Advance: &pb.AdvanceOperation{
		Threshold: uint64(advance.Threshold), VersionHorizon: uint64(advance.VersionHorizon),
		RecordHorizon: uint64(advance.RecordHorizon),
	}}}
}

func ownOperation(own history.Own) *pb.ShardOperation {
	return &pb.ShardOperation{Body: &pb.ShardOperation_Own{Own: &pb.OwnOperation{
		MapVersion: own.MapVersion, Shard: uint32(own.Shard), Slots: slotNumbers(own.Slots),
	}}}
}

// encodeOperation gives the bytes that are replicated.
func encodeOperation(message *pb.ShardOperation) ([]byte, error) {
	message.Version = operationVersion
	encoded, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("shardserver: encode an operation: %w", err)
	}
	return encoded, nil
}

// decodeOperation reads a replicated operation and holds it against everything that history may rely on. Every
// error is errOperation.
func decodeOperation(encoded []byte) (history.Operation, error) {
	var message pb.ShardOperation
	if err := proto.Unmarshal(encoded, &message); err != nil {
		return nil, malformedOperation("%v", err)
	}
	if message.GetVersion() != operationVersion {
		return nil, malformedOperation("format version %d, not %d", message.GetVersion(), operationVersion)
	}
	operation, err := parseOperation(&message)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOperation, err)
	}
	return operation, nil
}

func parseOperation(message *pb.ShardOperation) (history.Operation, error) {
	switch body := message.GetBody().(type) {
	case *pb.ShardOperation_PrepareTxn:
		transaction, err := wire.ParseTransaction(body.PrepareTxn)
		return history.PrepareTxn{Lead: message.GetLead(), Txn: transaction}, err
	case *pb.ShardOperation_CommitOnePhase:
		transaction, err := wire.ParseTransaction(body.CommitOnePhase)
		return history.CommitOnePhase{Lead: message.GetLead(), Txn: transaction}, err
	case *pb.ShardOperation_CommitTxn:
		attempt, err := wire.ParseAttempt(body.CommitTxn)
		return history.CommitTxn{Attempt: attempt}, err
	case *pb.ShardOperation_AbortTxn:
		attempt, err := wire.ParseAttempt(body.AbortTxn)
		return history.AbortTxn{Attempt: attempt}, err
	case *pb.ShardOperation_Fence:
		attempt, err := wire.ParseAttempt(body.Fence.GetAttempt())
		return history.Fence{Attempt: attempt, EveryLater: body.Fence.GetEveryLater()}, err
	case *pb.ShardOperation_EndTxn:
		ids, err := parseIDs(body.EndTxn.GetIds())
		return history.EndTxn{IDs: ids}, err
	case *pb.ShardOperation_LeadOperation:
		lead := body.LeadOperation
		return history.Lead{Number: lead.GetNumber(), View: lead.GetView(), Floor: txn.Timestamp(lead.GetFloor())}, nil
	case *pb.ShardOperation_Advance:
		advance := body.Advance
		return history.Advance{
			Lead: message.GetLead(), Threshold: txn.Timestamp(advance.GetThreshold()),
			VersionHorizon: txn.Timestamp(advance.GetVersionHorizon()), RecordHorizon: txn.Timestamp(advance.GetRecordHorizon()),
		}, nil
	case *pb.ShardOperation_Own:
		slots, err := parseSlots(body.Own.GetSlots())
		return history.Own{MapVersion: body.Own.GetMapVersion(), Shard: txn.ShardID(body.Own.GetShard()), Slots: slots}, err
	default:
		return nil, malformedOperation("it has no body that is known here")
	}
}

// parseIDs reads the transactions of an EndTxn: at least one, at most as many as a transaction has keys.
func parseIDs(messages []*pb.TxnID) ([]txn.TxnID, error) {
	if len(messages) == 0 {
		return nil, malformedOperation("no transactions to end")
	}
	if len(messages) > txn.KeysMax {
		return nil, &txn.LimitError{Name: "transactions ended at once", Limit: txn.KeysMax, Actual: uint64(len(messages))}
	}
	ids := make([]txn.TxnID, len(messages))
	for i, message := range messages {
		id, err := wire.ParseID(message)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// parseSlots reads an ascending list of slots.
func parseSlots(numbers []uint32) ([]uint16, error) {
	slots := make([]uint16, len(numbers))
	for i, number := range numbers {
		if number >= txn.SlotCount || i > 0 && numbers[i-1] >= number {
			return nil, malformedOperation("the slots are not ascending below %d", txn.SlotCount)
		}
		slots[i] = uint16(number)
	}
	return slots, nil
}

func slotNumbers(slots []uint16) []uint32 {
	numbers := make([]uint32, len(slots))
	for i, slot := range slots {
		numbers[i] = uint32(slot)
	}
	return numbers
}

// encodeResult gives the bytes of what applying an operation answers.
func encodeResult(result history.Result) ([]byte, error) {
	encoded, err := proto.Marshal(&pb.OperationResult{Verdict: wire.Verdict(result.Verdict), TookEffect: result.TookEffect})
	if err != nil {
		return nil, fmt.Errorf("shardserver: encode a result: %w", err)
	}
	return encoded, nil
}

// decodeResult reads what encodeResult wrote.
func decodeResult(encoded []byte) (*pb.OperationResult, error) {
	var result pb.OperationResult
	if err := proto.Unmarshal(encoded, &result); err != nil {
		return nil, fmt.Errorf("shardserver: decode a result: %w", err)
	}
	return &result, nil
}
