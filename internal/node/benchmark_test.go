package node_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/viewline/viewline/internal/frame"
	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// BenchmarkEcho compares a session with plain unary gRPC calls: callers send 128 bytes each and wait for 128
// bytes, client and server in one process over TCP. cpu-us/op is the CPU of both ends.
func BenchmarkEcho(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d/session", callers), func(b *testing.B) { benchmarkSession(b, callers) })
		b.Run(fmt.Sprintf("callers=%d/unary", callers), func(b *testing.B) { benchmarkUnary(b, callers) })
	}
}

// run lets the callers make b.N calls in all.
func run(b *testing.B, callers int, call func(caller int) error) {
	before := cpu(b)
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for range (b.N + callers - 1) / callers {
				if err := call(caller); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// echoer answers a read with its oid for a value.
type echoer struct{ *keeper }

func (echoer) Handle(request *pb.Request, _ time.Time, respond func(*pb.Response)) {
	values := []*pb.Value{{Present: true, Value: request.GetRead().GetOids()[0], Version: 1}}
	respond(&pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values}}})
}

func benchmarkSession(b *testing.B, callers int) {
	n, err := node.Open(node.Options{Listen: "127.0.0.1:0", Cluster: clusterOne})
	require.NoError(b, err)
	require.NoError(b, n.AddReplica(node.Replica{Group: 5, Replica: 1, Handler: echoer{}, Replicator: &replicator{}}))
	served := make(chan error, 1)
	go func() { served <- n.Serve() }()
	ctx, cancel := context.WithCancel(b.Context())
	stream, err := pb.NewSessionServiceClient(connect(b, n.Addr())).Session(ctx)
	require.NoError(b, err)
	require.NoError(b, stream.Send(&pb.SessionRequest{Version: 1}))
	writer := frame.NewWriter(frame.Options[*pb.Request]{}, func(requests []*pb.Request) error {
		return stream.Send(&pb.SessionRequest{Requests: requests})
	})
	answers := make([]chan *pb.Response, callers)
	for i := range answers {
		answers[i] = make(chan *pb.Response, 1)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			message, err := stream.Recv()
			if err != nil {
				return
			}
			for _, response := range message.GetResponses() {
				answers[response.GetId()] <- response
			}
		}
	})
	payload := make([]byte, 128)
	run(b, callers, func(caller int) error {
		writer.Put(&pb.Request{Id: uint64(caller), Group: 5, RemainingMillis: 1000, Body: &pb.Request_Read{
			Read: &pb.ReadRequest{Oids: [][]byte{payload}},
		}})
		if response := <-answers[caller]; response.GetRead() == nil {
			return fmt.Errorf("refused: %v", response.GetError())
		}
		return nil
	})
	writer.Close()
	cancel()
	reader.Wait()
	require.NoError(b, n.Close())
	require.NoError(b, <-served)
}

func benchmarkUnary(b *testing.B, callers int) {
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := &wrapperspb.BytesValue{}
			return request, decode(request)
		},
	}}}, struct{}{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	connection := connect(b, listener.Addr().String())
	payload := make([]byte, 128)
	run(b, callers, func(int) error {
		return connection.Invoke(b.Context(), "/echo/Echo", wrapperspb.Bytes(payload), &wrapperspb.BytesValue{})
	})
	server.Stop()
	require.NoError(b, <-served)
}
