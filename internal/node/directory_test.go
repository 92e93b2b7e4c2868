package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func formatted(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	require.NoError(t, FormatDirectory(path, someone()))
	return path
}

func TestFormatAndOpenADirectory(t *testing.T) {
	path := formatted(t)
	require.NoError(t, FormatDirectory(path, someone()), "the same again")
	d, err := OpenDirectory(path, someone())
	require.NoError(t, err)
	require.Equal(t, someone(), d.Identity())
	require.Equal(t, path, d.Path())
	require.NoError(t, FormatDirectory(path, someone()), "the same again, while it is in use")
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	for name, mode := range map[string]os.FileMode{"": 0o700, identityFile: 0o600, lockFile: 0o600} {
		info, err := os.Stat(filepath.Join(path, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
	require.NoFileExists(t, filepath.Join(path, temporaryFile))
}

func TestTheIncarnationIsWhatTheDirectorySays(t *testing.T) {
	want := someone()
	want.Incarnation = 0
	d, err := OpenDirectory(formatted(t), want)
	require.NoError(t, err)
	require.EqualValues(t, 9, d.Identity().Incarnation)
	require.NoError(t, d.Close())
}

func TestADirectoryOfSomebodyElse(t *testing.T) {
	path := formatted(t)
	for _, test := range []struct {
		field, want, have string
		change            func(*Identity)
	}{
		{"cluster", "09000000000000000000000000000000", "010203000000000000000000000000ff", func(i *Identity) { i.Cluster = [16]byte{9} }},
		{"group", "4", "3", func(i *Identity) { i.Group = 4 }},
		{"replica", "5", "2", func(i *Identity) { i.Replica = 5 }},
		{"incarnation", "10", "9", func(i *Identity) { i.Incarnation = 10 }},
	} {
		t.Run(test.field, func(t *testing.T) {
			other := someone()
			test.change(&other)
			expected := &IdentityError{Directory: path, Field: test.field, Want: test.want, Have: test.have}
			var refusal *IdentityError
			_, err := OpenDirectory(path, other)
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, expected, refusal)
			require.ErrorAs(t, FormatDirectory(path, other), &refusal)
			require.Equal(t, expected, refusal)
		})
	}
	d, err := OpenDirectory(path, someone())
	require.NoError(t, err, "a refusal gives the lock back")
	require.NoError(t, d.Close())
}

func TestADirectoryThatIsNotSetUp(t *testing.T) {
	empty := t.TempDir()
	_, err := OpenDirectory(empty, someone())
	require.ErrorIs(t, err, ErrNotFormatted)
	_, err = OpenDirectory(filepath.Join(empty, "none"), someone())
	require.ErrorIs(t, err, ErrNotFormatted)
	entries, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, entries, "opening leaves nothing behind")
}

func TestFormatRefusesWhatMayBeSomebodysData(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "replica.db"), []byte("precious"), 0o600))
	require.ErrorIs(t, FormatDirectory(path, someone()), ErrNotEmpty)
	_, err := OpenDirectory(path, someone())
	require.ErrorIs(t, err, ErrNotFormatted)
}

func TestFormatGoesOnWhereItWasInterrupted(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, temporaryFile), []byte("viewline iden"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(path, lostAndFound), 0o700))
	require.NoError(t, FormatDirectory(path, someone()))
	d, err := OpenDirectory(path, someone())
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

func TestADamagedIdentityIsNeverReplaced(t *testing.T) {
	path := formatted(t)
	require.NoError(t, os.WriteFile(filepath.Join(path, identityFile), []byte("nonsense"), 0o600))
	_, err := OpenDirectory(path, someone())
	require.ErrorIs(t, err, ErrIdentity)
	require.ErrorContains(t, err, filepath.Join(path, identityFile))
	require.ErrorIs(t, FormatDirectory(path, someone()), ErrIdentity)
}

func TestFormatRefusesAnIdentityOfNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	require.ErrorIs(t, FormatDirectory(path, Identity{}), ErrIdentity)
	require.ErrorIs(t, FormatDirectory(path, Identity{Cluster: [16]byte{1}}), ErrIdentity)
	require.ErrorIs(t, FormatDirectory(path, Identity{Cluster: [16]byte{1}, Replica: 1, Format: 2}), ErrIdentity)
	require.NoDirExists(t, path)
}

func TestADirectoryHasOneUser(t *testing.T) {
	path := formatted(t)
	d, err := OpenDirectory(path, someone())
	require.NoError(t, err)
	_, err = OpenDirectory(path, someone())
	require.ErrorIs(t, err, ErrInUse)
	// A child process does not inherit the lock.
	child := exec.Command("cat")
	input, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	require.NoError(t, d.Close())
	d, err = OpenDirectory(path, someone())
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.NoError(t, input.Close())
	require.NoError(t, child.Wait())
}

func TestManyFormatAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	var all sync.WaitGroup
	won := make([]error, 8)
	for i := range won {
		all.Go(func() {
			identity := someone()
			identity.Replica = uint32(i + 1)
			won[i] = FormatDirectory(path, identity)
		})
	}
	all.Wait()
	winners := 0
	for i, err := range won {
		if err == nil {
			winners++
			identity := someone()
			identity.Replica = uint32(i + 1)
			d, err := OpenDirectory(path, identity)
			require.NoError(t, err)
			require.NoError(t, d.Close())
		}
	}
	require.Equal(t, 1, winners)
}

func TestDirectoriesOnTheWayAreSynced(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "cluster", "node", "data")
	grown, err := parentsOfMissing(path + "/")
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(base, "cluster", "node"), filepath.Join(base, "cluster"), base}, grown)
	require.NoError(t, FormatDirectory(path, someone()))
	grown, err = parentsOfMissing(path)
	require.NoError(t, err)
	require.Empty(t, grown, "nothing is made")
	_, err = parentsOfMissing(filepath.Join(path, identityFile, "below a file"))
	require.ErrorIs(t, err, syscall.ENOTDIR)
}
