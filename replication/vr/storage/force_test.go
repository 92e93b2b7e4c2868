package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// TestForceStartsFromWhatIsThere: whatever a crash or damage has left, the next Load finds it whole and clean, in a view
// that nobody was in, with the view that the rest of the log is really of; and it says that it was forced.
func TestForceStartsFromWhatIsThere(t *testing.T) {
	at := time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC)
	for _, durability := range allDurabilities {
		for name, which := range map[string][2]bool{"crash": {}, "entry": {true, false}, "checkpoint": {false, true}} {
			t.Run(durability.String()+" "+name, func(t *testing.T) {
				directory, entries := spoiledDirectory(t, durability, which[0], which[1])
				if name == "crash" {
					loaded(t, openedIn(t, directory, durability))
					directory = image(t, directory) // nothing marks its end
				}
				before := readFiles(t, directory)
				e, err := Examine(directory)
				require.NoError(t, err)
				require.Equal(t, before, readFiles(t, directory), "it was only read")
				require.Equal(t, durability, e.Durability)
				require.Equal(t, name == "crash" && durability == DurabilitySync, e.Whole)
				require.EqualValues(t, 50, e.Known)
				require.Error(t, Force(directory, 3, at, "x"), "it has promised view 3")
				for range 2 {
					require.NoError(t, Force(directory, uint64(e.HardState.View)+1, at, "because"))
					require.Error(t, Force(directory, uint64(e.HardState.View)+1, at, "again"), "once is enough")
					e.HardState.View++
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
					require.Equal(t, core.HardState{View: 5, LastNormalView: 1, Commit: 44}, got.HardState)
					require.Equal(t, entries[20:44], got.Entries)
				case durability == DurabilitySync:
					require.Equal(t, core.HardState{View: 5, LastNormalView: 2, Commit: 45}, got.HardState)
					require.Equal(t, entries[20:], got.Entries)
				}
			})
		}
	}
}

// TestForgetLowersOnlyTheHint.
func TestForgetLowersOnlyTheHint(t *testing.T) {
	directory, _ := spoiledDirectory(t, DurabilitySync, true, false)
	require.NoError(t, Forget(directory, 100))
	require.NoError(t, Forget(directory, 43))
	got := loaded(t, opened(t, directory))
	require.Equal(t, core.HardState{View: 3, LastNormalView: 2, Commit: 43}, got.HardState)
	require.Len(t, got.Damage, 1)
	require.NoFileExists(t, filepath.Join(directory, forcedName))
}

// TestForceIsWrittenDownFirst: a directory whose log cannot be written says at least that it was tried.
func TestForceIsWrittenDownFirst(t *testing.T) {
	directory := created(t)
	disk := opened(t, directory)
	require.NoError(t, disk.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
	require.ErrorIs(t, Force(directory, 9, time.Now(), "x"), ErrInUse)
	require.NoError(t, disk.Close())
	require.NoError(t, os.Mkdir(filepath.Join(directory, forcedName+temporaryName), 0o700))
	require.Error(t, Force(directory, 9, time.Now(), "x"))
	require.Equal(t, core.ViewNumber(1), loaded(t, opened(t, directory)).HardState.View, "and without that nothing is changed")
}
