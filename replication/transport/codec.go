package transport

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// The numbers of the fields of ExchangeRequest and PeerFrame.
const (
	fieldFrames protowire.Number = 2

	frameFieldGroup       protowire.Number = 1
	frameFieldFrom        protowire.Number = 2
	frameFieldTo          protowire.Number = 3
	frameFieldIncarnation protowire.Number = 4
	frameFieldChecksum    protowire.Number = 5
	frameFieldPayload     protowire.Number = 6
)

const (
	// frameHeadBytesMax is room for everything of a frame but its payload.
	frameHeadBytesMax = 64
	// copiedBytesMax is up to which length a payload is copied behind its head: gRPC costs more for each piece than that.
	copiedBytesMax = 1 << 10
)

// codec writes the frames of a stream as the generated code does, without its reflection and without a copy of large
// payloads, which nobody changes once they are sent. All else it leaves to gRPC's own.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal returns a message's bytes.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	request, is := message.(*pb.ExchangeRequest)
	if !is || request.GetHello() != nil {
		return c.CodecV2.Marshal(message)
	}
	return appendFrames(nil, request.GetFrames()), nil
}

// appendFrames appends the pieces that frames consist of on the wire: heads and short payloads are in a piece of their
// own, long payloads are not copied.
func appendFrames(pieces mem.BufferSlice, frames []*pb.PeerFrame) mem.BufferSlice {
	size := 0
	for _, f := range frames {
		size += frameHeadBytesMax
		if n := len(f.GetPayload()); n <= copiedBytesMax {
			size += n
		}
	}
	piece := make([]byte, 0, size)
	for _, f := range frames {
		piece = appendFrameHead(piece, f)
		if payload := f.GetPayload(); len(payload) <= copiedBytesMax {
			piece = append(piece, payload...)
		} else {
			pieces = append(pieces, mem.SliceBuffer(piece), mem.SliceBuffer(payload))
			piece = piece[len(piece):]
		}
	}
	if len(piece) > 0 {
		pieces = append(pieces, mem.SliceBuffer(piece))
	}
	return pieces
}

// appendFrameHead appends a frame up to its payload's first byte.
func appendFrameHead(data []byte, f *pb.PeerFrame) []byte {
	size := numberBytes(frameFieldGroup, uint64(f.GetGroup())) + numberBytes(frameFieldFrom, uint64(f.GetFrom())) +
		numberBytes(frameFieldTo, uint64(f.GetTo())) + numberBytes(frameFieldIncarnation, f.GetIncarnation()) +
		numberBytes(frameFieldChecksum, uint64(f.GetChecksum()))
	payload := len(f.GetPayload())
	if payload > 0 {
		size += protowire.SizeTag(frameFieldPayload) + protowire.SizeBytes(payload)
	}
	data = protowire.AppendTag(data, fieldFrames, protowire.BytesType)
	data = protowire.AppendVarint(data, uint64(size))
	data = appendNumber(data, frameFieldGroup, uint64(f.GetGroup()))
	data = appendNumber(data, frameFieldFrom, uint64(f.GetFrom()))
	data = appendNumber(data, frameFieldTo, uint64(f.GetTo()))
	data = appendNumber(data, frameFieldIncarnation, f.GetIncarnation())
	data = appendNumber(data, frameFieldChecksum, uint64(f.GetChecksum()))
	if payload > 0 {
		data = protowire.AppendVarint(protowire.AppendTag(data, frameFieldPayload, protowire.BytesType), uint64(payload))
	}
	return data
}

// appendNumber appends a varint field; zero is left out, as proto3 has it.
func appendNumber(data []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return data
	}
	return protowire.AppendVarint(protowire.AppendTag(data, field, protowire.VarintType), value)
}

func numberBytes(field protowire.Number, value uint64) int {
	if value == 0 {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeVarint(value)
}
