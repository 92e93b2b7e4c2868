package sessions_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/vrtest"
)

// tally counts how often each operation was executed. Tests look on.
type tally struct {
	mu    sync.Mutex
	times []byte // by the number that the operation is
}

func (m *tally) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, operation := range operations {
		id := int(binary.BigEndian.Uint32(operation))
		if id >= len(m.times) {
			m.times = append(m.times, make([]byte, id+1-len(m.times))...)
		}
		m.times[id]++
	}
	return operations
}

func (m *tally) state() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.times)
}

func (m *tally) Snapshot() (replication.Snapshot, error) { return tallied(m.state()), nil }

func (m *tally) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times = data
	return err
}

type tallied []byte

func (s tallied) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s)
	return int64(n), err
}

func (tallied) Release() {}

// group is three replicas whose machine is a tally behind a client-table.
type group struct {
	t          *testing.T
	network    *vrtest.Network
	durability vr.Durability
	storages   [3]*mortal

	mu       sync.Mutex // guards what follows
	tallies  [3]*tally
	machines [3]*sessions.Machine
	replicas [3]*vr.Replica
	views    map[replication.ViewNumber]bool // that led
	repeated uint64                          // by machines that are gone
	fetches  uint64
}

// mortal is a storage that loses, when its replica stops, what a crash takes from it in a durability.
type mortal struct {
	*storage.Memory
	durability vr.Durability
}

// MarkClean does nothing: no end is clean.
func (m *mortal) MarkClean() error { return nil }

func (m *mortal) Close() error {
	switch m.durability {
	case vr.DurabilityMemory:
		loaded, err := m.Load()
		if err != nil {
			return err
		}
		m.Memory = storage.NewMemory()
		promised := core.HardState{View: loaded.HardState.View, LastNormalView: loaded.HardState.LastNormalView}
		return m.Write(vr.Batch{HardState: &promised, Sync: true})
	default:
		m.PowerCut()
		return nil
	}
}

func newGroup(t *testing.T, durability vr.Durability) *group {
	g := &group{t: t, network: vrtest.NewNetwork(), durability: durability, views: map[replication.ViewNumber]bool{}}
	for i := range g.replicas {
		g.storages[i] = &mortal{Memory: storage.NewMemory(), durability: durability}
		g.start(i)
	}
	return g
}

func (g *group) start(i int) {
	inner := &tally{}
	machine, err := sessions.New(inner, sessions.Options{SessionsMax: 8})
	require.NoError(g.t, err)
	replica, err := vr.Open(vr.Options{
		Self: replication.ReplicaID(i + 1), Members: []replication.ReplicaID{1, 2, 3}, Transport: g.network.Join(replication.ReplicaID(i + 1)),
		Storage: g.storages[i], StateMachine: machine, HeartbeatInterval: 30 * time.Millisecond, CheckpointEvery: 40, Seed: uint64(i + 1),
		Durability: g.durability,
	})
	require.NoError(g.t, err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tallies[i], g.machines[i], g.replicas[i] = inner, machine, replica
}

func (g *group) stop(i int) {
	g.mu.Lock()
	replica := g.replicas[i]
	g.replicas[i] = nil
	g.repeated += g.machines[i].Counters()["requests_repeated"]
	g.fetches += replica.Status().Counters["checkpoint_fetches"]
	g.mu.Unlock()
	require.NoError(g.t, replica.Close())
}

// primary is the replica that leads in the latest view, or nil.
func (g *group) primary() (i int, replica *vr.Replica, view replication.ViewNumber) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for at, candidate := range g.replicas {
		if candidate == nil {
			continue
		}
		if status := candidate.Status(); status.Leading && status.View > view {
			i, replica, view = at, candidate, status.View
		}
	}
	g.views[view] = true
	return i, replica, view
}

