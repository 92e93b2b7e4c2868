package backends

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegisters(t *testing.T) {
	a, b := newRegisters(), newRegisters()
	operations := [][]byte{
		encodeOperation(1, 7, 1, []byte("one")), encodeOperation(2, 8, 1, nil), encodeOperation(1, 7, 2, []byte("two")),
	}
	require.Equal(t, [][]byte{{1, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}, {3, 0, 0, 0, 0, 0, 0, 0}}, a.Apply(1, operations))
	for i := range operations {
		b.Apply(1, operations[i:i+1])
	}
	require.Equal(t, a.now(), b.now(), "batches do not matter")
	require.Equal(t, map[uint32][]byte{1: []byte("two"), 2: {}}, a.values)
	require.Zero(t, a.now().Repeated)

	b.Apply(1, operations[1:2])
	a.Apply(1, [][]byte{nil})
	require.EqualValues(t, 1, b.now().Repeated)
	require.EqualValues(t, 1, a.now().Malformed)
	c, d := newRegisters(), newRegisters()
	c.Apply(1, operations)
	d.Apply(1, [][]byte{operations[1], operations[0], operations[2]})
	require.NotEqual(t, c.now(), d.now(), "the order does")
}

func TestRegistersAreRestored(t *testing.T) {
	from, to := newRegisters(), newRegisters()
	for n := range uint64(50) {
		from.Apply(1, [][]byte{encodeOperation(uint32(n%7), uint32(n%3), n/3+1, make([]byte, n))})
	}
	snapshot, err := from.Snapshot()
	require.NoError(t, err)
	before := from.now()
	from.Apply(1, [][]byte{encodeOperation(1, 9, 1, []byte("later"))})
	var written, again bytes.Buffer
	n, err := snapshot.WriteTo(&written)
	require.NoError(t, err)
	require.EqualValues(t, written.Len(), n)
	snapshot.Release()
	to.Apply(1, [][]byte{encodeOperation(99, 99, 1, nil)})
	require.NoError(t, to.Restore(bytes.NewReader(written.Bytes())))
	require.Equal(t, before, to.now())
	require.NotContains(t, to.values, uint32(99))
	same, err := to.Snapshot()
	require.NoError(t, err)
	_, err = same.WriteTo(&again)
	require.NoError(t, err)
	require.Equal(t, written.Bytes(), again.Bytes())
	for length := range written.Len() {
		require.ErrorIs(t, to.Restore(bytes.NewReader(written.Bytes()[:length])), errState)
	}
	require.ErrorIs(t, to.Restore(bytes.NewReader(append(written.Bytes(), 0))), errState)
	require.Equal(t, before, to.now(), "what cannot be read changes nothing")
}
