package route_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var theCluster = [16]byte{1, 2, 3}

// world is a network of fake nodes inside the test.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[string]*fakeNode
}

func newWorld(t *testing.T) *world { return &world{t: t, nodes: map[string]*fakeNode{}} }

// dial connects to the node of an address, if it is up.
func (w *world) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	n := w.nodes[address]
	w.mu.Unlock()
	if n == nil {
		return nil, status.Error(codes.Unavailable, "nobody listens at "+address)
	}
	return n.listener.DialContext(ctx)
}

func (w *world) dialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithContextDialer(w.dial)}
}

// router opens a Router that reaches the world only.
func (w *world) router(change func(*route.Options)) *route.Router {
	options := route.Options{Coordinators: []string{"c1"}, Dial: w.dialOptions()}
	if change != nil {
		change(&options)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	r, err := route.Open(ctx, options)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, r.Close()) })
	return r
}

// received is one request as a fake node got it.
type received struct {
	*pb.Request
	answer func(*pb.Response)
}

// fakeNode answers what its handler says, and records what came.
type fakeNode struct {
	pb.UnimplementedSessionServiceServer
	pb.UnimplementedMapServiceServer
	world    *world
	address  string
	listener *bufconn.Listener
	server   *grpc.Server

	mu      sync.Mutex
	handle  func(received)
	news    []*pb.WatchMapResponse
	changed chan struct{}
	frames  []*pb.SessionRequest
	// greetings are the first frames of the streams; mute: they are not answered.
	greetings []*pb.SessionRequest
	mute      bool
	cluster   []byte
	streams   int
	live      int
	watches   int
	deaf      chan struct{} // no stream is read before it is closed; nil: all are
}

// node starts a node that serves the coordinator's map and answers by handle.
func (w *world) node(address string, handle func(received)) *fakeNode {
	n := &fakeNode{
		world: w, address: address, listener: bufconn.Listen(1 << 20), server: grpc.NewServer(grpc.MaxRecvMsgSize(32<<20), grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second})),
		handle: handle, changed: make(chan struct{}), cluster: theCluster[:],
	}
	pb.RegisterSessionServiceServer(n.server, n)
	pb.RegisterMapServiceServer(n.server, n)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.server.Serve(n.listener)
	}()
	w.mu.Lock()
	w.nodes[address] = n
	w.mu.Unlock()
	w.t.Cleanup(func() {
		n.stop()
		<-served
	})
	return n
}

// stop kills the node: all its connections break at once.
func (n *fakeNode) stop() {
	n.world.mu.Lock()
	if n.world.nodes[n.address] == n {
		delete(n.world.nodes, n.address)
	}
	n.world.mu.Unlock()
	n.server.Stop()
}

func (n *fakeNode) handler(handle func(received)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handle = handle
}

// tell pushes news to everyone who watches, now and later.
func (n *fakeNode) tell(news *pb.WatchMapResponse) {
	n.mu.Lock()
	defer n.mu.Unlock()
	news.Cluster = n.cluster
	n.news = append(n.news, news)
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *fakeNode) WatchMap(_ *pb.WatchMapRequest, stream grpc.ServerStreamingServer[pb.WatchMapResponse]) error {
	n.mu.Lock()
	n.watches++
	n.mu.Unlock()
	for next := 0; ; {
		n.mu.Lock()
		news, changed := n.news[next:], n.changed
		n.mu.Unlock()
		for _, one := range news {
			if err := stream.Send(one); err != nil {
				return err
			}
		}
		next += len(news)
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (n *fakeNode) Session(stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) error {
	n.mu.Lock()
	n.streams++
	n.live++
	deaf := n.deaf
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.live--
	}()
	greeting, err := stream.Recv()
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.greetings = append(n.greetings, greeting)
	mute := n.mute
	n.mu.Unlock()
	if mute {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	if err := stream.Send(&pb.SessionResponse{Version: 1, Cluster: n.cluster}); err != nil {
		return err
	}
	if deaf != nil {
		select {
		case <-deaf:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	var sending sync.Mutex
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.frames = append(n.frames, frame)
		handle := n.handle
		n.mu.Unlock()
		for _, request := range frame.GetRequests() {
			handle(received{Request: request, answer: func(response *pb.Response) {
				sending.Lock()
				defer sending.Unlock()
				response.Id = request.GetId()
				_ = stream.Send(&pb.SessionResponse{Responses: []*pb.Response{response}})
			}})
		}
	}
}

// requests returns what came so far, in order.
func (n *fakeNode) requests() []*pb.Request {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*pb.Request
	for _, frame := range n.frames {
		all = append(all, frame.GetRequests()...)
	}
	return all
}

// open returns how many streams stand.
func (n *fakeNode) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live
}

// theMap has the coordinator at c1, c2, c3 and shard 1 at a, b, c.
func theMap(version uint64) *pb.ShardMap {
	group := func(id uint32, addresses ...string) *pb.Group {
		g := &pb.Group{Id: id}
		for i, address := range addresses {
			g.Members = append(g.Members, &pb.Member{Replica: uint32(i + 1), Address: address})
		}
		return g
	}
	slots := placement.Even([]uint32{1})
	return &pb.ShardMap{
		Version: version, Technique: pb.Technique_TECHNIQUE_HASH, Coordinator: group(0, "c1", "c2", "c3"),
		Shards: []*pb.Group{group(1, "a", "b", "c")}, Slots: slots[:],
	}
}

func shardPrimary(view uint64, address string) *pb.Primary {
	return &pb.Primary{Group: 1, View: view, Replica: 1, Address: address}
}

// read is a request to shard 1 that names itself.
func read(name string) route.Call {
	return route.Call{Group: 1, Resend: true, Request: &pb.Request{Body: &pb.Request_Read{Read: &pb.ReadRequest{Oids: [][]byte{[]byte(name)}}}}}
}

// decide is a request that ends a transaction.
func decide() route.Call {
	return route.Call{Group: 1, Request: &pb.Request{Body: &pb.Request_CommitTxn{CommitTxn: &pb.CommitTxnRequest{}}}}
}

func name(request *pb.Request) string { return string(request.GetRead().GetOids()[0]) }

// echo answers a read.
func echo(r received) {
	r.answer(&pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{}}})
}

// never answers nothing.
func never(received) {}

// deny answers with an error.
func deny(e *pb.Error) func(received) {
	return func(r received) { r.answer(&pb.Response{Body: &pb.Response_Error{Error: e}}) }
}

// outcome is what done got.
type outcome struct {
	response *pb.Response
	err      error
}

// send is Router.Send with the outcome in a channel.
func send(r *route.Router, call route.Call) <-chan outcome {
	outcomes := make(chan outcome, 1)
	r.Send(call, func(response *pb.Response, err error) { outcomes <- outcome{response, err} })
	return outcomes
}
