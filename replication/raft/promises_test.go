package raft

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAVoteIsOneWrite, of term and candidate: what is kept of it is all or nothing.
func TestAVoteIsOneWrite(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	open := func() *guard {
		g, err := newGuard(storage, 1000, &forgotten{}, &counters{}, func(error) {})
		require.NoError(t, err)
		return g
	}
	voted := func(term uint64, candidate string) {
		t.Helper()
		g := open()
		of, err := g.GetUint64([]byte(keyLastVoteTerm))
		require.NoError(t, err)
		whom, err := g.Get([]byte(keyLastCandidate))
		require.NoError(t, err)
		require.Equal(t, term, of)
		require.Equal(t, candidate, string(whom))
	}
	g := open()
	_, err := g.GetUint64([]byte(keyLastVoteTerm))
	require.EqualError(t, err, "not found", "the library goes by that")
	_, err = g.Get([]byte(keyLastCandidate))
	require.EqualError(t, err, "not found")
	before := storage.Syncs()
	require.NoError(t, g.SetUint64([]byte(keyLastVoteTerm), 5))
	require.NoError(t, g.Set([]byte(keyLastCandidate), []byte("3.1")))
	require.Equal(t, before+2, storage.Syncs(), "one transaction of bbolt")
	require.NoError(t, g.SetUint64([]byte(keyCurrentTerm), 6))
	require.NoError(t, g.SetUint64([]byte(keyLastVoteTerm), 6)) // and it ends before the candidate comes
	require.NoError(t, storage.Close())
	storage = reopened(t, directory, DurabilitySync)
	voted(5, "3.1")
	broken := errors.New("the disk is gone")
	stable := storage.stable
	storage.stable = &failingStable{StableStore: stable, fail: broken}
	g = open()
	require.NoError(t, g.SetUint64([]byte(keyLastVoteTerm), 6))
	require.ErrorIs(t, g.Set([]byte(keyLastCandidate), []byte("1")), broken, "the library gives no vote")
	storage.stable = stable
	voted(5, "3.1")
	require.NoError(t, stable.Set([]byte(keyLastCandidate), []byte("1")))
	_, err = open().Get([]byte(keyLastCandidate))
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, storage.Close())
}
