package raft

import (
	"path/filepath"
	"testing"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// ends are logs of a follower that do not all agree with a snapshot which it is sent: of 4 entries that were committed and
// some of its own, of term 2. Wrong are those at or below the snapshot's end.
func ends() map[string]struct {
	terms       []uint64
	index, term uint64
	wrong       bool
} {
	return map[string]struct {
		terms       []uint64
		index, term uint64
		wrong       bool
	}{
		"the entry is there":                         {[]uint64{1, 1, 1}, 4, 1, false},
		"the entry is there, and an end of its own":  {[]uint64{1, 1, 1, 2, 2, 2}, 4, 1, false},
		"another is there, and an end of its own":    {[]uint64{1, 1, 1, 2, 2, 2}, 5, 3, true},
		"another is there, and is the last":          {[]uint64{1, 1, 1, 2, 2, 2}, 7, 3, true},
		"none is there, and below are others":        {[]uint64{1, 1, 1, 2, 2, 2}, 9, 3, true},
		"none is there, and below are the leader's ": {[]uint64{1, 1, 1}, 9, 3, false},
	}
}

// TestAFollowerWithAnEndOfItsOwnGoesOn after a snapshot: it takes what comes next, at once and after a restart, applies
// nothing of its own, and keeps nothing that the leader does not have.
func TestAFollowerWithAnEndOfItsOwnGoesOn(t *testing.T) {
	for name, end := range ends() {
		for _, restarts := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				storage := left(t, end.terms...)
				replica, p, machine := follower(t, storage)
				require.True(t, p.install(end.index, end.term, "a", "b").GetAgree())
				if restarts {
					require.NoError(t, replica.Close())
					replica, p, machine = follower(t, storage)
				}
				require.True(t, p.extend(end.index, end.term, end.index+1).GetAgree(), "it is asked about the snapshot's end")
				requireSettled(t, replica, end.index, end.wrong)
				require.True(t, p.extend(end.index, end.term, end.index+2, "c", "d").GetAgree())
				requireNotes(t, machine, "a", "b", "c", "d")
				require.True(t, p.extend(end.index+2, 3, end.index+3, "e").GetAgree())
				requireNotes(t, machine, "a", "b", "c", "d", "e")
				require.NoError(t, replica.Close())
				_, p, machine = follower(t, storage)
				require.True(t, p.extend(end.index+3, 3, end.index+4, "f").GetAgree())
				requireNotes(t, machine, "a", "b", "c", "d", "e", "f")
			})
		}
	}
}

func requireNotes(t *testing.T, machine *notes, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(machine.all()) >= len(want) }, patience, patience/30000)
	require.Equal(t, want, machine.all())
}

// requireSettled looks for entries up to the snapshot's end that the leader does not have.
func requireSettled(t *testing.T, r *Replica, index uint64, wrong bool) {
	t.Helper()
	for i := uint64(1); i <= index && wrong; i++ {
		require.ErrorIs(t, r.guard.GetLog(i, &hraft.Log{}), hraft.ErrLogNotFound, "entry %d", i)
	}
}

// TestAReplicaThatEndedBeforeItsLogFollowed the snapshot has it follow when it is opened.
func TestAReplicaThatEndedBeforeItsLogFollowed(t *testing.T) {
	for name, end := range ends() {
		t.Run(name, func(t *testing.T) {
			storage := left(t, end.terms...)
			storage.snapshots.newest = &hraft.SnapshotMeta{
				ID: snapshotID(end.index, end.term), Index: end.index, Term: end.term, Configuration: bootstrap(three()), ConfigurationIndex: 1,
				Version: hraft.SnapshotVersionMax,
			}
			storage.snapshots.keeper = &memoryKeeper{data: stateOf("a")}
			replica, p, machine := follower(t, storage)
			requireSettled(t, replica, end.index, end.wrong)
			require.True(t, p.extend(end.index, end.term, end.index+1, "b").GetAgree())
			requireNotes(t, machine, "a", "b")
		})
	}
}

// TestWhatTheSnapshotHasIsNotCompared: the entries of a message that it has are passed over, and who says that another
// entry is where it ends is not believed.
func TestWhatTheSnapshotHasIsNotCompared(t *testing.T) {
	_, p, machine := follower(t, left(t, 1, 1, 2, 2))
	require.True(t, p.install(8, 3, "a").GetAgree())
	require.True(t, p.extend(5, 1, 6, "old").GetAgree())
	require.True(t, p.extend(0, 0, 6, "old", "old").GetAgree())
	require.False(t, p.extend(8, 2, 9, "b").GetAgree())
	require.True(t, p.extend(5, 1, 9, "old", "old", "old", "b").GetAgree())
	requireNotes(t, machine, "a", "b")
}

