package shardserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// cluster is some shards in one process, with a coordinator that never fails but when told. It is every
// server's Router.
type cluster struct {
	t      testing.TB
	shards map[txn.ShardID]*shard
	slots  [placement.SlotCount]uint32

	mu        sync.Mutex
	last      txn.Timestamp // handed out
	bound     txn.Timestamp
	refreshes int
	silent    error         // what the coordinator answers, if set
	refresh   chan struct{} // RefreshBound waits for it, if set
	reports   []route.Primary
	reported  [][]route.Member // beside each
	noMap     bool
	// lose says which requests between shards get lost on the way, if set.
	lose func(to txn.ShardID, request *pb.Request) bool
}

// shard is one group and its servers.
type shard struct {
	id      txn.ShardID
	group   *group
	servers []*Server
	find    func() *Server // of a shard without a twin: who leads
}

var errSilent = errors.New("the coordinator does not answer")

// newCluster starts shards 1, 2 ... with some replicas each. Their first replicas lead and serve when it
// returns. The test must run in a synctest bubble.
func newCluster(t testing.TB, shards, replicas int, tune func(*Options)) *cluster {
	c := &cluster{t: t, shards: map[txn.ShardID]*shard{}}
	ids := make([]uint32, shards)
	for i := range ids {
		ids[i] = uint32(i + 1)
	}
	c.slots = placement.Even(ids)
	for _, id := range ids {
		c.start(txn.ShardID(id), replicas, tune)
	}
	for _, s := range c.shards {
		s.group.lead(s.group.members[0])
	}
	synctest.Wait()
	return c
}

func (c *cluster) start(id txn.ShardID, replicas int, tune func(*Options)) {
	s := &shard{id: id}
	addresses := map[replication.ReplicaID]string{}
	var machines []replication.StateMachine
	for i := range replicas {
		addresses[replication.ReplicaID(i+1)] = fmt.Sprintf("shard-%d.replica-%d:1", id, i+1)
		options := Options{Shard: id, Replica: replication.ReplicaID(i + 1), AddressOf: func(id replication.ReplicaID) string { return addresses[id] }, Router: c}
		if tune != nil {
			tune(&options)
		}
		server, err := New(options)
		require.NoError(c.t, err)
		s.servers = append(s.servers, server)
		machines = append(machines, server.Machine())
	}
	s.group = newGroup(machines...)
	for i, server := range s.servers {
		server.Attach(s.group.members[i])
	}
	c.shards[id] = s
}

func (c *cluster) close() {
	for _, s := range c.shards {
		for i, server := range s.servers {
			require.NoError(c.t, server.Close())
			require.NoError(c.t, s.group.members[i].Close())
		}
	}
}

// Timestamp and what follows is Router.
func (c *cluster) Timestamp(context.Context) (txn.Timestamp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent != nil {
		return 0, c.silent
	}
	return c.allocate(), nil
}

func (c *cluster) allocate() txn.Timestamp {
	c.last = max(c.last+1, txn.TimestampAt(uint64(time.Now().UnixMilli())))
	return c.last
}

func (c *cluster) Bound() txn.Timestamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bound
}

func (c *cluster) RefreshBound(ctx context.Context) (txn.Timestamp, error) {
	c.mu.Lock()
	c.refreshes++
	wait := c.refresh
	c.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent != nil {
		return 0, c.silent
	}
	c.bound = max(c.bound, c.last)
	return c.bound, nil
}

func (c *cluster) SlotsOf(shard txn.ShardID) (uint64, []uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var slots []uint16
	for slot, owner := range c.slots {
		if owner == uint32(shard) && !c.noMap {
			slots = append(slots, uint16(slot))
		}
	}
	return 1, slots
}

func (c *cluster) ReportPrimary(_ context.Context, primary route.Primary, members []route.Member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent != nil {
		return c.silent
	}
	c.reports, c.reported = append(c.reports, primary), append(c.reported, members)
	return nil
}

func (c *cluster) Send(shard txn.ShardID, request *pb.Request, deadline time.Time, done func(*pb.Response, error)) {
	c.mu.Lock()
	lost := c.lose != nil && c.lose(shard, request)
	c.mu.Unlock()
	if lost {
		time.AfterFunc(time.Until(deadline), func() { done(nil, route.ErrOutcomeUnknown) })
		return
	}
	c.shards[shard].primary().Handle(request, deadline, func(response *pb.Response) {
		if response.GetError() != nil {
			done(nil, fmt.Errorf("refused: %v", response.GetError()))
			return
		}
		done(response, nil)
	})
}

func (c *cluster) setSilent(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = err
}

