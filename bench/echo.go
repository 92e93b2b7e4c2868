package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echoMethod is the one call of the baseline service.
const echoMethod = "/viewline.bench.Echo/Echo"

// Echo measures plain unary gRPC calls over loopback, both ends in this process: what the machine can do at
// that moment, to hold a run's figures against. No consistency, no disk, no second hop.
func Echo(ctx context.Context, callers, bytes int, duration time.Duration) (result *Result, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bench: echo: %w", err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "viewline.bench.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
	}, struct{}{})
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		err = errors.Join(err, <-serving)
	}()
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("bench: echo: %w", err)
	}
	defer func() { _ = connection.Close() }()
	return callEcho(ctx, connection, callers, bytes, duration)
}

//nolint:revive // the order of parameters is that of gRPC's method handlers
func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	message := &wrapperspb.BytesValue{}
	return message, decode(message)
}

func callEcho(ctx context.Context, connection *grpc.ClientConn, callers, bytes int, duration time.Duration) (*Result, error) {
	var mu sync.Mutex
	var failure error
	total := hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)
	began := time.Now()
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			latency := hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)
			var err error
			for start := began; err == nil && time.Since(began) < duration; {
				err = connection.Invoke(ctx, echoMethod, &wrapperspb.BytesValue{Value: make([]byte, bytes)}, &wrapperspb.BytesValue{})
				now := time.Now()
				_ = latency.RecordValue(max(1, now.Sub(start).Microseconds()))
				start = now
			}
			mu.Lock()
			defer mu.Unlock()
			total.Merge(latency)
			failure = errors.Join(failure, err)
		})
	}
	group.Wait()
	if failure != nil {
		return nil, fmt.Errorf("bench: echo: %w", failure)
	}
	elapsed := time.Since(began)
	calls := uint64(total.TotalCount())
	return &Result{
		Options: Options{Kind: "echo", Callers: callers, ValueBytes: bytes, Duration: duration}, Commits: calls, Seconds: elapsed.Seconds(),
		CommitsPerSecond: float64(calls) / elapsed.Seconds(), P50: time.Duration(total.ValueAtQuantile(50)) * time.Microsecond,
		P99: time.Duration(total.ValueAtQuantile(99)) * time.Microsecond, Max: time.Duration(total.Max()) * time.Microsecond,
		Aborts: map[string]uint64{}, Verdict: "baseline",
	}, nil
}
