package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/vrtest"
)

// tally is a state machine that counts what it applies.
type tally struct {
	mu    sync.Mutex
	count uint64
}

// Apply counts.
func (m *tally) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count += uint64(len(operations))
	return make([][]byte, len(operations))
}

// Snapshot is of the count.
func (m *tally) Snapshot() (replication.Snapshot, error) { return tallied(m.applied()), nil }

// Restore reads it.
func (m *tally) Restore(from io.Reader) error {
	data, err := io.ReadAll(from)
	if err != nil || len(data) != 8 {
		return fmt.Errorf("%d bytes: %w", len(data), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count = binary.BigEndian.Uint64(data)
	return nil
}

func (m *tally) applied() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

type tallied uint64

// WriteTo writes it.
func (s tallied) WriteTo(to io.Writer) (int64, error) {
	n, err := to.Write(binary.BigEndian.AppendUint64(nil, uint64(s)))
	return int64(n), err
}

// Release has nothing to release.
func (tallied) Release() {}

// crashing is a storage whose replica ends as a crash would end it.
type crashing struct{ vr.Storage }

// MarkClean never happens.
func (crashing) MarkClean() error { return nil }

// storedGroup is a group of replicas over the directories of nodes.
type storedGroup struct {
	t        *testing.T
	layout   *Layout
	network  *vrtest.Network
	replicas map[uint32]*vr.Replica // that run
	machines map[uint32]*tally
}

// newStoredGroup is the first shard of a layout, running.
func newStoredGroup(t *testing.T, durability string, witness bool) *storedGroup {
	t.Helper()
	layout, err := LocalLayout(t.TempDir(), 3, 1, 3)
	require.NoError(t, err)
	if layout.Durability = durability; witness {
		layout.MarkWitnesses()
	}
	_, err = Initialise(layout)
	require.NoError(t, err)
	g := &storedGroup{t: t, layout: layout, network: vrtest.NewNetwork(), replicas: map[uint32]*vr.Replica{}, machines: map[uint32]*tally{}}
	t.Cleanup(g.stop)
	g.start(true, 1, 2, 3)
	return g
}

func (g *storedGroup) directory(replica uint32) string {
	return filepath.Join(g.layout.Directory, NodeName(1, replica))
}

// start opens replicas; those that do not end cleanly end as in a crash.
func (g *storedGroup) start(clean bool, replicas ...uint32) {
	g.t.Helper()
	for _, replica := range replicas {
		config, err := ReadNodeConfig(filepath.Join(g.directory(replica), NodeFile))
		require.NoError(g.t, err)
		durability, err := vr.ParseDurability(config.Durability)
		require.NoError(g.t, err)
		disk, err := storage.Open(config.Data, storage.Options{Durability: durability})
		require.NoError(g.t, err)
		id, err := config.ClusterID()
		require.NoError(g.t, err)
		options := vr.Options{
			Group: 1, Cluster: id, Self: replication.ReplicaID(replica), Members: []replication.ReplicaID{1, 2, 3}, Joining: replica > 3,
			Transport: g.network.Join(replication.ReplicaID(replica)), Storage: disk, Durability: durability,
			Witness: replication.ReplicaID(witnessOf(g.layout.Shards[0].Replicas)), CheckpointEvery: 10,
		}
		if !clean {
			options.Storage = crashing{disk}
		}
		if !config.isWitness() {
			g.machines[replica] = &tally{}
			options.StateMachine = g.machines[replica]
		}
		g.replicas[replica], err = vr.Open(options)
		require.NoError(g.t, err)
	}
}

// join starts a newcomer with a directory of its own.
func (g *storedGroup) join(clean bool, replica uint32) {
	g.t.Helper()
	config, err := ReadNodeConfig(filepath.Join(g.directory(1), NodeFile))
	require.NoError(g.t, err)
	config.Replica, config.Data, config.Listen = replica, dataDirectory, ""
	config.Members = append(config.Members, Member{Replica: replica, Address: fmt.Sprintf("127.0.0.1:%d", replica+100)})
	require.NoError(g.t, setUpNode(g.directory(replica), config, false))
	g.start(clean, replica)
}

func (g *storedGroup) stop() {
	for replica := range g.replicas {
		g.end(replica)
	}
}

func (g *storedGroup) end(replica uint32) {
	require.NoError(g.t, g.replicas[replica].Close())
	delete(g.replicas, replica)
}

// eventually polls until something holds.
func (g *storedGroup) eventually(what string, holds func() bool) {
	g.t.Helper()
	require.Eventually(g.t, holds, 30*time.Second, 5*time.Millisecond, what)
}

// primary is whoever leads.
func (g *storedGroup) primary() (leader *vr.Replica) {
	g.t.Helper()
	g.eventually("somebody leads", func() bool {
		for _, replica := range g.replicas {
			if replica.Status().Leading {
				leader = replica
				return true
			}
		}
		return false
	})
	return leader
}

// commit has so many operations committed, and applied by all members that run.
func (g *storedGroup) commit(count int) {
	g.t.Helper()
	for done := 0; done < count; {
		ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
		leader := g.primary()
		if result := replication.Propose(ctx, leader, leader.Status().View, []byte("operation")); result.Err == nil {
			done++
		} else {
			require.True(g.t, replication.DidNotHappen(result.Err), result.Err)
		}
		cancel()
	}
	g.eventually("all have it", func() bool {
		leader := g.primary().Status()
		for _, replica := range g.replicas {
			status := replica.Status()
			gone := status.Protocol == "left" || status.Protocol == "leaving" || status.Protocol == "transitioning"
			if !gone && status.Applied < leader.Op {
				return false
			}
		}
		return true
	})
}

// reconfigure makes these the members, and waits until all of them have begun.
func (g *storedGroup) reconfigure(ids ...uint32) {
	g.t.Helper()
	change := replication.Change{}
	for _, id := range ids {
		change.Members = append(change.Members, replication.Member{ID: replication.ReplicaID(id)})
	}
	var refusal error
	require.Eventually(g.t, func() bool {
		_, refusal = g.primary().Reconfigure(g.t.Context(), change)
		return refusal == nil
	}, 30*time.Second, 5*time.Millisecond, "%v", refusal)
	g.eventually("the epoch has begun", func() bool {
		for _, id := range ids {
			if status := g.replicas[id].Status(); status.Epoch == 0 || status.Protocol != "normal" {
				return false
			}
		}
		return true
	})
}

func (g *storedGroup) paths(replicas ...uint32) (paths []string) {
	for _, replica := range replicas {
		paths = append(paths, g.directory(replica))
	}
	return paths
}

// The members of a group have changed, and all of them crash: who they are say the directories, not the configuration
// that the group began with. In memory the change itself is on no disk any more, only that it was.
func TestForceGoesByTheNewestEpoch(t *testing.T) {
	for _, durability := range []string{"async", "memory"} {
		t.Run(durability, func(t *testing.T) {
			g := newStoredGroup(t, durability, false)
			g.commit(15)
			g.stop()
			g.start(false, 1, 2, 3)
			g.commit(10)
			g.join(false, 4)
			g.join(false, 5)
			g.reconfigure(3, 4, 5)
			g.commit(12)
			g.stop() // as in a crash
			g.start(false, 3, 4, 5)
			g.eventually("all of them recover, for ever", func() bool {
				for _, replica := range g.replicas {
					if replica.Status().Protocol != "recovering" {
						return false
					}
				}
				return true
			})
			g.stop()

			_, err := PlanForce(g.paths(1, 2, 3))
			require.ErrorIs(t, err, ErrForce)
			require.ErrorContains(t, err, "2 of the group's 3 replicas are needed, and 1 are here")
			require.ErrorContains(t, err, "replica 1 is no member of this epoch")
			plan := forced(t, g.paths(1, 2, 3, 4, 5))
			g.requireMembersForced(plan)
			if durability == "async" {
				require.EqualValues(t, 38, plan.Op, "nothing was lost: what was written is on the disks")
			} else {
				require.EqualValues(t, 15, plan.Op, "the last clean end")
			}

			g.start(true, 3, 4, 5)
			g.commit(5)
			// Where the epoch had begun above what is left, it begins anew there: nobody could make a checkpoint before.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			require.NoError(t, g.replicas[3].Checkpoint(ctx))
			require.EqualValues(t, plan.Op+5, g.replicas[3].Status().Checkpoint)
			g.commit(20)
			for _, replica := range []uint32{3, 4, 5} {
				status := g.replicas[replica].Status()
				require.Equal(t, []replication.ReplicaID{3, 4, 5}, status.Members)
				require.EqualValues(t, 1, status.Epoch)
				want := uint64(62) // the change itself is no operation of the state
				if durability == "memory" {
					want = 40
				}
				require.Equal(t, want, g.machines[replica].applied())
			}
			g.start(true, 1)
			g.eventually("one of the first members hears that it is none", func() bool { return g.replicas[1].Status().Protocol == "left" })
			g.commit(5)
		})
	}
}

// requireMembersForced: two of the three members are, and nobody else.
func (g *storedGroup) requireMembersForced(plan *Forcing) {
	g.t.Helper()
	require.EqualValues(g.t, 1, plan.Epoch)
	require.Equal(g.t, 3, plan.Members)
	chosen := 0
	for _, r := range plan.Replicas {
		require.Equal(g.t, r.Replica > 2, r.Member, r.Standing)
		require.False(g.t, r.Chosen && !r.Member)
		if r.Chosen {
			chosen++
		}
		_, err := os.Stat(filepath.Join(g.directory(r.Replica), dataDirectory, "FORCED"))
		require.Equal(g.t, r.Chosen, err == nil)
	}
	require.Equal(g.t, 2, chosen)
}

// forced plans, carries it out, and finds that nothing more is needed.
func forced(t *testing.T, paths []string) (first *Forcing) {
	t.Helper()
	for n, needed := range []bool{true, false} {
		plan, err := PlanForce(paths)
		require.NoError(t, err)
		require.Equal(t, needed, plan.Needed, "run %d: %+v", n, plan.Replicas)
		require.NoError(t, plan.Execute(time.Now()))
		require.NoError(t, plan.Close())
		if first == nil {
			first = plan
		}
	}
	return first
}

// A witness that ended in order has a log above all that its group has left, whose other replicas crashed: it is not
// joined, and starts with nothing. One whose log they reach keeps what only it has.
func TestForceWithAWitness(t *testing.T) {
	for _, durability := range []string{"async", "memory"} {
		t.Run(durability, func(t *testing.T) {
			g := newStoredGroup(t, durability, true)
			g.commit(15)
			g.stop()
			g.start(false, 1, 2)
			g.start(true, 3)
			for g.replicas[3].Status().Checkpoint < 40 {
				g.commit(10)
			}
			known := g.replicas[3].Status().Op
			g.stop()

			_, err := PlanForce(g.paths(3))
			require.ErrorIs(t, err, ErrForce)
			require.ErrorContains(t, err, "replica 3 is a witness: it has no state")
			plan := forced(t, g.paths(1, 2, 3))
			for _, r := range plan.Replicas {
				require.Equal(t, r.Replica == 3, r.Witness)
				require.Equal(t, durability == "memory" && r.Replica == 3, r.Nothing)
				require.False(t, r.Nothing && !r.Chosen)
			}
			loss := strings.Join(plan.Loss, " ")
			require.Equal(t, durability == "memory", strings.Contains(loss, "The log of the witness, replica 3, begins above"), loss)
			if durability == "memory" {
				require.EqualValues(t, 15, plan.Op)
			} else {
				require.EqualValues(t, known, plan.Op)
			}
			g.start(true, 1, 2, 3)
			g.commit(25)
			require.Equal(t, plan.Op+25, g.machines[1].applied())
			require.Equal(t, plan.Op+25, g.machines[2].applied())
		})
	}
}
