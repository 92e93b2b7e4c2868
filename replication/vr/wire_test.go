package vr

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication/vr/core"
)

// generated is a message as the generated code has it.
func generated(m *core.Message) *pb.VRMessage {
	wire := &pb.VRMessage{
		Kind: pb.VRKind(m.Kind), View: uint64(m.View), Op: uint64(m.Op), Commit: uint64(m.Commit),
		LastNormalView: uint64(m.LastNormalView), Nonce: m.Nonce, Round: m.Round, PreviousHash: uint64(m.PreviousHash),
		CheckpointOp: uint64(m.Checkpoint.Op), CheckpointHash: uint64(m.Checkpoint.Hash), CheckpointView: uint64(m.Checkpoint.View),
		First: uint64(m.First), Agree: m.Agree, Hash: uint64(m.Hash), Lease: m.Lease, Stamp: m.Stamp, Clock: m.Clock, Epoch: uint64(m.Epoch), Incarnation: m.Incarnation, Kept: uint64(m.Kept),
	}
	if m.Membership != "" {
		wire.Membership = []byte(m.Membership)
	}
	if m.Checkpoint.Membership != "" {
		wire.CheckpointMembership = []byte(m.Checkpoint.Membership)
	}
	for _, e := range m.Entries {
		wire.Entries = append(wire.Entries, &pb.VREntry{Op: uint64(e.Op), View: uint64(e.View), Payload: e.Payload, Hash: uint64(e.Hash), Kind: uint32(e.Kind)})
	}
	return wire
}

// membershipOf is a membership's bytes.
func membershipOf(epoch core.EpochNumber, op core.OpNumber) core.EncodedMembership {
	m := core.Membership{Epoch: epoch, Op: op, View: 1, LargestID: 3, Members: []core.Member{{ID: 3, Address: "somewhere"}}}
	return m.Encode()
}

