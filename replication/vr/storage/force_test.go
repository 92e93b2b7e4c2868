package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/force"
)

// TestForceStartsFromWhatIsThere: whatever a crash or damage has left, the next Load finds it whole and clean, in a view
// that nobody was in, with the view that the rest of the log is really of; and it says that it was forced.
func TestForceStartsFromWhatIsThere(t *testing.T) { eachLog(t, testForceStartsFromWhatIsThere) }

func testForceStartsFromWhatIsThere(t *testing.T, log Log) {
	at := time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC)
	for _, durability := range allDurabilities {
		for name, which := range map[string][2]bool{"crash": {}, "entry": {true, false}, "checkpoint": {false, true}} {
			t.Run(durability.String()+" "+name, func(t *testing.T) {
				directory, entries := spoiledDirectory(t, log, durability, which[0], which[1])
				if name == "crash" {
					loaded(t, openedIn(t, directory, durability))
					directory = image(t, directory) // nothing marks its end
				}
				before := readFiles(t, directory)
				e, err := Examine(directory)
				require.NoError(t, err)
				require.Equal(t, before, readFiles(t, directory), "it was only read")
				require.Equal(t, durability, e.Durability)
				remains := e.Remains
				require.Equal(t, name == "crash" && durability == DurabilitySync, remains.Whole)
				require.EqualValues(t, 50, remains.Known)
				require.Error(t, Force(directory, starting(t, directory, 3), at, "x"), "it has promised view 3")
				for view := remains.HardState.View + 1; view <= remains.HardState.View+2; view++ {
					mark := starting(t, directory, view)
					require.NoError(t, Force(directory, mark, at, "because"))
					require.Error(t, Force(directory, mark, at, "again"), "once is enough")
				}
				got := loaded(t, openedIn(t, directory, durability))
				require.True(t, got.Clean)
				require.Empty(t, got.Damage)
				require.Len(t, got.Forced, 2)
				require.Contains(t, got.Forced[0], "2026-11-25T20:00:00Z into view 4")
				require.Equal(t, core.ViewNumber(5), got.HardState.View)
				switch {
				case which[1]:
					require.Equal(t, core.HardState{View: 5}, got.HardState, "nothing is left, and it was never normal")
					require.Empty(t, got.Entries)
				case which[0]:
					end := remains.Op
					if log == LogBolt || durability != DurabilityMemory {
						require.EqualValues(t, 44, end)
					}
					require.Equal(t, core.HardState{View: 5, LastNormalView: 1, Commit: end}, got.HardState)
					require.Equal(t, entries[int(end)-len(got.Entries):end], append([]core.Entry{}, got.Entries...))
				case durability == DurabilitySync:
					require.Equal(t, core.HardState{View: 5, LastNormalView: 2, Commit: 45}, got.HardState)
					require.Equal(t, entries[50-len(got.Entries):], got.Entries)
				}
			})
		}
	}
}

// starting is the mark that has a directory start from what it holds, in a view.
func starting(t *testing.T, directory string, view core.ViewNumber) force.Mark {
	t.Helper()
	e, err := Examine(directory)
	require.NoError(t, err)
	r := e.Remains
	return force.Mark{Starts: true, HardState: core.HardState{View: view, LastNormalView: r.LogView(0), Commit: min(r.HardState.Commit, r.Op)}}
}

// TestAWitnessStartsWithNothing: its log and its places in it go, and it is clean.
func TestAWitnessStartsWithNothing(t *testing.T) { eachLog(t, testAWitnessStartsWithNothing) }

func testAWitnessStartsWithNothing(t *testing.T, log Log) {
	for _, which := range [][2]bool{{}, {true, false}, {false, true}} {
		directory, _ := spoiledDirectory(t, log, DurabilityAsync, which[0], which[1])
		mark := force.Mark{Starts: true, Nothing: true, HardState: core.HardState{View: 7}}
		require.NoError(t, Force(directory, mark, time.Now(), "because"))
		got := loaded(t, openedIn(t, directory, DurabilityAsync))
		require.True(t, got.Clean)
		require.Equal(t, core.HardState{View: 7}, got.HardState)
		require.Empty(t, got.Entries)
		require.Zero(t, got.Checkpoint)
		require.Empty(t, got.Damage)
		require.Contains(t, got.Forced[0], "with operation 0 of view 0")
	}
}

// TestForgetLowersOnlyTheHint: one that recovers keeps its log, and its damage, until the recovered log replaces them.
func TestForgetLowersOnlyTheHint(t *testing.T) { eachLog(t, testForgetLowersOnlyTheHint) }

func testForgetLowersOnlyTheHint(t *testing.T, log Log) {
	directory, _ := spoiledDirectory(t, log, DurabilitySync, true, false)
	e, err := Examine(directory)
	require.NoError(t, err)
	e.Remains.HardState.Commit = 43
	require.NoError(t, Force(directory, force.Mark{HardState: e.Remains.HardState}, time.Now(), "x"))
	got := loaded(t, opened(t, directory))
	require.Equal(t, core.HardState{View: 3, LastNormalView: 2, Commit: 43}, got.HardState)
	require.Len(t, got.Damage, 1)
	require.NoFileExists(t, filepath.Join(directory, forcedName))
}

// TestForceIsWrittenDownFirst: a directory whose log cannot be written says at least that it was tried.
func TestForceIsWrittenDownFirst(t *testing.T) {
	directory := created(t, LogDefault)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
	mark := force.Mark{Starts: true, HardState: core.HardState{View: 9}}
	require.ErrorIs(t, Force(directory, mark, time.Now(), "x"), ErrInUse)
	require.NoError(t, disk.Close())
	require.NoError(t, os.Mkdir(filepath.Join(directory, forcedName+temporaryName), 0o700))
	require.Error(t, Force(directory, mark, time.Now(), "x"))
	require.Equal(t, core.ViewNumber(1), loaded(t, opened(t, directory)).HardState.View, "and without that nothing is changed")
}

// TestForceAndForgetSettleTheLog: the last batch of segments that a kill has left may be in the kernel's memory only, and
// has a commit-number of its own. What an operator was told of is durable, and what was to be forgotten is.
func TestForceAndForgetSettleTheLog(t *testing.T) {
	directory, path, entries, starts := marked(t)
	require.NoError(t, Force(directory, starting(t, directory, 1), time.Now(), "because"))
	changeFile(t, path, func(data []byte) []byte { return data[:min(starts[9], len(data))] }) // a power cut
	got := loaded(t, opened(t, directory))
	require.Empty(t, got.Damage)
	require.Equal(t, entries, got.Entries)

	directory, _, entries, _ = marked(t)
	require.NoError(t, Force(directory, force.Mark{HardState: core.HardState{Commit: 7}}, time.Now(), "x"))
	got = loaded(t, opened(t, directory))
	require.Equal(t, core.OpNumber(7), got.HardState.Commit)
	require.Equal(t, entries, got.Entries)
}
