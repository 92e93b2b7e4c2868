package node

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// TestResponseBytesIsNeverTooSmall compares the estimate with what protobuf says.
func TestResponseBytesIsNeverTooSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		response := drawResponse(t)
		response.Id = rapid.Uint64().Draw(t, "id")
		size := proto.Size(response)
		require.GreaterOrEqual(t, responseBytes(response), size)
		require.LessOrEqual(t, responseBytes(response), 3*size+512, "the estimate is far off")
	})
}

func drawResponse(t *rapid.T) *pb.Response {
	number, small := rapid.Uint64(), rapid.Uint32()
	bytes := rapid.SliceOfN(rapid.Byte(), 0, 300)
	switch rapid.IntRange(0, 7).Draw(t, "body") {
	case 0, 1:
		var values []*pb.Value
		for range rapid.IntRange(0, 20).Draw(t, "values") {
			values = append(values, &pb.Value{Present: true, Value: bytes.Draw(t, "value"), Version: number.Draw(t, "version")})
		}
		if rapid.Bool().Draw(t, "snapshot") {
			return &pb.Response{Body: &pb.Response_Snapshot{Snapshot: &pb.SnapshotResponse{Values: values}}}
		}
		return &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values, At: number.Draw(t, "at")}}}
	case 2:
		return &pb.Response{Body: &pb.Response_Verdict{Verdict: &pb.Verdict{
			Status: pb.Status(rapid.Int32().Draw(t, "status")), Reason: pb.Reason(rapid.Int32().Draw(t, "reason")),
			Oids: rapid.SliceOfN(bytes, 0, 20).Draw(t, "oids"), Shard: small.Draw(t, "shard"), View: number.Draw(t, "view"),
			Op: number.Draw(t, "op"), Timestamp: number.Draw(t, "ts"), Attempt: small.Draw(t, "attempt"),
			Participants: rapid.SliceOfN(small, 0, 20).Draw(t, "participants"),
			Other: &pb.Attempt{
				Id:     &pb.TxnID{Clerk: bytes.Draw(t, "clerk"), Sequence: number.Draw(t, "sequence"), Home: small.Draw(t, "home")},
				Number: small.Draw(t, "number"), Timestamp: number.Draw(t, "timestamp"),
			},
		}}}
	case 3:
		return &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: number.Draw(t, "first"), Count: small.Draw(t, "count")}}}
	case 4:
		return &pb.Response{Body: &pb.Response_Bound{Bound: &pb.BoundResponse{Bound: number.Draw(t, "bound")}}}
	case 5:
		return &pb.Response{Body: &pb.Response_EndTxn{EndTxn: &pb.EndTxnResponse{}}}
	case 6:
		return &pb.Response{Body: &pb.Response_WhoServes{WhoServes: &pb.WhoServesResponse{Shards: []uint32{small.Draw(t, "shard")}}}}
	default:
		return &pb.Response{Body: &pb.Response_Error{Error: &pb.Error{Message: string(bytes.Draw(t, "message")), Limit: number.Draw(t, "limit")}}}
	}
}
