package coordinator

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// network connects to the members of a group by their addresses, each with a session service of the simplest
// kind before its server.
type network struct {
	listeners map[string]*bufconn.Listener
	servers   map[string]*grpc.Server
}

func newNetwork(t *testing.T, g *group) *network {
	n := &network{listeners: map[string]*bufconn.Listener{}, servers: map[string]*grpc.Server{}}
	var serving sync.WaitGroup
	for i, m := range g.members {
		address := []string{"c1", "c2", "c3"}[i]
		listener, server := bufconn.Listen(1<<20), grpc.NewServer()
		m.server.RegisterMapService(server)
		pb.RegisterSessionServiceServer(server, &sessions{server: m.server})
		serving.Go(func() { _ = server.Serve(listener) })
		n.listeners[address], n.servers[address] = listener, server
	}
	t.Cleanup(func() {
		for _, server := range n.servers {
			server.Stop()
		}
		serving.Wait()
	})
	return n
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	return n.listeners[address].DialContext(ctx)
}

func (n *network) router(t *testing.T, coordinators ...string) *route.Router {
	r, err := route.Open(t.Context(), route.Options{Coordinators: coordinators, Dial: []grpc.DialOption{grpc.WithContextDialer(n.dial)}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// watch opens a watcher's stream; what it gets comes in the channel, which is closed at its end.
func (n *network) watch(t *testing.T, address string, request *pb.WatchMapRequest) (<-chan *pb.WatchMapResponse, <-chan error) {
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithContextDialer(n.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close()) })
	stream, err := pb.NewMapServiceClient(connection).WatchMap(t.Context(), request)
	require.NoError(t, err)
	news, end := make(chan *pb.WatchMapResponse, 1000), make(chan error, 1)
	go func() {
		defer close(news)
		for {
			one, err := stream.Recv()
			if err != nil {
				end <- err
				return
			}
			news <- one
		}
	}()
	return news, end
}

// sessions is the session service, one answer to a frame; the first is the greeting.
type sessions struct {
	pb.UnimplementedSessionServiceServer
	server *Server
}

func (s *sessions) Session(stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) error {
	var sending sync.Mutex
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		if frame.GetVersion() != 0 {
			_ = stream.Send(&pb.SessionResponse{Version: 1, Cluster: theCluster[:]})
		}
		for _, request := range frame.GetRequests() {
			s.server.Handle(request, time.Time{}, func(response *pb.Response) {
				response.Id = request.GetId()
				sending.Lock()
				defer sending.Unlock()
				_ = stream.Send(&pb.SessionResponse{Responses: []*pb.Response{response}})
			})
		}
	}
}

func TestWatchMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2, nil)
		n := newNetwork(t, g)
		primary := g.members[0]
		onBackup, _ := n.watch(t, "c2", &pb.WatchMapRequest{Version: 1})
		first := <-onBackup
		require.Equal(t, theCluster[:], first.GetCluster())
		require.Nil(t, first.GetMap(), "there is none yet")
		require.Empty(t, first.GetCoordinatorPrimary())
		g.lead(primary, false)
		<-primary.ask(report(1, 4, 2, "a2"), time.Time{})

		news, _ := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1, Cluster: theCluster[:]})
		all := <-news
		require.Equal(t, uint64(1), all.GetMap().GetVersion())
		require.Len(t, all.GetMap().GetSlots(), 1024)
		require.Equal(t, "c1", all.GetCoordinatorPrimary())
		require.Len(t, all.GetPrimaries(), 2, "the coordinator's and the shard's")
		require.Equal(t, uint32(0), all.GetPrimaries()[0].GetGroup())
		require.Equal(t, "a2", all.GetPrimaries()[1].GetAddress())
		require.Positive(t, all.GetBound())

		<-primary.ask(report(1, 4, 3, "a3"), time.Time{}) // no news: a view has one primary
		<-primary.ask(report(2, 7, 1, "b1"), time.Time{})
		one := <-news
		require.Nil(t, one.GetMap(), "only what changed")
		require.Len(t, one.GetPrimaries(), 1)
		require.Equal(t, "b1", one.GetPrimaries()[0].GetAddress())

		time.Sleep(3 * time.Second) // the mark is raised meanwhile
		raised := false
		for len(news) > 0 {
			next := <-news
			require.GreaterOrEqual(t, next.GetBound(), one.GetBound())
			raised = raised || next.GetBound() > one.GetBound()
		}
		require.True(t, raised)
		last := &pb.WatchMapResponse{}
		for len(onBackup) > 0 {
			last = <-onBackup
		}
		require.Equal(t, "c1", last.GetCoordinatorPrimary(), "a backup tells where the primary is")
	})
}

