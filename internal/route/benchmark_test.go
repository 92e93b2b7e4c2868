package route_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/viewline/viewline/internal/frame"
	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// echoServer is as fast a server as there is: it answers reads, and timestamps from a counter.
type echoServer struct {
	pb.UnimplementedSessionServiceServer
	pb.UnimplementedMapServiceServer
	news *pb.WatchMapResponse
	next uint64
}

func (s *echoServer) WatchMap(_ *pb.WatchMapRequest, stream grpc.ServerStreamingServer[pb.WatchMapResponse]) error {
	if err := stream.Send(s.news); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (s *echoServer) Session(stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) error {
	writer := frame.NewWriter(frame.Options[*pb.Response]{}, func(responses []*pb.Response) error {
		return stream.Send(&pb.SessionResponse{Responses: responses})
	})
	defer writer.Close()
	if err := stream.Send(&pb.SessionResponse{Version: 1, Cluster: theCluster[:]}); err != nil {
		return err
	}
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		for _, one := range request.GetRequests() {
			response := &pb.Response{Id: one.GetId(), Body: &pb.Response_Read{Read: &pb.ReadResponse{}}}
			if count := one.GetTimestamps().GetCount(); count > 0 {
				response.Body = &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: s.next + 1, Count: count}}
				s.next += uint64(count)
			}
			writer.Put(response)
		}
	}
}

func benchRouter(b *testing.B) *route.Router {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	address := listener.Addr().String()
	wire := theMap(1)
	wire.Coordinator.Members = []*pb.Member{{Replica: 1, Address: address}}
	wire.Shards[0].Members = wire.Coordinator.Members
	s := &echoServer{news: &pb.WatchMapResponse{Cluster: theCluster[:], Map: wire, Primaries: []*pb.Primary{shardPrimary(1, address)}}}
	server := grpc.NewServer()
	pb.RegisterSessionServiceServer(server, s)
	pb.RegisterMapServiceServer(server, s)
	go server.Serve(listener)
	b.Cleanup(server.Stop)
	r, err := route.Open(context.Background(), route.Options{Coordinators: []string{address}})
	require.NoError(b, err)
	b.Cleanup(func() { r.Close() })
	return r
}

// callers runs b.N calls, spread over so many goroutines.
func callers(b *testing.B, count int, call func() error) {
	b.ReportAllocs()
	var working sync.WaitGroup
	for i := range count {
		working.Go(func() {
			for range (b.N + i) / count {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
}

func BenchmarkDo(b *testing.B) {
	for _, count := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", count), func(b *testing.B) {
			r, ctx := benchRouter(b), context.Background()
			b.ResetTimer()
			callers(b, count, func() error {
				_, err := r.Do(ctx, read("acct/0000000042"))
				return err
			})
		})
	}
}

func BenchmarkTimestamp(b *testing.B) {
	for _, count := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", count), func(b *testing.B) {
			r, ctx := benchRouter(b), context.Background()
			b.ResetTimer()
			callers(b, count, func() error {
				_, err := r.Timestamp(ctx)
				return err
			})
		})
	}
}
