package sessions

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMachine(t testing.TB, inner replication.StateMachine, options Options) *Machine {
	t.Helper()
	machine, err := New(inner, options)
	require.NoError(t, err)
	return machine
}

func requestOf(session, number, acknowledged, id uint64) []byte {
	return table.Request{Session: session, Number: number, Acknowledged: acknowledged, Operation: named(id)}.Encode()
}

func snapshotBytes(t *testing.T, machine replication.StateMachine) []byte {
	t.Helper()
	s, err := machine.Snapshot()
	require.NoError(t, err)
	var data bytes.Buffer
	n, err := s.WriteTo(&data)
	require.NoError(t, err)
	require.Equal(t, int64(data.Len()), n)
	s.Release()
	return data.Bytes()
}

func TestNewValidates(t *testing.T) {
	_, err := New(nil, Options{})
	require.ErrorIs(t, err, ErrOptions)
	_, err = New(newCounter(), Options{WindowMax: -1})
	require.ErrorIs(t, err, ErrOptions)
	require.ErrorContains(t, err, "WindowMax")
}

func TestMachineExecutesOnceOverCheckpoints(t *testing.T) {
	inner := newCounter()
	machine := newMachine(t, inner, Options{SessionsMax: 2})
	results := machine.Apply(1, [][]byte{table.Register(0), requestOf(1, 1, 1, 100), requestOf(1, 2, 1, 101), requestOf(1, 1, 1, 100)})
	require.Equal(t, results[1], results[3])
	require.Equal(t, 1, inner.calls)
	data := snapshotBytes(t, machine)

	other := newCounter()
	restored := newMachine(t, other, Options{SessionsMax: 2})
	require.NoError(t, restored.Restore(iotest.DataErrReader(bytes.NewReader(data))))
	require.Equal(t, data, snapshotBytes(t, restored))
	again := restored.Apply(5, [][]byte{requestOf(1, 2, 1, 101), requestOf(1, 3, 1, 102), []byte("junk")})
	require.Equal(t, results[2], again[0])
	require.Equal(t, map[uint64]int{100: 1, 101: 1, 102: 1}, other.times)
	restored.Apply(8, [][]byte{table.Register(0), table.Register(0), requestOf(1, 4, 1, 103), requestOf(8, 1, 1, 104), requestOf(8, 1, 2, 1), requestOf(8, 2, 2, 105), requestOf(8, 1, 1, 104), requestOf(8, 99, 1, 1)})
	require.Equal(t, map[string]uint64{
		"requests_executed": 3, "requests_repeated": 1, "requests_refused_dropped": 1, "requests_refused_below": 1,
		"requests_refused_above": 1, "requests_refused_malformed": 2, "sessions_registered": 2, "sessions_dropped": 1,
		"replies_dropped": 0, "sessions": 2, "reply_bytes": 18,
	}, restored.Counters())
}

func TestSnapshotReleasesTheInnerOne(t *testing.T) {
	machine := newMachine(t, newCounter(), Options{})
	s, err := machine.Snapshot()
	require.NoError(t, err)
	s.Release()
	require.Equal(t, 1, *s.(*snapshot).inner.(*counterSnapshot).released)
	failing := newMachine(t, &counter{failSnapshot: true}, Options{})
	_, err = failing.Snapshot()
	require.ErrorContains(t, err, "no snapshot today")
	s, err = machine.Snapshot()
	require.NoError(t, err)
	_, err = s.WriteTo(failingWriter{})
	require.ErrorIs(t, err, io.ErrShortBuffer)
	s.Release()
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortBuffer }

func TestRestoreChecksAllOfIt(t *testing.T) {
	machine := newMachine(t, newCounter(), Options{})
	machine.Apply(1, [][]byte{table.Register(0), requestOf(1, 1, 1, 100)})
	data := snapshotBytes(t, machine)
	restore := func(inner *counter, options Options, r io.Reader) error {
		return newMachine(t, inner, options).Restore(r)
	}
	require.NoError(t, restore(newCounter(), Options{}, bytes.NewReader(data)))
	require.ErrorIs(t, restore(newCounter(), Options{WindowMax: 3}, bytes.NewReader(data)), ErrOtherOptions)
	require.ErrorIs(t, restore(newCounter(), Options{}, bytes.NewReader(data[:20])), ErrCheckpoint)
	require.ErrorIs(t, restore(newCounter(), Options{}, bytes.NewReader(data[:len(data)-1])), io.ErrUnexpectedEOF, "the machine's own")
	require.ErrorIs(t, restore(&counter{leaveBytes: true}, Options{}, bytes.NewReader(data)), ErrCheckpoint)
	broken := errors.New("the disk is gone")
	err := restore(newCounter(), Options{}, io.MultiReader(bytes.NewReader(data[:30]), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, ErrCheckpoint, "the bytes are not to blame")
	err = restore(&counter{leaveBytes: true}, Options{}, io.MultiReader(bytes.NewReader(data[:len(data)-4]), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
}

func TestBrokenContractsGiveNoResults(t *testing.T) {
	machine := newMachine(t, &counter{times: map[uint64]int{}, short: true}, Options{})
	require.Empty(t, machine.Apply(1, [][]byte{table.Register(0), requestOf(1, 1, 1, 100)}))
	require.Empty(t, machine.Apply(3, [][]byte{table.Register(0)}), "a backend sees that results are missing, and stops")
	sound := newMachine(t, newCounter(), Options{})
	require.Len(t, sound.Apply(5, [][]byte{table.Register(0)}), 1)
	require.Empty(t, sound.Apply(5, [][]byte{table.Register(0)}))
}
