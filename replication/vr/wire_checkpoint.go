package vr

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication/vr/core"
)

// encodeCheckpointHeader describes a checkpoint, whose state has so many bytes, to a replica that fetches it.
func encodeCheckpointHeader(identity CheckpointIdentity, bytes uint64) []byte {
	data := appendNumber(nil, 1, checkpointVersion)
	data = appendNumber(data, 2, uint64(epochOf(identity.Meta.Membership)))
	data = appendNumber(data, 3, uint64(identity.Meta.Op))
	data = appendNumber(data, 4, uint64(identity.Meta.View))
	data = appendHash(data, 5, identity.Meta.Hash)
	data = appendNumber(data, 6, bytes)
	data = protowire.AppendTag(data, 7, protowire.BytesType)
	data = protowire.AppendBytes(data, identity.Digest[:])
	return appendMembership(data, 8, identity.Meta.Membership)
}

// decodeCheckpointHeader reads a VRCheckpoint.
func decodeCheckpointHeader(data []byte) (identity CheckpointIdentity, bytes uint64, err error) {
	var header pb.VRCheckpoint
	if err := proto.Unmarshal(data, &header); err != nil {
		return CheckpointIdentity{}, 0, fmt.Errorf("%w: checkpoint: %w", errMalformed, err)
	}
	switch {
	case header.GetVersion() != checkpointVersion:
		return CheckpointIdentity{}, 0, fmt.Errorf("%w: checkpoint of version %d", errMalformed, header.GetVersion())
	case header.GetOp() == 0:
		return CheckpointIdentity{}, 0, fmt.Errorf("%w: checkpoint of no operation", errMalformed)
	case len(header.GetDigest()) != len(identity.Digest):
		return CheckpointIdentity{}, 0, fmt.Errorf("%w: checkpoint with a digest of %d bytes", errMalformed, len(header.GetDigest()))
	}
	membership := core.EncodedMembership(header.GetMembership())
	if of, err := membership.Decode(); membership != "" && (err != nil || of.Op > core.OpNumber(header.GetOp())) ||
		of.Epoch != core.EpochNumber(header.GetEpoch()) || membership != "" && of.Epoch == 0 {
		return CheckpointIdentity{}, 0, fmt.Errorf("%w: checkpoint of epoch %d, with the membership of %d", errMalformed, header.GetEpoch(), of.Epoch)
	}
	identity.Meta = core.CheckpointMeta{
		Op: core.OpNumber(header.GetOp()), View: core.ViewNumber(header.GetView()), Hash: core.Hash(header.GetHash()),
		Membership: membership,
	}
	copy(identity.Digest[:], header.GetDigest())
	return identity, header.GetBytes(), nil
}
