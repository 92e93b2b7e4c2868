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
	m.remember(0, []string{"one:1", "two:1"})
	require.NoFileExists(t, filepath.Join(data, coordinatorsFile), "the node's file says so already")

	m.remember(1, []string{"two:1", "three:1"})
	require.Equal(t, []string{"two:1", "three:1", "one:1"}, recall().addresses())
	m.remember(3, []string{"three:1", "four:1"})
	require.Equal(t, []string{"three:1", "four:1", "one:1", "two:1"}, recall().addresses())
	m.remember(2, []string{"two:1", "five:1"})
	again := recall()
	require.EqualValues(t, 3, again.epoch)
	again.remember(0, []string{"one:1", "two:1"})
	require.Equal(t, []string{"three:1", "four:1", "one:1", "two:1"}, recall().addresses(), "one that was away does not know better")

	for name, text := range map[string]string{
		"empty": "", "rubbish": "\x00\xff", "no port": "epoch 4\nfive\n", "nobody": "epoch 4\n\n", "no epoch": "five:1\n",
		"torn": "epoch 4\nfive:1\nsix:", "torn early": "epoch 4", "another spelling": "epoch 04\nfive:1\n", "more": "epoch 4 \nfive:1\n",
		"huge": "epoch 4\n" + strings.Repeat("six:1\n", coordinatorsBytesMax/6+1),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(data, coordinatorsFile), []byte(text), 0o600))
		require.Equal(t, []string{"one:1", "two:1"}, recall().addresses(), name)
		require.Zero(t, recall().epoch, name)
	}
}

// TestCoordinatorsThatCannotBeWrittenDown: that is said, tried again with the next news, and nothing else is lost.
func TestCoordinatorsThatCannotBeWrittenDown(t *testing.T) {
	data := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(data, nil, 0o600))
	var log strings.Builder
	m := recallCoordinators(data, []Member{{Replica: 1, Address: "one:1"}}, slog.New(slog.NewTextHandler(&log, nil)))
	m.remember(1, []string{"two:1"})
	require.Contains(t, log.String(), "could not be written down")
	require.NoError(t, os.Remove(data))
	m.remember(1, []string{"two:1"})
	require.Equal(t, []string{"two:1"}, recallCoordinators(data, nil, nil).known)
}

// FuzzCoordinators: any bytes are a memory or none, and what is read is written the same.
func FuzzCoordinators(f *testing.F) {
	f.Add(encodeCoordinators(7, []string{"one:1", "[::1]:2"}))
	f.Add("epoch 1\none:1")
	f.Add("epoch 1")
	f.Fuzz(func(t *testing.T, text string) {
		epoch, addresses := parseCoordinators(text)
		if addresses != nil {
			require.Equal(t, text, encodeCoordinators(epoch, addresses))
		}
	})
}