// TestASnapshotThatItHas is not fetched again, and the leader is told that it has it.
func TestASnapshotThatItHas(t *testing.T) {
	replica, p, machine := follower(t, left(t, 1, 2))
	require.True(t, p.install(8, 3, "a").GetAgree())
	require.True(t, p.extend(8, 3, 9, "b").GetAgree())
	require.True(t, p.install(8, 3, "a").GetAgree())
	require.True(t, p.install(7, 3, "older").GetAgree())
	require.True(t, p.extend(9, 3, 10, "c").GetAgree())
	requireNotes(t, machine, "a", "b", "c")
	require.EqualValues(t, 1, replica.Status().Counters["checkpoint_fetches"])
	late := p.call(&pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, Term: 1, Index: 7, Configuration: hraft.EncodeConfiguration(bootstrap(three()))})
	require.False(t, late.GetAgree(), "that one leads no more")
	require.EqualValues(t, 3, late.GetTerm())
}

// TestALaterSnapshotStays: one that is written while a later one is installed takes nothing away, and is no failure.
func TestALaterSnapshotStays(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	g, err := newGuard(storage, 1000, &forgotten{}, &counters{}, func(err error) { t.Error(err) })
	require.NoError(t, err)
	s := storage.snapshots
	s.forgotten, s.fail, s.halted, s.settle, s.arrives = g.forgotten, g.fail, &g.halted, g.settle, storage.arrives
	create := func(index, term uint64) hraft.SnapshotSink {
		made, err := s.Create(hraft.SnapshotVersionMax, index, term, bootstrap(three()), 1, nil)
		require.NoError(t, err)
		_, err = made.Write([]byte("state"))
		require.NoError(t, err)
		return made
	}
	slow, same, fast := create(5, 1), create(9, 2), create(9, 2)
	require.NoError(t, fast.Close())
	require.ErrorIs(t, slow.Close(), errSuperseded)
	require.ErrorIs(t, same.Close(), errSuperseded)
	files, err := filepath.Glob(filepath.Join(directory, snapshotPrefix+"*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(directory, snapshotPrefix+snapshotID(9, 2))}, files)
	require.EqualValues(t, 9, s.newestIndex())
	create(12, 2) // what is not whole is gone after the next opening
	require.NoError(t, storage.Close())
	storage = reopened(t, directory, DurabilitySync)
	require.EqualValues(t, 9, storage.snapshots.newestIndex())
	files, err = filepath.Glob(filepath.Join(directory, snapshotPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, storage.Close())
}

// TestTheLogIsKeptToTheSnapshotBefore, however much it grows while one is written; and of what is committed nothing is
// given up for another leader's.
func TestTheLogIsKeptToTheSnapshotBefore(t *testing.T) {
	storage := NewMemoryStorage()
	var failure error
	g, err := newGuard(storage, 1000, &forgotten{}, &counters{}, func(err error) { failure = err })
	require.NoError(t, err)
	require.NoError(t, g.StoreLogs(entries(1, 100, 1)))
	bounds := func() [2]uint64 { first, last := g.bounds(); return [2]uint64{first, last} }
	s := storage.snapshots
	s.newest = &hraft.SnapshotMeta{Index: 50, Term: 1}
	require.NoError(t, g.DeleteRange(1, 50))
	require.Equal(t, [2]uint64{1, 100}, bounds(), "it is the first snapshot")
	s.newest, s.previous = &hraft.SnapshotMeta{Index: 80, Term: 1}, 50
	require.NoError(t, g.DeleteRange(1, 80))
	require.Equal(t, [2]uint64{51, 100}, bounds())
	require.NoError(t, g.DeleteRange(1, 80), "again")
	require.NoError(t, g.DeleteRange(91, 100))
	require.Equal(t, [2]uint64{51, 90}, bounds())
	require.NoError(t, failure)
	require.ErrorIs(t, g.DeleteRange(80, 90), ErrDamaged)
	require.ErrorIs(t, failure, ErrDamaged)
	require.Equal(t, [2]uint64{51, 90}, bounds())
}

// TestCommitGoesNoFurtherThanTheMessage: what is above may be the follower's own.
func TestCommitGoesNoFurtherThanTheMessage(t *testing.T) {
	_, p, machine := follower(t, left(t, 1, 1, 2, 2))
	require.True(t, p.extend(3, 1, 5).GetAgree())
	require.True(t, p.extend(3, 1, 5, "a").GetAgree())
	requireNotes(t, machine, "its own", "its own", "a")
	made, err := command(peer{id: 1}, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Term: 3, Index: 7, IndexTerm: 2, Commit: 9, Entries: []*pb.RaftEntry{{Term: 3}}})
	require.NoError(t, err)
	require.EqualValues(t, 8, made.(*hraft.AppendEntriesRequest).LeaderCommitIndex)
}
