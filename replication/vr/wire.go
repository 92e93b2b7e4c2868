package vr

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/viewline/viewline/replication/vr/core"
)

// Messages travel as viewline.v1.VRMessage. They are written and read here field by field, without the generated
// types between: an entry's payload is copied once on its way out and not at all on its way in. The tests hold
// both directions against the generated code.

// The numbers of VRMessage's fields.
const (
	fieldKind protowire.Number = iota + 1
	fieldEpoch
	fieldView
	fieldOp
	fieldCommit
	fieldLastNormalView
	fieldNonce
	fieldRound
	fieldPreviousHash
	fieldEntries
	fieldCheckpointOp
	fieldCheckpointHash
	fieldCheckpointView
	fieldFirst
	fieldAgree
	fieldHash
	fieldLease
	fieldMembership
	fieldCheckpointMembership
	fieldIncarnation
	fieldStamp
	fieldClock
	fieldKept
)

// The numbers of VREntry's fields.
const (
	entryFieldOp protowire.Number = iota + 1
	entryFieldView
	entryFieldPayload
	entryFieldHash
	entryFieldKind
)

const (
	varintBytesMax = 10
	// messageBytesMin is room for every field of a message but its entries, entryBytesMin for those of an entry
	// but its payload.
	messageBytesMin = 23 * (2 + varintBytesMax)
	entryBytesMin   = 6 * (1 + varintBytesMax)
	// checkpointVersion is the version of a checkpoint's header.
	checkpointVersion = 1
)

// encodeMessage returns a message's bytes. Who sends it to whom is the transport's to say.
func encodeMessage(m *core.Message) []byte {
	size := messageBytesMin + len(m.Membership) + len(m.Checkpoint.Membership)
	for i := range m.Entries {
		size += entryBytesMin + len(m.Entries[i].Payload)
	}
	data := make([]byte, 0, size)
	data = appendNumber(data, fieldKind, uint64(m.Kind))
	data = appendNumber(data, fieldEpoch, uint64(m.Epoch))
	data = appendNumber(data, fieldView, uint64(m.View))
	data = appendNumber(data, fieldOp, uint64(m.Op))
	data = appendNumber(data, fieldCommit, uint64(m.Commit))
	data = appendNumber(data, fieldLastNormalView, uint64(m.LastNormalView))
	data = appendNumber(data, fieldNonce, m.Nonce)
	data = appendNumber(data, fieldRound, m.Round)
	data = appendHash(data, fieldPreviousHash, m.PreviousHash)
	for i := range m.Entries {
		data = appendWireEntry(data, &m.Entries[i])
	}
	data = appendNumber(data, fieldCheckpointOp, uint64(m.Checkpoint.Op))
	data = appendHash(data, fieldCheckpointHash, m.Checkpoint.Hash)
	data = appendNumber(data, fieldCheckpointView, uint64(m.Checkpoint.View))
	data = appendNumber(data, fieldFirst, uint64(m.First))
	if m.Agree {
		data = appendNumber(data, fieldAgree, 1)
	}
	data = appendHash(data, fieldHash, m.Hash)
	data = appendNumber(data, fieldLease, m.Lease)
	data = appendMembership(data, fieldMembership, m.Membership)
	data = appendMembership(data, fieldCheckpointMembership, m.Checkpoint.Membership)
	data = appendNumber(data, fieldIncarnation, m.Incarnation)
	data = appendNumber(data, fieldStamp, m.Stamp)
	data = appendNumber(data, fieldClock, m.Clock)
	return appendNumber(data, fieldKept, uint64(m.Kept))
}

func appendMembership(data []byte, field protowire.Number, membership core.EncodedMembership) []byte {
	if membership == "" {
		return data
	}
	return protowire.AppendString(protowire.AppendTag(data, field, protowire.BytesType), string(membership))
}

func appendWireEntry(data []byte, e *core.Entry) []byte {
	size := numberBytes(entryFieldOp, uint64(e.Op)) + numberBytes(entryFieldView, uint64(e.View))
	if len(e.Payload) > 0 {
		size += protowire.SizeTag(entryFieldPayload) + protowire.SizeBytes(len(e.Payload))
	}
	if e.Hash != 0 {
		size += protowire.SizeTag(entryFieldHash) + protowire.SizeFixed64()
	}
	size += numberBytes(entryFieldKind, uint64(e.Kind))
	data = protowire.AppendTag(data, fieldEntries, protowire.BytesType)
	data = protowire.AppendVarint(data, uint64(size))
	data = appendNumber(data, entryFieldOp, uint64(e.Op))
	data = appendNumber(data, entryFieldView, uint64(e.View))
	if len(e.Payload) > 0 {
		data = protowire.AppendTag(data, entryFieldPayload, protowire.BytesType)
		data = protowire.AppendBytes(data, e.Payload)
	}
	data = appendHash(data, entryFieldHash, e.Hash)
	return appendNumber(data, entryFieldKind, uint64(e.Kind))
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

func appendHash(data []byte, field protowire.Number, hash core.Hash) []byte {
	if hash == 0 {
		return data
	}
	return protowire.AppendFixed64(protowire.AppendTag(data, field, protowire.Fixed64Type), uint64(hash))
}

// sameContent reports whether two messages differ in their receiver only, so that one encoding serves both.
func sameContent(a, b *core.Message) bool {
	if len(a.Entries) != len(b.Entries) || len(a.Entries) > 0 && &a.Entries[0] != &b.Entries[0] {
		return false
	}
	return a.Kind == b.Kind && a.Incarnation == b.Incarnation && a.Kept == b.Kept && a.Epoch == b.Epoch && a.Membership == b.Membership && a.View == b.View && a.Op == b.Op && a.Commit == b.Commit &&
		a.LastNormalView == b.LastNormalView && a.Nonce == b.Nonce && a.Round == b.Round && a.Lease == b.Lease && a.First == b.First && a.PreviousHash == b.PreviousHash &&
		a.Hash == b.Hash && a.Checkpoint == b.Checkpoint && a.Agree == b.Agree && a.Stamp == b.Stamp && a.Clock == b.Clock
}

// epochOf is the epoch of a membership; one that is not known is that of epoch 0.
func epochOf(membership core.EncodedMembership) core.EpochNumber {
	m, err := membership.Decode()
	if err != nil {
		return 0
	}
	return m.Epoch
}
