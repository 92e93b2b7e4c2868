package cluster

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCoordinatorsAreRemembered(t *testing.T) {
	data := t.TempDir()
	configured := []Member{{Replica: 1, Address: "one:1"}, {Replica: 2, Address: "two:1"}}
	recall := func() *coordinatorMemory { return recallCoordinators(data, configured, slog.New(slog.DiscardHandler)) }
	m := recall()
	require.Equal(t, []string{"one:1", "two:1"}, m.addresses())
	m.remember([]string{"one:1", "two:1"})
	require.NoFileExists(t, filepath.Join(data, coordinatorsFile), "the node's file says so already")

	m.remember([]string{"two:1", "three:1"})
	require.Equal(t, []string{"two:1", "three:1", "one:1"}, recall().addresses())
	m.remember([]string{"three:1", "four:1"})
	require.Equal(t, []string{"three:1", "four:1", "one:1", "two:1"}, recall().addresses())
	again := recall()
	again.remember([]string{"one:1", "two:1"})
	require.Equal(t, []string{"one:1", "two:1"}, recall().addresses())

	for name, text := range map[string]string{
		"empty": "", "rubbish": "\x00\xff", "no port": "five\n:\n", "huge": strings.Repeat("six:1\n", coordinatorsBytesMax/6+1),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(data, coordinatorsFile), []byte(text), 0o600))
		require.Equal(t, []string{"one:1", "two:1"}, recall().addresses(), name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(data, coordinatorsFile), []byte("seven\neight:1\nnine:1"), 0o600))
	require.Equal(t, []string{"eight:1", "nine:1", "one:1", "two:1"}, recall().addresses(), "what makes sense counts")
}

// TestCoordinatorsThatCannotBeWrittenDown: that is said, tried again with the next news, and nothing else is lost.
func TestCoordinatorsThatCannotBeWrittenDown(t *testing.T) {
	data := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(data, nil, 0o600))
	var log strings.Builder
	m := recallCoordinators(data, []Member{{Replica: 1, Address: "one:1"}}, slog.New(slog.NewTextHandler(&log, nil)))
	m.remember([]string{"two:1"})
	require.Contains(t, log.String(), "could not be written down")
	require.NoError(t, os.Remove(data))
	m.remember([]string{"two:1"})
	require.Equal(t, []string{"two:1"}, m.read())
}
