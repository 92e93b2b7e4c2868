package storage

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// TestFormats holds the formats byte for byte: docs/FORMATS.md shows the same bytes. Whoever has to change this
// test has made another format and has to number it.
func TestFormats(t *testing.T) {
	require.EqualValues(t, 3, boltLogVersion)
	require.EqualValues(t, 2, checkpointVersion)
	membershipOf3 := core.Membership{
		Epoch: 1, Op: 300, View: 8, Hash: 0x1122334455667788, LargestID: 4, Previous: []core.ReplicaID{1, 2, 3},
		Members: []core.Member{{ID: 1, Incarnation: 2}, {ID: 4, Witness: true, Address: "host:1"}},
	}
	meta := core.CheckpointMeta{Op: 300, View: 7, Hash: 0x1122334455667788}
	for name, test := range map[string]struct {
		want string
		got  []byte
	}{
		"entry": {
			"2c01000000000000" + "0700000000000000" + "8877665544332211" + "03000000" + "414e90a8" + "616263",
			appendEntry(nil, &core.Entry{Op: 300, View: 7, Hash: 0x1122334455667788, Payload: []byte("abc")}),
		},
		"key":        {"000000000000012c", runKey(300)},
		"hard state": {"0800000000000000" + "0700000000000000" + "2c01000000000000" + "55560197", encodeHardState(core.HardState{View: 8, LastNormalView: 7, Commit: 300})},
		"extent": {
			"0100000000000000" + "0200000000000000" + "2c01000000000000" + "0300000000000000" + "56bd2319",
			encodeExtent(extent{base: 1, baseHash: 2, last: 300, lastHash: 3}),
		},
		"format 1": {"766965776c696e65" + "01000000" + "5117d7cc", encodeFormat(1)},
		"format 2": {"766965776c696e65" + "02000000" + "689ef5ae", encodeFormat(2)},
		"format 3": {"766965776c696e65" + "03000000" + "d034b073", encodeFormat(boltLogVersion)},
		"reconfiguration": {
			"2c01000000000000" + "0700000000000080" + "8877665544332211" + "03000000" + "b90ba119" + "616263",
			appendEntry(nil, &core.Entry{Op: 300, View: 7, Kind: core.EntryReconfiguration, Hash: 0x1122334455667788, Payload: []byte("abc")}),
		},
		"membership": {
			"000000000000012c" + "0000000000000008" + "1122334455667788" + "02" + "0000000000000001" + "00000004" +
				"02" + "00000001" + "0000000000000002" + "00" + "00" + "00000004" + "0000000000000000" + "01" + "06" + "686f73743a31" + "03" + "00000001" + "00000002" + "00000003" + "4790296d",
			encodeMembership(membershipOf3.Encode()),
		},
		"checkpoint of an epoch": {
			"76696577636b7074" + "02000000" + "2c01000000000000" + "0700000000000000" + "8877665544332211" + "8d44c274" +
				"55000000" + "000000000000012c00000000000000081122334455667788020000000000000001000000040200000001000000000000000200000000000400000000000000000106686f73743a3103000000010000000200000003" + "c4b65d8a",
			encodeCheckpointHeader(core.CheckpointMeta{Op: 300, View: 7, Hash: 0x1122334455667788, Membership: membershipOf3.Encode()}),
		},

		"mark": {"01000000" + "02000000" + "2cec737a", encodeMark(mark{durability: DurabilityAsync, life: lifeClean})},
		"checkpoint": {
			"76696577636b7074" + "01000000" + "2c01000000000000" + "0700000000000000" + "8877665544332211" + "20af1097" +
				"05000000" + "00000000" + "ff62686c" + "7374617465" +
				"00000000" + "01000000" + "0500000000000000" + "5c5e778a" + "01000000" + "6148d06c",
			encodeCheckpoint(meta, [][]byte{[]byte("state")}),
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, hex.EncodeToString(test.got)) })
	}
	require.Equal(t, "checkpoint-00000000000000000300", checkpointName(300))
	// The hash is stored, so it is a part of the format.
	require.Equal(t, core.Hash(0x35c48cab9d3769c5), core.Chained(0x1122334455667788, 300, 7, []byte("abc")).Hash)
}

// TestSegmentFormats does so for a log in segments.
func TestSegmentFormats(t *testing.T) {
	require.EqualValues(t, 4, segmentLogVersion)
	for name, test := range map[string]struct {
		want string
		got  []byte
	}{
		"format 4": {"766965776c696e65" + "04000000" + "1a8cb06a", encodeFormat(segmentLogVersion)},
		"segments": {
			"0100000000000000" + "0200000000000000" + "0500000000000000" + "01000000" +
				"0300000000000000" + "0004000000000000" + "2c01000000000000" + "8877665544332211" + "224cae06",
			encodeSegmentList(&segmentList{base: 1, baseHash: 2, next: 5, open: true, segments: []segment{{id: 3, end: 1024, last: 300, lastHash: 0x1122334455667788}}}),
		},
		"segment": {
			"766965776c6f6700" + "04000000" + "0300000000000000" + "0807060504030201" + "2c01000000000000" + "5bfa22d3" + zeros(472),
			encodeSegmentHeader(segmentHeader{id: 3, salt: 0x0102030405060708, first: 300}),
		},
		"batch": {
			"0807060504030201" + "2c01000000000000" + "2b01000000000000" + "01000000" + "23000000" + "49fcbe62" +
				"2c01000000000000" + "0700000000000000" + "8877665544332211" + "03000000" + "414e90a8" + "616263" + zeros(441),
			appendBatch(nil, batchHeader{salt: 0x0102030405060708, first: 300, commit: 299},
				[]core.Entry{{Op: 300, View: 7, Hash: 0x1122334455667788, Payload: []byte("abc")}}),
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, hex.EncodeToString(test.got)) })
	}
	require.Equal(t, "segment-00000000000000000003", segmentName(3))
}

func zeros(count int) string { return strings.Repeat("00", count) }

// TestOldMembership: what was written before members had incarnations is read.
func TestOldMembership(t *testing.T) {
	data, err := hex.DecodeString("000000000000012c" + "0000000000000008" + "1122334455667788" + "01" + "0000000000000001" + "00000004" +
		"02" + "00000001" + "00" + "00000004" + "06" + "686f73743a31" + "03" + "00000001" + "00000002" + "00000003" + "5da20bb0")
	require.NoError(t, err)
	encoded, err := decodeMembership(data)
	require.NoError(t, err)
	membership, err := encoded.Decode()
	require.NoError(t, err)
	require.Equal(t, core.Membership{
		Epoch: 1, Op: 300, View: 8, Hash: 0x1122334455667788, LargestID: 4, Previous: []core.ReplicaID{1, 2, 3},
		Members: []core.Member{{ID: 1}, {ID: 4, Address: "host:1"}},
	}, membership)
}