// randomMessage has random fields, about a third of them zero.
func randomMessage(random *rand.Rand) core.Message {
	number := func() uint64 {
		if random.IntN(3) == 0 {
			return 0
		}
		return random.Uint64() >> random.IntN(64)
	}
	m := core.Message{
		Kind: core.Kind(1 + random.IntN(int(core.KindNewCommitted))), From: 1, To: 2, View: core.ViewNumber(number()), Op: core.OpNumber(number()),
		Commit: core.OpNumber(number()), LastNormalView: core.ViewNumber(number()), Nonce: number(), Round: number(), Lease: number(), Stamp: number(), Clock: number(),
		PreviousHash: core.Hash(number()), First: core.OpNumber(1 + number()/2), Hash: core.Hash(number()), Agree: random.IntN(2) == 0,
		Checkpoint: core.CheckpointMeta{Op: core.OpNumber(number()), View: core.ViewNumber(number()), Hash: core.Hash(number())},
	}
	m.Epoch, m.Incarnation, m.Kept = core.EpochNumber(number()), number(), core.OpNumber(number())
	if random.IntN(2) == 0 {
		m.Membership, m.Checkpoint.Membership = membershipOf(m.Epoch, 1), membershipOf(m.Epoch+1, 2)
	}
	for i := range random.IntN(5) {
		e := core.Entry{Op: m.First + core.OpNumber(i), View: core.ViewNumber(number()), Hash: core.Hash(number()), Kind: core.EntryKind(random.IntN(2))}
		if n := random.IntN(300); n > 20 {
			e.Payload = make([]byte, n)
			for k := range e.Payload {
				e.Payload[k] = byte(random.Uint32())
			}
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}

// TestMessagesAreVRMessages: what is written by hand is what the generated code writes and reads.
func TestMessagesAreVRMessages(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		m := randomMessage(random)
		data := encodeMessage(&m)
		var read pb.VRMessage
		require.NoError(t, proto.Unmarshal(data, &read))
		require.True(t, proto.Equal(generated(&m), &read), "%+v", &m)
		written, err := proto.Marshal(generated(&m))
		require.NoError(t, err)
		for _, data := range [][]byte{data, written} {
			back, err := decodeMessage(1, 2, data)
			require.NoError(t, err)
			require.Equal(t, m, back)
		}
	}
}

// TestWireFormat holds the bytes: replicas of two versions of this program have to understand each other.
func TestWireFormat(t *testing.T) {
	m := core.Message{
		Kind: core.KindPrepare, View: 7, Op: 300, Commit: 299, First: 300, PreviousHash: 0x0102030405060708,
		Entries: []core.Entry{{Op: 300, View: 7, Hash: 0x1122334455667788, Payload: []byte("abc")}},
	}
	require.Equal(t, "0801"+"1807"+"20ac02"+"28ab02"+"490807060504030201"+"5213"+"08ac02"+"1007"+"1a03616263"+"218877665544332211"+"70ac02",
		hex.EncodeToString(encodeMessage(&m)))
	commit := core.Message{Kind: core.KindCommit, Epoch: 2, View: 7, Commit: 299, Incarnation: 3}
	require.Equal(t, "0803"+"1002"+"1807"+"28ab02"+"a00103", hex.EncodeToString(encodeMessage(&commit)))
	acknowledged := core.Message{Kind: core.KindPrepareOK, View: 7, Op: 300, Kept: 290}
	require.Equal(t, "0802"+"1807"+"20ac02"+"b801a202", hex.EncodeToString(encodeMessage(&acknowledged)))
	identity := CheckpointIdentity{Meta: core.CheckpointMeta{Op: 300, View: 7, Hash: 0x1122334455667788}, Digest: [32]byte{1, 31: 2}}
	require.Equal(t, "0801"+"18ac02"+"2007"+"298877665544332211"+"3005"+"3a20"+"01"+strings.Repeat("00", 30)+"02",
		hex.EncodeToString(encodeCheckpointHeader(identity, 5)))
}

// TestEveryFieldOfVRMessageTravels: a field that is added to the .proto is added here too.
func TestEveryFieldOfVRMessageTravels(t *testing.T) {
	require.Equal(t, int(fieldKept), (&pb.VRMessage{}).ProtoReflect().Descriptor().Fields().Len())
	require.Equal(t, int(entryFieldKind), (&pb.VREntry{}).ProtoReflect().Descriptor().Fields().Len())
}

func TestMalformedMessages(t *testing.T) {
	good := core.Message{Kind: core.KindPrepare, View: 1, First: 5, Entries: []core.Entry{{Op: 5, View: 1}, {Op: 6, View: 1}}}
	wire := func(change func(m *pb.VRMessage)) []byte {
		m := generated(&good)
		change(m)
		data, err := proto.Marshal(m)
		require.NoError(t, err)
		return data
	}
	_, err := decodeMessage(1, 2, wire(func(*pb.VRMessage) {}))
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"empty":            {},
		"no kind":          wire(func(m *pb.VRMessage) { m.Kind = 0 }),
		"unknown kind":     wire(func(m *pb.VRMessage) { m.Kind = 18 }),
		"huge kind":        wire(func(m *pb.VRMessage) { m.Kind = 256 + 1 }),
		"negative kind":    wire(func(m *pb.VRMessage) { m.Kind = -1 }),
		"gap":              wire(func(m *pb.VRMessage) { m.Entries[1].Op = 7 }),
		"wrong first":      wire(func(m *pb.VRMessage) { m.First = 4 }),
		"entry 0":          wire(func(m *pb.VRMessage) { m.First, m.Entries[0].Op, m.Entries[1].Op = 0, 0, 1 }),
		"wraps around":     wire(func(m *pb.VRMessage) { m.First, m.Entries[0].Op, m.Entries[1].Op = ^uint64(0), ^uint64(0), 0 }),
		"cut off":          wire(func(*pb.VRMessage) {})[:10],
		"cut in an entry":  append(wire(func(m *pb.VRMessage) { m.Entries = nil }), 0x52, 0x04, 0x08),
		"bad tag":          {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"unknown entry":    wire(func(m *pb.VRMessage) { m.Entries[0].Kind = 2 }),
		"bad tag in entry": append(wire(func(m *pb.VRMessage) { m.Entries = nil }), 0x52, 0x01, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeMessage(1, 2, data)
			require.ErrorIs(t, err, errMalformed)
		})
	}
}

