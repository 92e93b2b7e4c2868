package transport_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/viewline/viewline/replication/transport"
)

// BenchmarkRoundTrip sends 192 bytes to a peer and back, with so many of them under way at a time.
func BenchmarkRoundTrip(b *testing.B) {
	for _, window := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) { benchmarkRoundTrip(b, window) })
	}
}

func benchmarkRoundTrip(b *testing.B, window int) {
	near, nearAddress := listening(b)
	far, farAddress := listening(b)
	peers := map[uint32]string{1: nearAddress, 2: farAddress}
	one, err := near.Group(transport.Local{Group: 5, Replica: 1}, peers)
	require.NoError(b, err)
	two, err := far.Group(transport.Local{Group: 5, Replica: 2}, peers)
	require.NoError(b, err)
	back := make(chan struct{}, window)
	one.Receive(func(uint32, []byte) { back <- struct{}{} })
	two.Receive(func(_ uint32, payload []byte) { two.Send(1, payload) })
	payload := make([]byte, 192)
	one.Send(2, payload)
	<-back
	b.ReportAllocs()
	b.ResetTimer()
	for sent := range b.N {
		if sent >= window {
			<-back
		}
		one.Send(2, payload)
	}
	for range min(window, b.N) {
		<-back
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(near.Counters()["messages_sent"]), "frames/message")
}

func listening(b *testing.B) (*transport.Transport, string) {
	t, err := transport.New(transport.Options{Cluster: cluster(1)})
	require.NoError(b, err)
	server := grpc.NewServer()
	t.RegisterServer(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	b.Cleanup(func() {
		require.NoError(b, t.Close())
		server.Stop()
		require.NoError(b, <-served)
	})
	return t, listener.Addr().String()
}