func (c *cluster) setLose(lose func(to txn.ShardID, request *pb.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose = lose
}

func (c *cluster) takeReports() []route.Primary {
	c.mu.Lock()
	defer c.mu.Unlock()
	reports := c.reports
	c.reports, c.reported = nil, nil
	return reports
}

func (c *cluster) refreshCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refreshes
}

// stamp hands out a timestamp as to a clerk.
func (c *cluster) stamp() txn.Timestamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allocate()
}

func (s *shard) primary() *Server {
	if s.find != nil {
		return s.find()
	}
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	for i, m := range s.group.members {
		if m == s.group.primary {
			return s.servers[i]
		}
	}
	return s.servers[0]
}

// key returns the nth object that a shard serves.
func (c *cluster) key(shard txn.ShardID, n int) string {
	for i := 0; ; i++ {
		oid := fmt.Sprintf("object-%d", i)
		if c.slots[placement.Slot(oid)] != uint32(shard) {
			continue
		}
		if n == 0 {
			return oid
		}
		n--
	}
}

// pending is a request under way.
type pending struct {
	mu       sync.Mutex
	response *pb.Response
	answers  int
}

// begin sends a request to a server and returns at once.
func begin(server *Server, request *pb.Request, deadline time.Time) *pending {
	p := &pending{}
	server.Handle(request, deadline, func(response *pb.Response) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.response = response
		p.answers++
	})
	return p
}

// answered reports whether there is an answer once nothing moves any more.
func (p *pending) answered() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers > 0
}

// await returns the answer, which must come by itself within a second, and only once.
func (p *pending) await(t testing.TB) *pb.Response {
	t.Helper()
	for deadline := time.Now().Add(time.Second); !p.answered() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond - 17) // virtual time, and at no moment at which anything else is due
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(t, 1, p.answers, "answers")
	return p.response
}

func ask(t testing.TB, server *Server, request *pb.Request) *pb.Response {
	t.Helper()
	return begin(server, request, time.Time{}).await(t)
}

// requireCode wants a refusal.
func requireCode(t testing.TB, code pb.Code, response *pb.Response) *pb.Error {
	t.Helper()
	require.NotNil(t, response.GetError(), "%v", response)
	require.Equal(t, code, response.GetError().GetCode(), "%v", response)
	require.NotEmpty(t, response.GetError().GetMessage())
	return response.GetError()
}

// requireStatus wants a verdict.
func requireStatus(t testing.TB, status txn.Status, reason txn.Reason, response *pb.Response) *pb.Verdict {
	t.Helper()
	require.NotNil(t, response.GetVerdict(), "%v", response)
	require.Equal(t, status, txn.Status(response.GetVerdict().GetStatus()), "%v", response)
	require.Equal(t, reason, txn.Reason(response.GetVerdict().GetReason()), "%v", response)
	return response.GetVerdict()
}

// The requests.

func readRequest(mode pb.ReadMode, oids ...string) *pb.Request {
	return &pb.Request{Body: &pb.Request_Read{Read: &pb.ReadRequest{Mode: mode, Oids: byteOIDs(oids)}}}
}

func snapshotRequest(ts txn.Timestamp, oids ...string) *pb.Request {
	return &pb.Request{Body: &pb.Request_Snapshot{Snapshot: &pb.SnapshotRequest{Timestamp: uint64(ts), Oids: byteOIDs(oids)}}}
}

func byteOIDs(oids []string) [][]byte {
	messages := make([][]byte, len(oids))
	for i, oid := range oids {
		messages[i] = []byte(oid)
	}
	return messages
}

func prepareRequest(t *txn.Transaction) *pb.Request {
	return &pb.Request{Body: &pb.Request_PrepareTxn{PrepareTxn: &pb.PrepareTxnRequest{Transaction: wire.Transaction(t)}}}
}

func onePhaseRequest(t *txn.Transaction) *pb.Request {
	return &pb.Request{Body: &pb.Request_CommitOnePhase{CommitOnePhase: &pb.CommitOnePhaseRequest{Transaction: wire.Transaction(t)}}}
}

func commitRequest(attempt txn.Attempt) *pb.Request {
	return &pb.Request{Body: &pb.Request_CommitTxn{CommitTxn: &pb.CommitTxnRequest{Attempt: wire.Attempt(attempt)}}}
}

func abortRequest(attempt txn.Attempt) *pb.Request {
	return &pb.Request{Body: &pb.Request_AbortTxn{AbortTxn: &pb.AbortTxnRequest{Attempt: wire.Attempt(attempt)}}}
}

func fenceRequest(attempt txn.Attempt) *pb.Request {
	return &pb.Request{Body: &pb.Request_Fence{Fence: &pb.FenceRequest{Attempt: wire.Attempt(attempt)}}}
}