// proposer is one client's way to the group. It believes its own idea of the primary until that fails, as clients
// do, and waits a quarter of a second for an answer.
func (g *group) proposer() sessions.Proposer {
	return func(ctx context.Context, operation []byte) replication.Result {
		_, replica, view := g.primary()
		if replica == nil {
			return replication.Result{Err: &replication.NotPrimaryError{}}
		}
		ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		defer cancel()
		result := replication.Propose(ctx, replica, view, operation)
		if errors.Is(result.Err, replication.ErrClosed) && replication.DidNotHappen(result.Err) {
			result.Err = &replication.NotPrimaryError{View: view} // another will lead
		}
		return result
	}
}

// TestEveryIncrementCountsOnceOverViewChanges: clients go on without end while one primary after the other is cut
// off, or closed and started again with what a crash leaves in its storage, or left behind until only a checkpoint
// helps it.
func TestEveryIncrementCountsOnceOverViewChanges(t *testing.T) {
	for _, durability := range []vr.Durability{vr.DurabilitySync, vr.DurabilityAsync, vr.DurabilityMemory} {
		t.Run(durability.String(), func(t *testing.T) { countEveryIncrement(t, durability) })
	}
}

func countEveryIncrement(t *testing.T, durability vr.Durability) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, durability)
		var next, happened atomic.Uint32
		disturbed := make(chan struct{})
		var working sync.WaitGroup
		for range 3 {
			client, err := sessions.NewClient(g.proposer(), sessions.ClientOptions{InFlightMax: 8})
			require.NoError(t, err)
			for range 10 {
				working.Go(func() {
					for {
						select {
						case <-disturbed:
							return
						case <-time.After(25 * time.Millisecond):
						}
						id := next.Add(1) - 1
						operation := binary.BigEndian.AppendUint32(nil, id)
						reply, err := client.Do(t.Context(), operation)
						if err != nil || !reply.Dropped && !bytes.Equal(operation, reply.Value) {
							t.Errorf("increment %d: %+v, %v", id, reply, err)
							return
						}
						happened.Add(1)
					}
				})
			}
		}
		g.disturb(20)
		close(disturbed)
		working.Wait()
		require.Equal(t, next.Load(), happened.Load())
		g.verify(int(happened.Load()))
	})
}

func (g *group) disturb(rounds int) {
	random := rand.New(rand.NewPCG(3, 3))
	for round := range rounds {
		time.Sleep(time.Duration(300+random.IntN(500)) * time.Millisecond)
		i, replica, _ := g.primary()
		if replica == nil {
			continue
		}
		away := time.Duration(200+random.IntN(1500)) * time.Millisecond
		if round%2 == 0 {
			g.network.Isolate(replication.ReplicaID(i + 1))
			time.Sleep(away)
			g.network.Heal()
			continue
		}
		g.awaitRecovery()
		g.stop(i)
		time.Sleep(away)
		g.start(i)
	}
}

// awaitRecovery waits until nobody lacks anything: one at a time may lose what it acknowledged.
func (g *group) awaitRecovery() {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		recovering := false
		for _, replica := range g.replicas {
			recovering = recovering || replica != nil && replica.Status().Protocol == core.StatusRecovering.String()
		}
		if !recovering {
			return
		}
		require.True(g.t, time.Now().Before(deadline), "a replica does not recover")
	}
}

// verify waits until all replicas have the same state and holds it against what the clients know.
func (g *group) verify(happened int) {
	want := bytes.Repeat([]byte{1}, happened)
	deadline := time.Now().Add(time.Minute)
	for {
		same := true
		for i := range g.replicas {
			same = same && bytes.Equal(want, g.tallies[i].state())
		}
		if same {
			break
		}
		require.True(g.t, time.Now().Before(deadline), "the replicas do not agree that each increment happened once")
		time.Sleep(10 * time.Millisecond)
	}
	for i := range g.replicas {
		g.stop(i)
	}
	g.t.Logf("%d increments, %d views, %d repeated requests, %d checkpoints fetched", happened, len(g.views), g.repeated, g.fetches)
	require.Greater(g.t, happened, 1000)
	require.Greater(g.t, len(g.views), 10)
	require.NotZero(g.t, g.repeated, "no copy came into the log: nothing was proved")
	require.NotZero(g.t, g.fetches, "no state was transferred")
}
