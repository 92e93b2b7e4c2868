package route

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/viewline/viewline/internal/frame"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// version is that of the wire format spoken here.
const version = 1

const (
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 16 << 20
	bufferBytes           = 64 << 10
	// frameBytesMax keeps one large burst from delaying what comes behind it; a larger request goes alone.
	frameBytesMax = 1 << 20
	// A node that is gone without a word is noticed after the sum of these, if no request notices it earlier.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 3 * time.Second
	// reasonWait is how long a stream that takes no more requests may still say why.
	reasonWait = 100 * time.Millisecond
)

// errStalled is the end of a stream that was silent for too long.
var errStalled = errors.New("route: silent for too long")

// connect makes a connection that tries once: whether to try again is the caller's business.
func (r *Router) connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connectionWindowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(txn.MessageBytesMax), grpc.MaxCallSendMsgSize(txn.MessageBytesMax)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: r.options.ConnectTimeout}),
	}, r.options.Dial...)...)
}

// link is one stream to a node.
type link struct {
	stream  pb.SessionService_SessionClient
	ctx     context.Context         // the stream's own
	end     context.CancelCauseFunc // ends the stream and does not wait
	writer  *frame.Writer[*copyOf]
	lived   bool // anything was received after the greeting; belongs to the node's goroutine
	leaving bool // nothing is written any more; guarded by the node's lock
}

// run connects, brings answers until the stream breaks, and gives everything back. It is the node's goroutine.
func (n *node) run() {
	connection, err := n.router.connect(n.address)
	if err != nil {
		n.lost(nil, err)
		return
	}
	l, err := n.open(connection)
	if err == nil {
		n.linked(l)
		err = n.receive(l)
		n.mu.Lock()
		l.leaving = true
		n.mu.Unlock()
		l.end(err)
		l.writer.Close()
		err = context.Cause(l.ctx)
	}
	_ = connection.Close() // it can only fail by being closed already
	if n.router.ctx.Err() == nil {
		n.router.options.Logger.Debug("stream to node ended", "node", n.address, "error", err)
	}
	n.lost(l, err)
}

// open opens a stream and greets the server, or fails within the time for connecting.
func (n *node) open(connection *grpc.ClientConn) (*link, error) {
	ctx, end := context.WithCancelCause(n.router.ctx)
	late := time.AfterFunc(n.router.options.ConnectTimeout, func() { end(context.DeadlineExceeded) })
	stream, err := pb.NewSessionServiceClient(connection).Session(ctx)
	if err == nil {
		err = greet(stream, n.router.clusterBytes())
	}
	if !late.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		end(err)
		return nil, err
	}
	l := &link{stream: stream, ctx: ctx, end: end}
	l.writer = frame.NewWriter(frame.Options[*copyOf]{
		ItemsMax: n.router.options.OutstandingMax, BytesMax: math.MaxInt, FlushBytesMax: frameBytesMax,
		Size: func(c *copyOf) int { return c.size },
	}, func(copies []*copyOf) error { return n.flush(l, copies) })
	return l, nil
}

// greet says who asks, and returns once the server has said who answers: what is written to a server of another
// cluster, or one that has no room for another session, would have an outcome that nobody knows.
func greet(stream pb.SessionService_SessionClient, cluster []byte) error {
	if err := stream.Send(&pb.SessionRequest{Version: version, Cluster: cluster}); err != nil {
		// io.EOF says that the server has ended the stream; Recv says why.
		if _, why := stream.Recv(); why != nil {
			err = why
		}
		return err
	}
	greeting, err := stream.Recv()
	if err != nil {
		return err
	}
	if got := greeting.GetVersion(); got != version {
		return fmt.Errorf("%w: the server answers in version %d", ErrVersion, got)
	}
	if got := greeting.GetCluster(); len(cluster) > 0 && string(got) != string(cluster) {
		return fmt.Errorf("%w: %x", ErrWrongCluster, got)
	}
	return nil
}

// flush writes one frame. From the moment at which it is about to be sent everything in it counts as written.
func (n *node) flush(l *link, copies []*copyOf) error {
	request := &pb.SessionRequest{Requests: make([]*pb.Request, 0, len(copies))}
	now := n.router.now()
	n.mu.Lock()
	if l.leaving {
		n.mu.Unlock()
		return frame.ErrClosed
	}
	for _, c := range copies {
		if c.call == nil { // its time was over before it was written
			n.remove(c.message.GetId(), c)
			continue
		}
		c.written = true
		c.message.RemainingMillis = remaining(c.call.deadline.Load(), now)
		request.Requests = append(request.Requests, c.message)
	}
	n.pump()
	n.mu.Unlock()
	if len(request.Requests) == 0 {
		return nil
	}
	if err := l.stream.Send(request); err != nil {
		// The receiving side gets the reason, if the server gave one.
		time.AfterFunc(reasonWait, func() { l.end(err) })
		return err
	}
	return nil
}

// remaining is the time left until a deadline in milliseconds, at least 1; 0 stands for no deadline.
func remaining(deadline, now int64) uint32 {
	if deadline == never {
		return 0
	}
	return uint32(min(max((deadline-now+int64(time.Millisecond)-1)/int64(time.Millisecond), 1), math.MaxUint32))
}

// receive brings answers to their requests until the stream ends, and returns why it did.
func (n *node) receive(l *link) error {
	for {
		response, err := l.stream.Recv()
		if err != nil {
			return err
		}
		l.lived = true
		for _, s := range n.match(response.GetResponses()) {
			n.router.settle(s)
		}
	}
}

// match finds the requests that are answered. Answers to nothing, which a server should not give, are dropped.
func (n *node) match(responses []*pb.Response) []settled {
	all := make([]settled, 0, len(responses))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = n.router.now()
	for _, response := range responses {
		c := n.unanswered[response.GetId()]
		if c == nil || !c.written {
			continue
		}
		call := c.call
		n.remove(response.GetId(), c)
		if call == nil {
			continue
		}
		s := settled{call: call, event: event{kind: answered, address: n.address}, response: response}
		switch body := response.GetBody().(type) {
		case *pb.Response_Error:
			s.event.kind, s.event.code = refused, body.Error.GetCode()
		case nil:
			s.event.kind = refused
			s.response = &pb.Response{Body: &pb.Response_Error{Error: &pb.Error{Code: pb.Code_CODE_INTERNAL, Message: "an answer without a body"}}}
			s.event.code = pb.Code_CODE_INTERNAL
		}
		all = append(all, s)
	}
	n.pump()
	return all
}