func TestEntriesOfOneMessageAreBounded(t *testing.T) {
	data := []byte{8, 1}
	for range entriesMax + 1 {
		data = append(data, 0x52, 0)
	}
	_, err := decodeMessage(1, 2, data)
	require.ErrorContains(t, err, "more than")
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	m := core.Message{Kind: core.KindCommit, From: 1, To: 2, View: 3, Op: 4}
	data := encodeMessage(&m)
	data = protowire.AppendVarint(protowire.AppendTag(data, 100, protowire.VarintType), 7)
	data = protowire.AppendBytes(protowire.AppendTag(data, 101, protowire.BytesType), []byte("later"))
	data = protowire.AppendFixed32(protowire.AppendTag(data, 102, protowire.Fixed32Type), 7)
	data = protowire.AppendFixed64(protowire.AppendTag(data, 103, protowire.Fixed64Type), 7)
	back, err := decodeMessage(1, 2, data)
	require.NoError(t, err)
	require.Equal(t, m, back)
}

func TestSameContent(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		a, b := randomMessage(random), randomMessage(random)
		require.Equal(t, fmt.Sprint(a) == fmt.Sprint(b), sameContent(&a, &b))
		c := a
		c.To = 9
		require.True(t, sameContent(&a, &c))
		c.Nonce++
		require.False(t, sameContent(&a, &c))
	}
}

func TestCheckpointHeader(t *testing.T) {
	identity := CheckpointIdentity{Meta: core.CheckpointMeta{Op: 5, View: 6, Hash: 1 << 63}, Digest: [32]byte{1, 31: 2}}
	data := encodeCheckpointHeader(identity, 1<<40)
	var read pb.VRCheckpoint
	require.NoError(t, proto.Unmarshal(data, &read))
	require.True(t, proto.Equal(&pb.VRCheckpoint{Version: 1, Op: 5, View: 6, Hash: 1 << 63, Bytes: 1 << 40, Digest: identity.Digest[:]}, &read))
	back, bytes, err := decodeCheckpointHeader(data)
	require.NoError(t, err)
	require.Equal(t, identity, back)
	require.EqualValues(t, 1<<40, bytes)
	for _, bad := range [][]byte{nil, {0xff}, {8, 2, 24, 1}, {8, 1}, {8, 1, 24, 1}, {8, 1, 24, 1, 58, 2, 1, 1}} {
		_, _, err = decodeCheckpointHeader(bad)
		require.ErrorIs(t, err, errMalformed)
	}
	of1 := CheckpointIdentity{Meta: core.CheckpointMeta{Op: 5, View: 6, Hash: 7, Membership: membershipOf(1, 5)}}
	back, _, err = decodeCheckpointHeader(encodeCheckpointHeader(of1, 1))
	require.NoError(t, err)
	require.Equal(t, of1, back)
	of1.Meta.Membership = membershipOf(1, 6)
	_, _, err = decodeCheckpointHeader(encodeCheckpointHeader(of1, 1))
	require.ErrorIs(t, err, errMalformed, "it is of an epoch that begins above it")
}

// FuzzDecodeMessage: what the decoder accepts, the generated code accepts and reads alike, and it is written and
// read again the same.
func FuzzDecodeMessage(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 3))
	f.Add([]byte{})
	for range 20 {
		m := randomMessage(random)
		f.Add(encodeMessage(&m))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMessage(1, 2, data)
		if err != nil {
			require.Equal(t, core.Message{}, m)
			return
		}
		var read pb.VRMessage
		require.NoError(t, proto.Unmarshal(data, &read))
		require.Equal(t, pb.VRKind(m.Kind), read.GetKind())
		read.ProtoReflect().SetUnknown(nil)
		for _, e := range read.GetEntries() {
			e.ProtoReflect().SetUnknown(nil)
		}
		require.True(t, proto.Equal(generated(&m), &read))
		back, err := decodeMessage(1, 2, encodeMessage(&m))
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}

// FuzzDecodeCheckpointHeader: an answer, whatever the bytes.
func FuzzDecodeCheckpointHeader(f *testing.F) {
	f.Add(encodeCheckpointHeader(CheckpointIdentity{Meta: core.CheckpointMeta{Op: 5, View: 6, Hash: 7}}, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		if identity, bytes, err := decodeCheckpointHeader(data); err == nil {
			back, same, err := decodeCheckpointHeader(encodeCheckpointHeader(identity, bytes))
			require.NoError(t, err)
			require.Equal(t, identity, back)
			require.Equal(t, bytes, same)
		}
	})
}
