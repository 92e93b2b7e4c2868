package coordinator

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// wires join the replicas of a group; one at a time may be cut off.
type wires struct {
	mu   sync.Mutex
	ends map[core.ReplicaID]*wire
	off  core.ReplicaID
}

// wire is one replica's vr.Transport.
type wire struct {
	wires *wires
	id    core.ReplicaID

	mu      sync.RWMutex
	deliver func(core.ReplicaID, []byte)
}

func (w *wire) Send(to core.ReplicaID, payload []byte) {
	w.wires.mu.Lock()
	other := w.wires.ends[to]
	if w.wires.off == to || w.wires.off == w.id {
		other = nil
	}
	w.wires.mu.Unlock()
	if other == nil {
		return
	}
	other.mu.RLock()
	defer other.mu.RUnlock()
	if other.deliver != nil {
		other.deliver(w.id, payload)
	}
}

func (w *wire) Receive(deliver func(core.ReplicaID, []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliver = deliver
}

func (w *wire) Reach([]core.Member) {}

func (w *wire) ServeCheckpoints(vr.OpenFunc) {}

func (w *wire) FetchCheckpoint(context.Context, core.ReplicaID, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return nil, nil, errors.ErrUnsupported
}

func (w *wires) cut(id core.ReplicaID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = id
}

// vrGroup is three coordinators over Viewstamped Replication.
type vrGroup struct {
	wires    *wires
	servers  []*Server
	replicas []*vr.Replica
}

func newVRGroup(t *testing.T) *vrGroup {
	g := &vrGroup{wires: &wires{ends: map[core.ReplicaID]*wire{}}}
	for id := core.ReplicaID(1); id <= 3; id++ {
		g.wires.ends[id] = &wire{wires: g.wires, id: id}
	}
	for id := core.ReplicaID(1); id <= 3; id++ {
		skew := time.Duration(id) * -time.Minute
		s, err := New(Options{Cluster: theCluster, Layout: layoutMessage(), Now: func() time.Time { return time.Now().Add(skew) }})
		require.NoError(t, err)
		r, err := vr.Open(vr.Options{
			Self: replication.ReplicaID(id), Members: []replication.ReplicaID{1, 2, 3}, Transport: g.wires.ends[id],
			Storage: storage.NewMemory(), StateMachine: s.StateMachine(), Seed: uint64(id),
		})
		require.NoError(t, err)
		s.Attach(r)
		g.servers, g.replicas = append(g.servers, s), append(g.replicas, r)
	}
	t.Cleanup(func() {
		for i := range g.servers {
			require.NoError(t, g.servers[i].Close())
			require.NoError(t, g.replicas[i].Close())
		}
	})
	return g
}

// timestamps asks one replica, and returns 0 if it refuses.
func (g *vrGroup) timestamps(server *Server) uint64 {
	answers := make(chan *pb.Response, 1)
	server.Handle(timestamps(10), time.Now().Add(100*time.Millisecond), func(response *pb.Response) { answers <- response })
	return (<-answers).GetTimestamps().GetFirst()
}

// serving waits until one of the replicas hands out timestamps, and returns them and who did.
func (g *vrGroup) serving(t *testing.T) (first uint64, id core.ReplicaID) {
	for range 1000 {
		for i, s := range g.servers {
			if first := g.timestamps(s); first > 0 {
				return first, core.ReplicaID(i + 1)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "nobody serves")
	return 0, 0
}

// TestOverViewstampedReplication: timestamps rise over changes of view in which the primary is cut off, comes
// back, and is cut off again elsewhere, with clocks minutes apart; and a primary that was cut off hands out
// nothing once its successor has.
func TestOverViewstampedReplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newVRGroup(t)
		last, primaries := uint64(0), map[core.ReplicaID]bool{}
		for range 6 {
			first, primary := g.serving(t)
			require.Greater(t, first, last)
			last = first + 9
			primaries[primary] = true
			g.wires.cut(primary)
			for {
				var next core.ReplicaID
				if first, next = g.serving(t); next != primary {
					break
				}
				require.Greater(t, first, last, "its lease is not over, and nobody else serves")
				last = first + 9
				time.Sleep(time.Millisecond) // an answer under a lease takes no time
			}
			require.Greater(t, first, last)
			last = first + 9
			require.Zero(t, g.timestamps(g.servers[primary-1]), "it is left behind")
			g.wires.cut(0)
		}
		require.Greater(t, len(primaries), 1)
		require.True(t, g.agree(t), "equal states at equal operations")
	})
}

// agree waits until all replicas stand at the same operation, and reports whether their states are the same.
func (g *vrGroup) agree(t *testing.T) bool {
	for range 1000 {
		var all [3]pb.ReplicaStatus
		for i, s := range g.servers {
			s.Describe(&all[i], true)
		}
		if all[0].GetApplied() == all[1].GetApplied() && all[0].GetApplied() == all[2].GetApplied() {
			return string(all[0].GetStateHash()) == string(all[1].GetStateHash()) && string(all[0].GetStateHash()) == string(all[2].GetStateHash())
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "the replicas do not come together")
	return false
}
