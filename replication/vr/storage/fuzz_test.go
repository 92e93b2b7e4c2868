package storage

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// What a decoder accepts, the encoder writes again byte for byte: no two readings of the same bytes, and
// nothing in them that is not accounted for.

func FuzzEntry(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendEntry(nil, &core.Entry{Op: 1, View: 2, Hash: 3, Payload: []byte("operation")}))
	f.Add(appendEntry(appendEntry(nil, &core.Entry{Op: 1}), &core.Entry{Op: 2, Payload: []byte("second")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decodeRun(runKey(1), data, nil)
		if err != nil {
			return
		}
		var again []byte
		for i := range entries {
			require.Equal(t, core.OpNumber(i+1), entries[i].Op)
			again = appendEntry(again, &entries[i])
		}
		require.Equal(t, data, again)
	})
}

func FuzzHardState(f *testing.F) {
	f.Add(encodeHardState(core.HardState{View: 3, LastNormalView: 2, Commit: 1}))
	f.Add(encodeExtent(extent{base: 1, baseHash: 2, last: 3, lastHash: 4}))
	f.Add(encodeFormat(boltLogVersion))
	f.Fuzz(func(t *testing.T, data []byte) {
		if state, err := decodeHardState(data); err == nil {
			require.Equal(t, data, encodeHardState(state))
		}
		if e, err := decodeExtent(data); err == nil {
			require.Equal(t, data, encodeExtent(e))
			require.LessOrEqual(t, e.base, e.last)
		}
		if version, err := decodeFormat(data); err == nil {
			require.Equal(t, data, encodeFormat(version))
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(encodeCheckpoint(core.CheckpointMeta{Op: 1, View: 2, Hash: 3}, nil))
	f.Add(encodeCheckpoint(core.CheckpointMeta{Op: 1, View: 2, Hash: 3}, [][]byte{[]byte("one"), []byte("two")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		decoder := checkpointDecoder{source: bufio.NewReader(bytes.NewReader(data))}
		meta, err := decoder.header()
		if err != nil {
			return
		}
		var chunks [][]byte
		for {
			chunk := make([]byte, chunkBytesMax)
			n, err := decoder.Read(chunk)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return
			}
			chunks = append(chunks, chunk[:n])
		}
		require.Equal(t, data, encodeCheckpoint(meta, chunks))
	})
}

func FuzzStructure(f *testing.F) {
	f.Add([]byte{})
	f.Add(smallDatabase(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Whatever the bytes are: an answer, and no panic.
		_ = checkStructure(bytes.NewReader(data), int64(len(data)))
	})
}

func FuzzBatch(f *testing.F) {
	f.Add(appendBatch(nil, batchHeader{salt: 7, first: 1}, nil))
	f.Add(appendBatch(nil, batchHeader{salt: 7, first: 1, commit: 3}, chain(0, 1, 3, 2, 200)))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, entries, size, err := decodeBatch(data, 7)
		if err != nil {
			return
		}
		require.Len(t, entries, int(header.count))
		require.Equal(t, data[:size], appendBatch(nil, header, entries))
	})
}

func FuzzSegment(f *testing.F) {
	f.Add(encodeSegmentHeader(segmentHeader{id: 1, salt: 2, first: 3}))
	f.Add(appendBatch(appendBatch(encodeSegmentHeader(segmentHeader{id: 1, salt: 2, first: 3}),
		batchHeader{salt: 2, first: 3}, chain(7, 3, 4, 2, 200)), batchHeader{salt: 2, first: 5, commit: 4}, nil))
	f.Add(encodeSegmentList(&segmentList{base: 3, baseHash: 4, next: 9, open: true, segments: []segment{{2, 1024, 8, 9}, {5, 2048, 10, 11}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if header, err := decodeSegmentHeader(data); err == nil {
			require.Equal(t, data[:sectorBytes], encodeSegmentHeader(header))
		}
		if list, err := decodeSegmentList(data); err == nil {
			require.Equal(t, data, encodeSegmentList(&list))
			require.NoError(t, list.check())
		}
		batches, end, _ := scanBatches(data, 2, int64(len(data)))
		var again []byte
		for i := range batches {
			again = appendBatch(again, batches[i].header, batches[i].entries)
		}
		require.Equal(t, sectorBytes+len(again), int(end))
		if len(again) > 0 {
			require.Equal(t, data[sectorBytes:end], again)
		}
	})
}
