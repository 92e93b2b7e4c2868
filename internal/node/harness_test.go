package node_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

var clusterOne = [16]byte{1, 15: 1}

// replicator is a replica whose state a test sets.
type replicator struct {
	mu     sync.Mutex
	status replication.Status
	// checkpoint, if set, is what becomes of a Checkpoint.
	checkpoint func(context.Context) error
}

func (r *replicator) set(status replication.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *replicator) Status() replication.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (*replicator) Submit(replication.ViewNumber, []byte, func(replication.Result)) {}
func (*replicator) ReadBarrier(replication.ViewNumber, func(error))                 {}
func (*replicator) Events() <-chan replication.Event                                { return nil }
func (*replicator) Close() error                                                    { return nil }

func (r *replicator) Checkpoint(ctx context.Context) error {
	if r.checkpoint == nil {
		return errors.New("none")
	}
	return r.checkpoint(ctx)
}

// handed is one request that a handler got.
type handed struct {
	request  *pb.Request
	deadline time.Time
	respond  func(*pb.Response)
}

// keeper is a handler that keeps the requests until the test answers them; with an echo it answers at once.
type keeper struct {
	mu      sync.Mutex
	echo    func(*pb.Request) *pb.Response
	arrived sync.Cond
	kept    []handed
}

func newKeeper() *keeper {
	k := &keeper{}
	k.arrived.L = &k.mu
	return k
}

func (k *keeper) Handle(request *pb.Request, deadline time.Time, respond func(*pb.Response)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.echo != nil {
		respond(k.echo(request))
		return
	}
	k.kept = append(k.kept, handed{request, deadline, respond})
	k.arrived.Broadcast()
}

func (k *keeper) Describe(status *pb.ReplicaStatus, _ bool) {
	status.Serving = true
	status.Counters["handled"] = 7
	status.StateHash = []byte{1, 2, 3}
}

// answer makes the handler answer every further request at once.
func (k *keeper) answer(echo func(*pb.Request) *pb.Response) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.echo = echo
}

// take waits for so many requests and takes them.
func (k *keeper) take(count int) []handed {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.kept) < count {
		k.arrived.Wait()
	}
	taken := slices.Clone(k.kept[:count])
	k.kept = k.kept[count:]
	return taken
}

// host is a node of a test with one replica, of group 5.
type host struct {
	*node.Node
	handler    *keeper
	replicator *replicator
	served     chan error
}

// known is an AddressOf that does not change.
func known(addresses map[replication.ReplicaID]string) func(replication.ReplicaID) string {
	return func(id replication.ReplicaID) string { return addresses[id] }
}

func start(t *testing.T, change func(*node.Options)) *host {
	t.Helper()
	options := node.Options{Listen: "127.0.0.1:0", Cluster: clusterOne, Version: "test", Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&options)
	}
	n, err := node.Open(options)
	require.NoError(t, err)
	h := &host{Node: n, handler: newKeeper(), replicator: &replicator{}, served: make(chan error, 1)}
	require.NoError(t, n.AddReplica(node.Replica{
		Group: 5, Replica: 1, Handler: h.handler, Replicator: h.replicator,
		AddressOf: known(map[replication.ReplicaID]string{1: n.Addr(), 2: "other:1"}),
	}))
	go func() { h.served <- n.Serve() }()
	t.Cleanup(func() {
		require.NoError(t, n.Close())
		require.NoError(t, <-h.served)
	})
	return h
}

func connect(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)), grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close()) })
	return connection
}

// client is the other end of a session.
type client struct {
	pb.SessionService_SessionClient
	t        *testing.T
	received []*pb.Response
}

// bare opens a session and sends nothing.
func (h *host) bare(t *testing.T) *client {
	t.Helper()
	stream, err := pb.NewSessionServiceClient(connect(t, h.Addr())).Session(t.Context())
	require.NoError(t, err)
	return &client{SessionService_SessionClient: stream, t: t}
}

// session opens a session and introduces itself.
func (h *host) session(t *testing.T) *client {
	t.Helper()
	c := h.bare(t)
	require.NoError(t, c.Send(&pb.SessionRequest{Version: 1, Cluster: clusterOne[:]}))
	c.greeted()
	return c
}

// greeted takes the first frame, which says who answers.
func (c *client) greeted() {
	c.t.Helper()
	message, err := c.Recv()
	require.NoError(c.t, err)
	require.EqualValues(c.t, 1, message.GetVersion())
	require.Equal(c.t, clusterOne[:], message.GetCluster())
	require.Empty(c.t, message.GetResponses())
}

func (c *client) send(requests ...*pb.Request) {
	c.t.Helper()
	require.NoError(c.t, c.Send(&pb.SessionRequest{Requests: requests}))
}

// next returns the next answer.
func (c *client) next() *pb.Response {
	c.t.Helper()
	for len(c.received) == 0 {
		message, err := c.Recv()
		require.NoError(c.t, err)
		c.received = message.GetResponses()
	}
	response := c.received[0]
	c.received = c.received[1:]
	return response
}

// refused returns the code with which the next answer, to the request of that id, refuses it.
func (c *client) refused(id uint64) pb.Code {
	c.t.Helper()
	response := c.next()
	require.Equal(c.t, id, response.GetId())
	require.NotNil(c.t, response.GetError())
	return response.GetError().GetCode()
}

func bound(id uint64) *pb.Request {
	return &pb.Request{Id: id, Group: 5, Body: &pb.Request_Bound{Bound: &pb.BoundRequest{}}}
}

func boundAnswer(value uint64) *pb.Response {
	return &pb.Response{Body: &pb.Response_Bound{Bound: &pb.BoundResponse{Bound: value}}}
}

// counter reads one of the node's counters.
func (h *host) counter(name string) uint64 { return h.Counters()[name] }
