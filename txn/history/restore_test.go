package history

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// records returns a snapshot's records.
func records(t testing.TB, snap *Snapshot) []Record {
	t.Helper()
	var all []Record
	require.NoError(t, snap.Each(func(r Record) error {
		all = append(all, r)
		return nil
	}))
	return all
}

// from feeds records to Restore.
func from(all []Record) func() (Record, error) {
	next := 0
	return func() (Record, error) {
		if next == len(all) {
			return nil, io.EOF
		}
		next++
		return all[next-1], nil
	}
}

// restore takes a state through a checkpoint.
func restore(t testing.TB, s *State) *State {
	t.Helper()
	restored, err := Restore(s.options, from(records(t, s.Snapshot())))
	require.NoError(t, err)
	return restored
}
