package shardserver

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/txn"
)

// wires join the replicas of one real group; a test may cut a replica off.
type wires struct {
	mu   sync.Mutex
	ends map[core.ReplicaID]*wireEnd
	cut  core.ReplicaID // 0: nobody
}

// wireEnd is one replica's vr.Transport.
type wireEnd struct {
	wires   *wires
	id      core.ReplicaID
	mu      sync.RWMutex
	deliver func(from core.ReplicaID, payload []byte)
	open    vr.OpenFunc
}

func (w *wires) to(from, id core.ReplicaID) *wireEnd {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut == from || w.cut == id {
		return nil
	}
	return w.ends[id]
}

func (w *wires) cutOff(id core.ReplicaID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = id
}

func (e *wireEnd) Send(to core.ReplicaID, payload []byte) {
	if other := e.wires.to(e.id, to); other != nil {
		other.mu.RLock()
		defer other.mu.RUnlock()
		if other.deliver != nil {
			other.deliver(e.id, payload)
		}
	}
}

func (e *wireEnd) Receive(deliver func(core.ReplicaID, []byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deliver = deliver
}

func (e *wireEnd) Reach([]core.Member) {}

func (e *wireEnd) ServeCheckpoints(open vr.OpenFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = open
}

func (e *wireEnd) FetchCheckpoint(_ context.Context, from core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	other := e.wires.to(e.id, from)
	if other == nil {
		return nil, nil, errSilent
	}
	other.mu.RLock()
	defer other.mu.RUnlock()
	if other.open == nil {
		return nil, nil, errSilent
	}
	return other.open(e.id, request)
}

// realShard is a shard behind a real group of three.
type realShard struct {
	wires    *wires
	mu       sync.Mutex // guards what follows against boot
	servers  []*Server
	replicas []*vr.Replica
}

// newReal starts a cluster of one shard behind a real group, and of one twin.
func newReal(t *testing.T, tune func(*Options)) (*cluster, *realShard) {
	c := &cluster{t: t, shards: map[txn.ShardID]*shard{}}
	c.slots = placement.Even([]uint32{1, 2})
	c.start(2, 1, tune)
	c.shards[2].group.lead(c.shards[2].group.members[0])
	real := &realShard{wires: &wires{ends: map[core.ReplicaID]*wireEnd{}}}
	for range 3 {
		real.boot(t, c, false, tune)
	}
	c.shards[1] = &shard{id: 1, servers: real.servers, find: real.leader}
	return c, real
}

// boot starts the next replica: one of the first three, or a newcomer that asks those.
func (r *realShard) boot(t *testing.T, c *cluster, joining bool, tune func(*Options)) {
	t.Helper()
	id := replication.ReplicaID(len(r.servers) + 1)
	options := Options{Shard: 1, Replica: id, Router: c}
	options.AddressOf = func(member replication.ReplicaID) string { return r.addressOf(id, member) }
	if tune != nil {
		tune(&options)
	}
	server, err := New(options)
	require.NoError(t, err)
	end := &wireEnd{wires: r.wires, id: core.ReplicaID(id)}
	r.wires.mu.Lock()
	r.wires.ends[end.id] = end
	r.wires.mu.Unlock()
	replica, err := vr.Open(vr.Options{
		Group: 1, Self: id, Members: []replication.ReplicaID{1, 2, 3}, Joining: joining,
		Transport: end, Storage: storage.NewMemory(), StateMachine: server.Machine(), CheckpointEvery: 40, Seed: uint64(id),
	})
	require.NoError(t, err)
	r.mu.Lock()
	r.servers, r.replicas = append(r.servers, server), append(r.replicas, replica)
	r.mu.Unlock()
	server.Attach(replica)
}

// addressOf is where a member is, as one replica knows the members.
func (r *realShard) addressOf(self, id replication.ReplicaID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(self) > len(r.replicas) {
		return ""
	}
	for _, member := range r.replicas[self-1].Membership().Members {
		if member.ID == id {
			return fmt.Sprintf("at-%d:1", id)
		}
	}
	return ""
}

func (r *realShard) close(t *testing.T, c *cluster) {
	for i, server := range r.servers {
		require.NoError(t, server.Close())
		require.NoError(t, r.replicas[i].Close())
	}
	delete(c.shards, 1)
	c.close()
}

// leader returns the server that says it leads the highest view.
func (r *realShard) leader() *Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	best, view := 0, replication.ViewNumber(0)
	for i, replica := range r.replicas {
		if status := replica.Status(); status.Leading && status.View >= view {
			best, view = i, status.View
		}
	}
	return r.servers[best]
}