// TestWatchersHearOfAnotherPrimary at once, though nothing else changed.
func TestWatchersHearOfAnotherPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2, nil)
		n := newNetwork(t, g)
		g.lead(g.members[0], false)
		news, _ := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		require.Equal(t, "c1", (<-news).GetCoordinatorPrimary())
		g.mu.Lock()
		g.primary = g.members[1]
		g.view++
		g.mu.Unlock()
		g.members[0].tell(false, g.view)
		began := time.Now()
		next := <-news
		require.Equal(t, "c2", next.GetCoordinatorPrimary())
		require.Equal(t, uint64(2), next.GetPrimaries()[0].GetView())
		require.LessOrEqual(t, time.Since(began), DefaultTickInterval)
	})
}

// TestWatchersGetSignsOfLife: while nothing changes, too, so that they can tell a silent coordinator.
func TestWatchersGetSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, newGroup(t, 1, nil)) // nobody leads, so nothing changes
		news, _ := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		time.Sleep(10*time.Second + time.Millisecond)
		require.Len(t, news, 11)
	})
}

func TestWatchRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, func(o *Options) { o.WatchersMax = 1 })
		n := newNetwork(t, g)
		for _, c := range []struct {
			request *pb.WatchMapRequest
			code    codes.Code
		}{
			{&pb.WatchMapRequest{Version: 2}, codes.Unimplemented},
			{&pb.WatchMapRequest{Version: 1, Cluster: make([]byte, 16)}, codes.FailedPrecondition},
			{&pb.WatchMapRequest{Version: 1, Cluster: theCluster[:5]}, codes.FailedPrecondition},
		} {
			_, end := n.watch(t, "c1", c.request)
			require.Equal(t, c.code, status.Code(<-end))
		}
		news, end := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		<-news
		_, turned := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		require.Equal(t, codes.ResourceExhausted, status.Code(<-turned))
		require.NoError(t, g.members[0].server.Close())
		require.Error(t, <-end, "the stream ends")
		_, late := n.watch(t, "c1", &pb.WatchMapRequest{Version: 1})
		require.Equal(t, codes.Unavailable, status.Code(<-late))
	})
}

// TestRouterAndCoordinator: the two sides of the hot path together, over a change of primary.
func TestRouterAndCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, nil)
		n := newNetwork(t, g)
		g.lead(g.members[0], false)
		r := n.router(t, "c2")
		require.Equal(t, theCluster, r.Cluster())
		last := txn.Timestamp(0)
		for round := range 9 {
			g.lead(g.members[round%3], round%2 == 0) // every other time the old primary does not hear of it
			var working sync.WaitGroup
			got := make(chan txn.Timestamp, 20)
			for range 20 {
				working.Go(func() {
					timestamp, err := r.Timestamp(t.Context())
					require.NoError(t, err)
					got <- timestamp
				})
			}
			working.Wait()
			bound, err := r.RefreshBound(t.Context())
			require.NoError(t, err)
			seen, most := map[txn.Timestamp]bool{}, last
			for range 20 {
				timestamp := <-got
				require.Greater(t, timestamp, last)
				require.LessOrEqual(t, timestamp, bound)
				require.False(t, seen[timestamp])
				seen[timestamp], most = true, max(most, timestamp)
			}
			last = most
			require.NoError(t, r.ReportPrimary(t.Context(), route.Primary{Group: 1, View: uint64(round + 1), Replica: 1, Address: "a1"}, nil))
			time.Sleep(3 * time.Second) // one that watches an old primary hears its next sign of life first
			require.Equal(t, uint64(round+1), r.Primaries()[1].View)
		}
	})
}
