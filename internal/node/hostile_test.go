package node_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// stillServes asks a node something over a session that was open before.
func stillServes(t *testing.T, h *host, c *client) {
	t.Helper()
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	c.send(bound(1))
	require.NotNil(t, c.next().GetBound())
	fresh := h.session(t)
	fresh.send(bound(1))
	require.NotNil(t, fresh.next().GetBound())
}

// lineCount is a log of which only the lines are counted.
type lineCount struct{ atomic.Int64 }

func (c *lineCount) Write(text []byte) (int, error) {
	c.Add(int64(bytes.Count(text, []byte("\n"))))
	return len(text), nil
}

func (c *lineCount) lines() int { return int(c.Load()) }

func TestRandomBytesOnThePort(t *testing.T) {
	log := &lineCount{}
	h := start(t, func(o *node.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	c := h.session(t)
	random := rand.NewChaCha8([32]byte{1})
	preface := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	for i := range 50 {
		junk := make([]byte, 1+i*97)
		_, _ = random.Read(junk)
		if i%2 == 0 {
			junk = append(bytes.Clone(preface), junk...) // what follows looks like HTTP/2 frames
		}
		connection, err := net.Dial("tcp", h.Addr())
		require.NoError(t, err)
		_, err = connection.Write(junk)
		require.NoError(t, err)
		if i%3 == 0 {
			require.NoError(t, connection.SetDeadline(time.Now().Add(50*time.Millisecond)))
			_, _ = io.Copy(io.Discard, connection)
		}
		require.NoError(t, connection.Close())
	}
	stillServes(t, h, c)
	require.Eventually(t, func() bool { return h.counter("connections_open") <= 3 }, patience, 10*time.Millisecond)
	require.LessOrEqual(t, log.lines(), 5, "garbage does not fill the log")
}

// TestSilentConnectionsDoNotDelayClose: gRPC itself waits for them.
func TestSilentConnectionsDoNotDelayClose(t *testing.T) {
	h := start(t, nil)
	for range 3 {
		connection, err := net.Dial("tcp", h.Addr())
		require.NoError(t, err)
		defer connection.Close()
	}
	require.Eventually(t, func() bool { return h.counter("connections_open") >= 3 }, patience, time.Millisecond)
	before := time.Now()
	require.NoError(t, h.Close())
	require.Less(t, time.Since(before), 5*time.Second)
}

// TestConnectionsWithoutAStream are closed after a while; a session of which nothing is asked is not.
func TestConnectionsWithoutAStream(t *testing.T) {
	h := start(t, func(o *node.Options) { o.IdleTimeout = 50 * time.Millisecond })
	c, idle := h.session(t), connect(t, h.Addr())
	idle.Connect()
	require.Eventually(t, func() bool { return idle.GetState() == connectivity.Ready }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return h.counter("connections_open") == 1 }, patience, time.Millisecond)
	stillServes(t, h, c)
}

func TestTooManyConnections(t *testing.T) {
	h := start(t, func(o *node.Options) { o.ConnectionsMax = 2 })
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	c := h.session(t)
	c.send(bound(1))
	require.NotNil(t, c.next().GetBound())
	idle, err := net.Dial("tcp", h.Addr())
	require.NoError(t, err)
	refused := func() bool {
		connection, err := net.Dial("tcp", h.Addr())
		require.NoError(t, err)
		defer connection.Close()
		require.NoError(t, connection.SetDeadline(time.Now().Add(100*time.Millisecond)))
		n, err := connection.Read(make([]byte, 1))
		return n == 0 && errors.Is(err, io.EOF)
	}
	require.Eventually(t, refused, patience, time.Millisecond)
	require.NoError(t, idle.Close())
	require.Eventually(t, func() bool { return !refused() }, patience, time.Millisecond)
	c.send(bound(2))
	require.NotNil(t, c.next().GetBound())
}

// rawCodec sends bytes as they are, as a client with a broken marshaller would.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (rawCodec) Name() string                         { return "proto" }

func TestMalformedMessages(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	connection := connect(t, h.Addr())
	for _, method := range []string{pb.SessionService_Session_FullMethodName, pb.PeerService_Exchange_FullMethodName} {
		for _, message := range [][]byte{{0xff}, {0x1a, 0x05, 0x01}, bytes.Repeat([]byte{0x0f}, 1000)} {
			stream, err := connection.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
				method, grpc.ForceCodecV2(rawCodec{}))
			require.NoError(t, err)
			require.NoError(t, stream.SendMsg(message))
			var answer []byte
			require.Equal(t, codes.Internal, status.Code(stream.RecvMsg(&answer)))
		}
	}
	stillServes(t, h, c)
}

func TestAnOversizedMessage(t *testing.T) {
	h := start(t, nil)
	c, big := h.session(t), h.session(t)
	request := &pb.Request{Id: 1, Group: 5, Body: &pb.Request_Read{Read: &pb.ReadRequest{Oids: [][]byte{make([]byte, 21<<20)}}}}
	_ = big.Send(&pb.SessionRequest{Requests: []*pb.Request{request}})
	_, err := big.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	stillServes(t, h, c)
}

func TestALargestMessageIsTaken(t *testing.T) {
	h := start(t, nil)
	h.handler.answer(func(r *pb.Request) *pb.Response {
		values := []*pb.Value{{Present: true, Value: r.GetRead().GetOids()[0]}}
		return &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values}}}
	})
	c := h.session(t)
	large := make([]byte, node.MessageBytesMax-1000)
	c.send(&pb.Request{Id: 1, Group: 5, Body: &pb.Request_Read{Read: &pb.ReadRequest{Oids: [][]byte{large}}}})
	require.True(t, bytes.Equal(large, c.next().GetRead().GetValues()[0].GetValue()))
}

func reading(size int) *pb.Response {
	return &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: []*pb.Value{{Value: make([]byte, size)}}}}}
}

func verdict(size int) *pb.Response {
	return &pb.Response{Body: &pb.Response_Verdict{Verdict: &pb.Verdict{Oids: [][]byte{make([]byte, size)}}}}
}

func TestAnAnswerThatIsTooLarge(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(1), bound(2))
	requests := h.handler.take(2)
	requests[0].respond(reading(node.MessageBytesMax + 1))
	require.Equal(t, pb.Code_CODE_LIMIT, c.refused(1))
	requests[1].respond(verdict(node.MessageBytesMax + 1))
	require.Equal(t, pb.Code_CODE_INTERNAL, c.refused(2), "it may have had an effect")
}

// TestAClientThatDoesNotReadItsAnswers: reads are refused, and where a verdict does not fit the session ends.
func TestAClientThatDoesNotReadItsAnswers(t *testing.T) {
	h := start(t, func(o *node.Options) { o.AnswerBytesMax = 24 << 20 })
	c, other := h.session(t), h.session(t)
	for i := range uint64(100) {
		c.send(bound(i))
	}
	requests := h.handler.take(100)
	for _, r := range requests[:20] {
		r.respond(reading(10 << 20))
	}
	require.Positive(t, h.counter("refused_overloaded"))
	for _, r := range requests[20:] {
		r.respond(verdict(1 << 20))
	}
	require.Positive(t, h.counter("answers_lost"))
	var err error
	for err == nil {
		_, err = c.Recv()
	}
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	stillServes(t, h, other)
}