// increment adds one to a counter in one phase and reports whether that is certain to have happened. It is the
// bare minimum of a clerk.
func increment(c *cluster, s *sequence, oid string) (bool, error) {
	send := func(request *pb.Request) *pb.Response {
		answers := make(chan *pb.Response, 1)
		c.shards[1].primary().Handle(request, time.Now().Add(time.Second), func(response *pb.Response) { answers <- response })
		return <-answers
	}
	read := send(readRequest(updateMode, oid))
	if read.GetError() != nil {
		return false, nil
	}
	value := read.GetRead().GetValues()[0]
	count, _ := strconv.Atoi(string(value.GetValue()))
	t := s.transaction(c.stamp(), []txn.ShardID{1}, strconv.Itoa(count+1), oid)
	t.Reads = []txn.ReadEntry{{
		OID: oid, Version: txn.Timestamp(value.GetVersion()), At: txn.OpNumber(read.GetRead().GetAt()), Shard: 1,
	}}
	response := send(onePhaseRequest(t))
	for response.GetError().GetCode() == pb.Code_CODE_OUTCOME_UNKNOWN {
		time.Sleep(20 * time.Millisecond)
		if fenced := send(fenceRequest(t.Attempt)); fenced.GetVerdict() != nil {
			response = fenced
		}
	}
	if response.GetError() != nil {
		return false, nil
	}
	verdict, err := wire.ParseVerdict(response.GetVerdict(), t.ID)
	if err != nil {
		return false, err
	}
	return verdict.Status == txn.StatusCommitted, nil
}

// A real group of three loses its primary again and again: every acknowledged increment counts exactly once,
// and what was in doubt is decided.
func TestRealGroupFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, real := newReal(t, nil)
		defer real.close(t, c)
		pass(2 * time.Second)
		counter, committed, stop := c.key(1, 5), 0, make(chan struct{})
		failure := error(nil)
		var caller sync.WaitGroup
		caller.Go(func() {
			s := &sequence{last: 1 << 40}
			for failure == nil {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				done, err := increment(c, s, counter)
				if done {
					committed++
				}
				failure = err
			}
		})
		s, views := &sequence{}, map[replication.ViewNumber]bool{}
		for i := range 4 {
			pass(500 * time.Millisecond)
			doubt := s.transaction(c.stamp(), []txn.ShardID{1, 2}, fmt.Sprint(i), c.key(1, 0))
			prepare := ask(t, c.shards[1].primary(), prepareRequest(doubt))
			if prepare.GetVerdict() == nil {
				require.NotNil(t, prepare.GetError())
			}
			leader := c.shards[1].primary()
			views[real.replicas[leader.options.Replica-1].Status().View] = true
			real.wires.cutOff(core.ReplicaID(leader.options.Replica))
			pass(2 * time.Second)
			real.wires.cutOff(0)
		}
		pass(5 * time.Second)
		close(stop)
		caller.Wait()
		pass(15 * time.Second)
		require.NoError(t, failure)
		require.GreaterOrEqual(t, len(views), 4, "the primary changed each time")
		require.Greater(t, committed, 300)
		requireValue(t, strconv.Itoa(committed), ask(t, c.shards[1].primary(), readRequest(latestMode, counter)))
		pass(time.Second)
		hash := locked(real.servers[0], real.servers[0].state.Hash)
		for i, server := range real.servers {
			require.NoError(t, real.replicas[i].Status().Failure)
			require.Equal(t, hash, locked(server, server.state.Hash))
			sizes := sizesOf(server)
			require.Zero(t, sizes.Prepared)
			require.Zero(t, sizes.InvariantBreaks)
			require.NotZero(t, real.replicas[i].Status().Checkpoint)
		}
	})
}

// A replica that was away for longer than the log reaches back restores a checkpoint of this very format.
func TestRealReplicaRestoresACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, real := newReal(t, nil)
		defer real.close(t, c)
		pass(2 * time.Second)
		s, leader := &sequence{}, c.shards[1].primary()
		away := 0
		for real.servers[away] == leader {
			away++
		}
		real.wires.cutOff(core.ReplicaID(away + 1))
		for i := range 200 {
			s.put(t, c, 1, c.key(1, i%7), fmt.Sprint(i))
		}
		before := locked(real.servers[away], real.servers[away].state.Applied)
		real.wires.cutOff(0)
		pass(5 * time.Second)
		require.Less(t, before, txn.OpNumber(20))
		require.Greater(t, locked(real.servers[away], real.servers[away].state.Applied), txn.OpNumber(200))
		leader = c.shards[1].primary()
		require.Equal(t, locked(leader, leader.state.Hash), locked(real.servers[away], real.servers[away].state.Hash))
		require.NoError(t, real.replicas[away].Status().Failure)
	})
}
