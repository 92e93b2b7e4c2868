package coordinator

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/coordinator/state"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

func newMachine(t testing.TB) machine {
	s, err := New(Options{Cluster: theCluster, Layout: layoutMessage()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return machine{server: s}
}

func bootstrapBytes(t testing.TB) []byte {
	layout, err := parseMap(layoutMessage())
	require.NoError(t, err)
	encoded, err := encodeBootstrap(layout)
	require.NoError(t, err)
	return encoded
}

func markBytes(t testing.TB, mark txn.Timestamp) []byte {
	encoded, err := encodeRaiseMark(mark)
	require.NoError(t, err)
	return encoded
}

func changeBytes(t testing.TB, group state.Group) []byte {
	encoded, err := encodeChangeGroup(&group)
	require.NoError(t, err)
	return encoded
}

// laterMembers are those of shard 2 after some changes.
func laterMembers() state.Group {
	return state.Group{ID: 2, Epoch: 3, Members: []state.Member{{Replica: 3, Address: "b3"}, {Replica: 6, Address: "b6"}, {Replica: 7, Address: "b7", Witness: true}}}
}

func TestApply(t *testing.T) {
	m := newMachine(t)
	results := m.Apply(5, [][]byte{
		nil, []byte("rubbish"), markBytes(t, 10), changeBytes(t, laterMembers()), bootstrapBytes(t), markBytes(t, 9), bootstrapBytes(t),
		markBytes(t, 11), changeBytes(t, laterMembers()), changeBytes(t, laterMembers()), changeBytes(t, state.Group{ID: 1, Epoch: 9}),
	})
	require.Equal(t, [][]byte{
		noEffect, noEffect, tookEffect, noEffect, tookEffect, noEffect, noEffect, tookEffect, tookEffect, noEffect, noEffect,
	}, results)
	require.Equal(t, txn.Timestamp(11), m.server.state.Mark())
	require.Equal(t, laterMembers(), *m.server.state.Map().Group(2))
	require.EqualValues(t, 2, m.server.state.Map().Version)
	require.EqualValues(t, 15, m.server.applied)
}

func TestCheckpoint(t *testing.T) {
	for name, operations := range map[string][][]byte{
		"empty":  nil,
		"a mark": {markBytes(t, 77)},
		"both":   {bootstrapBytes(t), markBytes(t, 77)},
		"change": {bootstrapBytes(t), markBytes(t, 77), changeBytes(t, laterMembers())},
	} {
		t.Run(name, func(t *testing.T) {
			m, other := newMachine(t), newMachine(t)
			m.Apply(1, operations)
			shot, err := m.Snapshot()
			require.NoError(t, err)
			m.Apply(10, [][]byte{markBytes(t, 1000)}) // the snapshot stays at its point
			var written bytes.Buffer
			n, err := shot.WriteTo(&written)
			require.NoError(t, err)
			require.EqualValues(t, written.Len(), n)
			shot.Release()
			require.NoError(t, other.Restore(bytes.NewReader(written.Bytes())))
			require.EqualValues(t, len(operations), other.server.applied)
			same := newMachine(t)
			same.Apply(1, operations)
			require.Equal(t, same.server.state.Hash(), other.server.state.Hash())
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	marshal := func(message *pb.CoordinatorCheckpoint) []byte {
		encoded, err := proto.Marshal(message)
		require.NoError(t, err)
		return encoded
	}
	spoilt := layoutMessage()
	spoilt.Slots[3] = 99
	for name, encoded := range map[string][]byte{
		"nothing":            nil,
		"rubbish":            []byte("rubbish"),
		"another version":    marshal(&pb.CoordinatorCheckpoint{Version: 2}),
		"a malformed layout": marshal(&pb.CoordinatorCheckpoint{Version: 1, Map: spoilt}),
	} {
		require.ErrorIs(t, newMachine(t).Restore(bytes.NewReader(encoded)), ErrCheckpoint, name)
	}
	require.ErrorIs(t, newMachine(t).Restore(io.LimitReader(zeros{}, checkpointBytesMax+5)), ErrCheckpoint)
	broken := errors.New("broken")
	require.ErrorIs(t, newMachine(t).Restore(iotest.ErrReader(broken)), broken)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestShortWriteOfASnapshot(t *testing.T) {
	shot, err := newMachine(t).Snapshot()
	require.NoError(t, err)
	_, err = shot.WriteTo(iotest.TruncateWriter(io.Discard, 0))
	require.NoError(t, err, "that writer lies")
	_, err = shot.WriteTo(shortWriter{})
	require.ErrorIs(t, err, io.ErrShortWrite)
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

// bootstrapped is a state with a layout.
func bootstrapped(t testing.TB) *state.State {
	layout, err := parseMap(layoutMessage())
	require.NoError(t, err)
	s := state.New(state.Options{})
	require.NoError(t, s.Apply(state.Bootstrap{Map: layout}))
	return s
}

// FuzzOperation: any bytes are an operation or an ErrOperation, applying them never panics, and what can be
// read is read the same from its own encoding.
func FuzzOperation(f *testing.F) {
	f.Add(bootstrapBytes(f))
	f.Add(markBytes(f, 1<<60))
	f.Add([]byte{8, 2})
	f.Add(changeBytes(f, laterMembers()))
	f.Add(changeBytes(f, state.Group{ID: 1, Epoch: 1, Members: []state.Member{{Replica: 1, Address: "a1"}}}))
	f.Add(changeBytes(f, state.Group{ID: 1, Epoch: 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		operation, err := decodeOperation(data)
		if err != nil {
			require.ErrorIs(t, err, ErrOperation)
		}
		applied := state.New(state.Options{}).Apply(operation)
		if _, bootstrap := operation.(state.Bootstrap); bootstrap {
			require.NoError(t, applied, "a layout that is read whole makes sense to an empty state")
		}
		if operation != nil {
			s := bootstrapped(t)
			_ = s.Apply(operation) // it may have no effect
			require.NoError(t, s.Map().Validate())
		}
		var again []byte
		switch o := operation.(type) {
		case state.Bootstrap:
			again, err = encodeBootstrap(o.Map)
		case state.RaiseMark:
			again, err = encodeRaiseMark(o.Mark)
		case state.ChangeGroup:
			again, err = encodeChangeGroup(&o.Group)
		default:
			return
		}
		require.NoError(t, err)
		same, err := decodeOperation(again)
		require.NoError(t, err)
		require.Equal(t, operation, same)
	})
}

// FuzzCheckpoint: any bytes are a checkpoint or an ErrCheckpoint, and what can be read is written the same.
func FuzzCheckpoint(f *testing.F) {
	layout, err := parseMap(layoutMessage())
	require.NoError(f, err)
	changed := *layout
	changed.Shards = []state.Group{layout.Shards[0], laterMembers()}
	for _, current := range []*state.Map{nil, layout, &changed} {
		encoded, err := encodeCheckpoint(12345, current, 6)
		require.NoError(f, err)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		restored, applied, err := decodeCheckpoint(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCheckpoint)
			return
		}
		again, err := encodeCheckpoint(restored.Mark(), restored.Map(), applied)
		require.NoError(t, err)
		same, sameApplied, err := decodeCheckpoint(again)
		require.NoError(t, err)
		require.Equal(t, restored.Hash(), same.Hash())
		require.Equal(t, applied, sameApplied)
	})
}
