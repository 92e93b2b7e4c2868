package process_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// writers put objects, each another, until they are told to stop. acknowledged are those that are there.
type writers struct {
	stop         context.CancelFunc
	working      sync.WaitGroup
	mu           sync.Mutex // guards acknowledged
	acknowledged []string
}

func write(t *testing.T, connected *clerk.Clerk) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &writers{stop: stop}
	for writer := range 4 {
		w.working.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				oid := fmt.Sprintf("object/%d/%d", writer, n)
				if connected.Put(ctx, oid, []byte(oid)) != nil {
					continue
				}
				w.mu.Lock()
				w.acknowledged = append(w.acknowledged, oid)
				w.mu.Unlock()
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

// more waits until some more are acknowledged.
func (w *writers) more(t *testing.T) {
	t.Helper()
	from := w.count()
	require.NoError(t, survey.Poll(within(t), func() error {
		if now := w.count(); now < from+20 {
			return fmt.Errorf("%d are acknowledged, %d were", now, from)
		}
		return nil
	}))
}

func (w *writers) end() {
	w.stop()
	w.working.Wait()
}

// In async and memory one replica after the other of each group is killed under load, the primary first: it recovers
// from the others, nothing acknowledged is lost, and the states are equal. A clean stop of all of them loses nothing
// either. When more than f are killed at once the group stays stopped and says so.
func TestKilledReplicasRecover(t *testing.T) {
	for _, r := range []struct{ backend, durability, says string }{
		{cluster.BackendVR, "async", "msg=recovered"},
		{cluster.BackendVR, "memory", "msg=recovered"},
		{cluster.BackendRaft, "memory", "it waits for a later view"},
	} {
		t.Run(r.backend+" "+r.durability, func(t *testing.T) {
			if testing.Short() && r.backend == cluster.BackendRaft {
				t.Skip("each restart costs an election, and reading all that is written meanwhile takes its time")
			}
			c, layout := startOn(t, r.backend, r.durability, "bbolt", 3)
			connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, connected.Close()) })
			w := write(t, connected)
			w.more(t)
			for _, group := range []uint32{cluster.CoordinatorGroup, 1} {
				primary, err := c.Primary(within(t), group)
				require.NoError(t, err)
				for _, node := range []process.Node{primary, {Group: group, Replica: primary.Replica%3 + 1}} {
					killUnderLoad(t, c, w, node)
					log, err := os.ReadFile(filepath.Join(layout.Directory, node.String(), "log"))
					require.NoError(t, err)
					require.Contains(t, string(log), r.says)
				}
			}
			w.end()
			requireAll(t, connected, w.acknowledged)
			requireEqualStates(t, c)

			for _, node := range c.Nodes(1) {
				require.NoError(t, c.Terminate(within(t), node))
			}
			for _, node := range c.Nodes(1) {
				require.NoError(t, c.Restart(node))
			}
			require.NoError(t, c.AwaitWhole(within(t)))
			requireAll(t, connected, w.acknowledged)
			t.Logf("%d objects are acknowledged and there", len(w.acknowledged))
			killTooMany(t, c, connected)
		})
	}
}

func killUnderLoad(t *testing.T, c *process.Cluster, w *writers, node process.Node) {
	t.Helper()
	require.NoError(t, c.Kill(node))
	w.more(t)
	require.NoError(t, c.Restart(node))
	require.NoError(t, c.AwaitWhole(within(t)))
	w.more(t)
}

func killTooMany(t *testing.T, c *process.Cluster, connected *clerk.Clerk) {
	t.Helper()
	nodes := []process.Node{{Group: 1, Replica: 1}, {Group: 1, Replica: 2}}
	for _, node := range nodes {
		require.NoError(t, c.Kill(node))
	}
	for _, node := range nodes {
		require.NoError(t, c.Restart(node))
	}
	require.NoError(t, survey.Poll(within(t), func() error {
		if sentence := survey.Assess(c.Survey(t.Context())).Sentence; !strings.HasPrefix(sentence, "Shard 1 stays stopped: replicas 1 and 2") {
			return fmt.Errorf("it says: %s", sentence)
		}
		return nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.Error(t, connected.Put(ctx, "late", []byte("late")))
}

// requireAll reads everything that was acknowledged.
func requireAll(t *testing.T, connected *clerk.Clerk, acknowledged []string) {
	t.Helper()
	require.Greater(t, len(acknowledged), 100)
	for oids := range slices.Chunk(acknowledged, 200) {
		values, err := connected.GetMulti(within(t), oids...)
		require.NoError(t, err)
		for i, value := range values {
			require.Equal(t, oids[i], string(value.Bytes), "an object that is not there has no bytes")
		}
	}
}

// requireEqualStates waits until all replicas of a group have applied the same and compares their states.
func requireEqualStates(t *testing.T, c *process.Cluster) {
	t.Helper()
	require.NoError(t, survey.Poll(within(t), func() error {
		first, compared := map[uint32]survey.Replica{}, 0
		for _, r := range c.SurveyStates(t.Context()) {
			one, seen := first[r.Group]
			switch {
			case r.Error != "" || r.StateHash == "":
				return fmt.Errorf("replica %d of group %d: %s", r.Replica, r.Group, r.Error)
			case !seen:
				first[r.Group] = r
			case one.Applied != r.Applied:
				return fmt.Errorf("group %d: states at %d and %d", r.Group, one.Applied, r.Applied)
			case one.StateHash != r.StateHash:
				return survey.Final{Err: fmt.Errorf("group %d: replicas %d and %d differ at %d", r.Group, one.Replica, r.Replica, r.Applied)}
			default:
				compared++
			}
		}
		want := 0
		for _, group := range c.Groups() {
			want += len(group.Members) - 1
		}
		if compared != want {
			return fmt.Errorf("%d compared, not %d", compared, want)
		}
		return nil
	}))
}
