package table

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// FuzzApply takes any bytes for a log: each operation has one result that can be read, no request is executed twice
// or by two cuts of the log differently, and what is malformed changes nothing.
func FuzzApply(f *testing.F) {
	pack := func(operations ...[]byte) (data []byte) {
		for _, operation := range operations {
			data = append(append(data, byte(len(operation))), operation...)
		}
		return data
	}
	f.Add(pack(Register(7), ask(1, 1, "a"), ask(1, 1, "a"), ask(2, 2, "bb"), ask(9, 3, "c"), Register(8), Register(9), ask(1, 0, "a")))
	f.Add(pack(Register(7), ask(1<<63, 1<<62, "a"), ask(1<<63, 1<<63, "a"), nil, ask(0, 0, "")))
	f.Add(pack([]byte{1, 0}, []byte{1, 1}, []byte{1, 2}, []byte{2, 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var operations [][]byte
		for len(data) > 0 {
			end := min(1+int(data[0]), len(data))
			operations, data = append(operations, data[1:end]), data[end:]
		}
		options := Options{SessionsMax: 2, WindowMax: 5, SessionReplyBytesMax: 64, ReplyBytesMax: 100}
		whole, single := New(options), New(options)
		together, err := whole.Apply(1, operations, echo)
		require.NoError(t, err)
		require.Len(t, together, len(operations))
		times := map[[2]uint64]uint64{}
		for i, operation := range operations {
			op := uint64(i + 1)
			before := frozenBytes(single.Freeze())
			results, err := single.Apply(op, [][]byte{operation}, echo)
			require.NoError(t, err)
			require.Equal(t, results[0], together[i])
			result, ok := ReadResult(results[0])
			require.True(t, ok)
			what, r := read(operation)
			if what == kindMalformed {
				require.Equal(t, StatusMalformed, result.Status)
				after := frozenBytes(single.Freeze())
				const applied = 36 // only that moves on, and the checksum
				require.Equal(t, before[:applied], after[:applied])
				require.Equal(t, before[applied+8:len(before)-4], after[applied+8:len(after)-4])
			}
			if result.Status == StatusExecuted || result.Status == StatusReplyDropped {
				id := [2]uint64{r.Session, r.Number}
				require.Contains(t, []uint64{0, result.Op}, times[id], "executed twice")
				times[id] = result.Op
			}
		}
		require.Equal(t, frozenBytes(whole.Freeze()), frozenBytes(single.Freeze()))
		restored, err := Restore(options, bufio.NewReader(bytes.NewReader(frozenBytes(whole.Freeze()))))
		require.NoError(t, err)
		require.Equal(t, frozenBytes(whole.Freeze()), frozenBytes(restored.Freeze()))
	})
}

func echo(_ uint64, operations [][]byte) [][]byte { return append([][]byte(nil), operations...) }

// FuzzRestore takes any bytes for a checkpoint: they are refused as one, or are exactly what the table writes again.
func FuzzRestore(f *testing.F) {
	options := Options{SessionsMax: 4, WindowMax: 5, SessionReplyBytesMax: 64, ReplyBytesMax: 100}
	table := New(options)
	for i, operation := range [][]byte{Register(7), ask(1, 1, "a"), ask(4, 1, "bb"), Register(8), ask(3, 2, "c"), Register(9)} {
		_, err := table.Apply(uint64(i+1), [][]byte{operation}, echo)
		require.NoError(f, err)
		f.Add(frozenBytes(table.Freeze()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > headerBytes {
			// With the right checksum, so that what is behind it is reached.
			sink := &checksumWriter{to: &bytes.Buffer{}}
			_, _ = sink.Write(data[:len(data)-4])
			data = binary.LittleEndian.AppendUint32(bytes.Clone(data[:len(data)-4]), sink.sum)
		}
		reader := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(data)))
		restored, err := Restore(options, reader)
		if err != nil {
			require.True(t, errors.Is(err, ErrCheckpoint) || errors.Is(err, ErrOtherOptions), "%v", err)
			return
		}
		again := frozenBytes(restored.Freeze())
		require.LessOrEqual(t, len(again), len(data))
		require.Equal(t, data[:len(again)], again)
		if restored.applied < 1<<62 {
			_, err = restored.Apply(restored.applied+1, [][]byte{ask(2, 1, "x"), Register(1), Register(2), Register(3), Register(4)}, echo)
			require.NoError(t, err)
			_ = frozenBytes(restored.Freeze())
		}
	})
}

// FuzzReadResult takes any bytes for a result.
func FuzzReadResult(f *testing.F) {
	for _, data := range [][]byte{registered(3, 5), executed(4, []byte("x")), numbered(StatusBelowWindow, 9, 0), plain(StatusMalformed), {1, 9}} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, ok := ReadResult(data)
		if !ok {
			return
		}
		var again []byte
		switch r.Status {
		case StatusRegistered:
			again = registered(r.Session, r.Window)
		case StatusExecuted:
			again = executed(r.Op, r.Reply)
		case StatusReplyDropped:
			again = numbered(r.Status, r.Op, 0)
		case StatusBelowWindow, StatusAboveWindow:
			again = numbered(r.Status, r.Lowest, 0)
		default:
			again = plain(r.Status)
		}
		require.Equal(t, data, again)
	})
}
