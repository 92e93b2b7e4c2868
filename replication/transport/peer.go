package transport

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/viewline/viewline/internal/frame"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

const (
	// frameOverhead is more than a frame adds to its payload on the wire.
	frameOverhead = 64
	// flushBytesMax keeps one large burst from delaying what comes behind it; a larger frame goes alone.
	flushBytesMax = 1 << 20
	// streamWindowBytes and connectionWindowBytes are large enough to keep a local network busy.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 16 << 20
	bufferBytes           = 64 << 10
	// A peer that is gone without a word is noticed after the sum of these.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 3 * time.Second
)

// peer is the way to one address: a connection, a bounded queue, and the one stream of frames.
type peer struct {
	transport  *Transport
	address    string
	connection *grpc.ClientConn
	client     pb.PeerServiceClient
	writer     *frame.Writer[*pb.PeerFrame]
	uses       int         // guarded by Transport.mu
	ended      atomic.Bool // nobody uses it any more

	// What follows belongs to the writer's goroutine.
	stream  *outgoing // nil: not connected
	retryAt time.Time // no attempt before
	failed  int       // streams in a row that did not live long
}

// outgoing is one stream of frames to a peer.
type outgoing struct {
	stream  pb.PeerService_ExchangeClient
	cancel  context.CancelFunc
	hello   *pb.PeerHello
	opened  time.Time
	greeted bool        // the handshake was sent; belongs to the writer's goroutine
	over    atomic.Bool // the peer ended it
	left    atomic.Bool // this side ended it
}

func newPeer(t *Transport, address string) (*peer, error) {
	connection, err := grpc.NewClient("passthrough:///"+address, dialOptions(t.options)...)
	if err != nil {
		return nil, err
	}
	p := &peer{transport: t, address: address, connection: connection, client: pb.NewPeerServiceClient(connection)}
	p.writer = frame.NewWriter(frame.Options[*pb.PeerFrame]{
		ItemsMax: t.options.QueueFramesMax, BytesMax: t.options.QueueBytesMax,
		FlushBytesMax: min(flushBytesMax, t.options.PayloadBytesMax),
		Size:          func(f *pb.PeerFrame) int { return len(f.GetPayload()) + frameOverhead },
	}, p.flush)
	return p, nil
}

// dialOptions are the transport's own; what Options.Dial adds overrides them. A passthrough target is resolved
// at every attempt to connect, so that a peer may move.
func dialOptions(options Options) []grpc.DialOption {
	message := options.PayloadBytesMax + MessageOverhead
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connectionWindowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(message), grpc.MaxCallSendMsgSize(message)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: options.BackoffMin, Multiplier: 2, Jitter: 0.5, MaxDelay: options.BackoffMax,
			},
			MinConnectTimeout: options.ConnectTimeout,
		}),
	}, options.Dial...)
}

// flush sends frames, or drops them where the peer is not reached: whatever a backend has to say then is old
// by the time the peer is back, and the backend says it again.
func (p *peer) flush(frames []*pb.PeerFrame) error {
	c := &p.transport.counters
	s := p.connected()
	if s == nil {
		c.drop(dropNotConnected, len(frames))
		return nil
	}
	if !s.send(frames) {
		c.drop(dropNotConnected, len(frames))
		return nil
	}
	bytes := 0
	for _, f := range frames {
		bytes += len(f.GetPayload())
	}
	c.framesSent.Add(uint64(len(frames)))
	c.bytesSent.Add(uint64(bytes))
	c.messagesSent.Add(1)
	return nil
}

// send sends frames, behind the handshake the first time, and reports whether the stream took them. If not,
// the watcher reads the reason from the stream and reports it.
func (s *outgoing) send(frames []*pb.PeerFrame) bool {
	request := &pb.ExchangeRequest{Frames: frames}
	if !s.greeted {
		s.greeted, request.Hello = true, s.hello
	}
	err := s.stream.Send(request)
	if err != nil {
		s.over.Store(true)
	}
	return err == nil
}

// connected returns the stream, opened if need be, or nil when the peer is not reached.
func (p *peer) connected() *outgoing {
	hello := p.transport.registry.Load().hello
	if s := p.stream; s != nil {
		if !s.over.Load() && s.hello == hello {
			return s
		}
		p.leave(s)
	}
	if time.Now().Before(p.retryAt) {
		return nil
	}
	p.stream = p.open(hello)
	return p.stream
}

// leave gives a stream up: one that the peer ended, with a pause that grows while streams do not live long,
// or one whose handshake is out of date, at once.
func (p *peer) leave(s *outgoing) {
	p.stream = nil
	if !s.over.Load() {
		// What was sent still arrives; the peer ends the stream then.
		s.left.Store(true)
		_ = s.stream.CloseSend()
		return
	}
	s.cancel()
	p.transport.counters.streamsLost.Add(1)
	if time.Since(s.opened) > 2*p.transport.options.BackoffMax {
		p.failed = 0
	}
	p.pause(p.failed)
	p.failed++
}

// pause puts the next attempt off by the smallest back-off, doubled so many times, jittered by half.
func (p *peer) pause(doublings int) {
	o := p.transport.options
	delay := o.BackoffMax
	if doublings < 32 {
		delay = min(delay, o.BackoffMin<<doublings)
	}
	p.retryAt = time.Now().Add(delay/2 + rand.N(delay/2+1))
}

// open opens a stream. Attempts to connect are paced by gRPC's own back-off; between them it fails at once.
func (p *peer) open(hello *pb.PeerHello) *outgoing {
	t := p.transport
	ctx, cancel := context.WithCancel(t.ctx)
	late := time.AfterFunc(t.options.ConnectTimeout, cancel)
	stream, err := p.client.Exchange(ctx, grpc.ForceCodecV2(newCodec()))
	if !late.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	s := &outgoing{stream: stream, cancel: cancel, hello: hello, opened: time.Now()}
	if err != nil || !t.start(func() { p.watch(s) }) {
		cancel()
		p.pause(0)
		if err != nil && t.ctx.Err() == nil && !p.ended.Load() {
			t.notices.warn("peer not reached", "peer", p.address, "error", err)
		}
		return nil
	}
	t.counters.streamsOpened.Add(1)
	t.options.Logger.Debug("stream to peer opened", "peer", p.address)
	return s
}

// watch waits for the end of a stream and reports it. The peer sends nothing but the reason of a refusal.
func (p *peer) watch(s *outgoing) {
	defer s.cancel()
	t := p.transport
	response, err := s.stream.Recv()
	if s.over.Store(true); s.left.Load() || t.ctx.Err() != nil || p.ended.Load() {
		return
	}
	if err == nil {
		t.notices.warn("peer refuses our frames", "peer", p.address, "reason", brief(response.GetRefused()))
		t.counters.refusedByPeer.Add(1)
		return
	}
	t.notices.warn("stream to peer ended", "peer", p.address, "error", err)
}

// reasonBytesMax bounds what is kept and logged of a reason that somebody else wrote.
const reasonBytesMax = 256

func brief(reason string) string {
	if len(reason) <= reasonBytesMax {
		return reason
	}
	// A copy: the rest is not to be kept alive by what is remembered.
	return strings.Clone(reason[:reasonBytesMax]) + "..."
}

// end closes a way that nobody uses any more. The connection goes first, so that no flush waits for anything.
func (p *peer) end() {
	p.ended.Store(true)
	_ = p.connection.Close() // it was in use no more
	p.writer.Close()
}

// close ends the writer and the connection. The transport's context is over, so nothing is flushed any more.
func (p *peer) close() error {
	p.writer.Close()
	return p.connection.Close()
}
