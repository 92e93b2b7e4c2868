package process_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster/process"
)

// A replica whose log, and then one whose log and checkpoint, went bad on the disk while it was down, repairs itself from
// the others under load, says what it found, serves again and ends equal to them.
func TestDamagedReplicaIsRepaired(t *testing.T) {
	for _, log := range []string{"bbolt", "wal"} {
		t.Run(log, func(t *testing.T) { testDamagedReplicaIsRepaired(t, log) })
	}
}

func testDamagedReplicaIsRepaired(t *testing.T, log string) {
	c, layout := startIn(t, "sync", log, 3)
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connected.Close()) })
	w := write(t, connected)
	w.more(t)
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	for _, node := range []process.Node{{Group: 1, Replica: primary.Replica%3 + 1}, primary} {
		require.NoError(t, c.Kill(node))
		w.more(t)
		directory := filepath.Join(layout.Directory, node.String())
		spoiled := 0
		require.NoError(t, filepath.WalkDir(directory, func(path string, entry os.DirEntry, err error) error {
			require.NoError(t, err)
			if entry.Name() != "replica.db" && !strings.HasPrefix(entry.Name(), "segment-") {
				return nil
			}
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			changed := bytes.ReplaceAll(data, []byte("object/1/"), []byte("Object/1/"))
			spoiled += bytes.Count(data, []byte("object/1/"))
			return os.WriteFile(path, changed, 0o600)
		}))
		require.Positive(t, spoiled)
		require.NoError(t, c.Restart(node))
		require.NoError(t, c.AwaitWhole(within(t)))
		w.more(t)
		log, err := os.ReadFile(filepath.Join(directory, "log"))
		require.NoError(t, err)
		require.Contains(t, string(log), "the storage is damaged")
		require.Contains(t, string(log), "msg=recovered")
	}
	w.end()
	requireAll(t, connected, w.acknowledged)
	requireEqualStates(t, c)
}
