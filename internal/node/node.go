package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

const (
	// Windows large enough to keep a local network busy with one stream.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 16 << 20
	bufferBytes           = 64 << 10
	// handshakeTimeout is how long a connection may take to say that it speaks HTTP/2.
	handshakeTimeout = 10 * time.Second
	// A client that is gone without a word is noticed after the sum of these.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// keepaliveMin is how often clients may ask whether the node is there.
	keepaliveMin = 5 * time.Second
	streamsMax   = 4096 // of one connection
	// farewell is how long Drain lets clients take what was written for them, after everything is answered.
	farewell = 2 * time.Second
)

// Node is one listener and the replicas behind it. Make one with Open, add replicas, then Serve; end it with
// Drain or Close. The node ends neither replicators nor handlers: their owner does, afterwards.
type Node struct {
	options   Options
	listener  *connections
	server    *grpc.Server
	transport *transport.Transport
	health    *health
	counters  counters
	answers   *[kinds]budget
	replicas  atomic.Pointer[map[uint32]*Replica] // by group; the map is never changed, a new one replaces it
	draining  atomic.Bool                         // new requests are refused

	stop     context.CancelFunc
	stopping <-chan struct{} // closed by stop
	stopOnce sync.Once

	mu       sync.Mutex
	closed   bool                  // guarded by mu; once set, running grows no more
	sessions map[*session]struct{} // guarded by mu. Invariant: at most SessionsMax.
	running  sync.WaitGroup        // the node's own goroutines
}

// Open listens and prepares the server; connections wait until Serve. The errors are ErrOptions,
// *InsecureListenError, or the network's.
func Open(options Options) (*Node, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	streams, err := transport.New(options.Transport)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	listener, err := listen(options)
	if err != nil {
		return nil, errors.Join(err, streams.Close())
	}
	connections, err := connectionsMax(options.ConnectionsMax)
	if err != nil {
		return nil, errors.Join(err, listener.Close(), streams.Close())
	}
	if connections < options.ConnectionsMax {
		options.Logger.Info("fewer connections are taken, for want of file descriptors", "most", connections, "wanted", options.ConnectionsMax)
	}
	n := &Node{
		options: options, listener: newConnections(listener, connections),
		transport: streams, sessions: map[*session]struct{}{}, answers: newBudgets(options.AnswerBytesTotal),
	}
	var stopping context.Context
	stopping, n.stop = context.WithCancel(context.Background())
	n.stopping = stopping.Done()
	n.replicas.Store(&map[uint32]*Replica{})
	n.server = grpc.NewServer(n.serverOptions(stopping)...)
	n.health = newHealth(n)
	streams.RegisterServer(n.server)
	pb.RegisterSessionServiceServer(n.server, &sessionServer{node: n})
	pb.RegisterAdminServiceServer(n.server, &adminServer{node: n})
	n.health.register(n.server)
	reflection.Register(n.server)
	n.start(n.health.run)
	return n, nil
}

func (n *Node) serverOptions(stopping context.Context) []grpc.ServerOption {
	message := max(MessageBytesMax+FrameOverhead, transport.PayloadBytesMaxDefault+transport.MessageOverhead,
		n.options.Transport.PayloadBytesMax+transport.MessageOverhead)
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(message),
		grpc.MaxSendMsgSize(message),
		grpc.InitialWindowSize(streamWindowBytes),
		grpc.InitialConnWindowSize(connectionWindowBytes),
		grpc.ReadBufferSize(bufferBytes),
		grpc.WriteBufferSize(bufferBytes),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: n.options.IdleTimeout, Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMin, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			// Streams without an end of their own (WatchMap, health) end with the node.
			ctx, cancel := context.WithCancel(stream.Context())
			defer cancel()
			defer context.AfterFunc(stopping, cancel)()
			return handle(service, &endingStream{ServerStream: stream, ctx: ctx})
		}),
	}
}

// endingStream is a stream whose context ends with the node.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the stream's context.
func (s *endingStream) Context() context.Context { return s.ctx }

// AddReplica makes the node answer for a group. The errors are ErrOptions and ErrDuplicate.
func (n *Node) AddReplica(r Replica) error {
	if err := r.validate(); err != nil {
		return err
	}
	if r.AddressOf == nil {
		r.AddressOf = func(replication.ReplicaID) string { return "" }
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	replicas := maps.Clone(*n.replicas.Load())
	if replicas[r.Group] != nil {
		return fmt.Errorf("%w: group %d", ErrDuplicate, r.Group)
	}
	replicas[r.Group] = &r
	n.replicas.Store(&replicas)
	n.options.Logger.Info("hosting a replica", "group", r.Group, "replica", r.Replica, "incarnation", r.Incarnation)
	return nil
}

// replica returns the hosted replica of a group, or nil.
func (n *Node) replica(group uint32) *Replica { return (*n.replicas.Load())[group] }

// Transport is the way to the other nodes; a replica's Group is made there before its backend is opened.
func (n *Node) Transport() *transport.Transport { return n.transport }

// Registrar takes further services, until Serve is called.
func (n *Node) Registrar() grpc.ServiceRegistrar { return n.server }

// Addr is the address that the node listens on.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// Advertise is the address by which others reach the node.
func (n *Node) Advertise() string {
	if n.options.Advertise != "" {
		return n.options.Advertise
	}
	return n.Addr()
}

// Serve answers connections until Drain or Close; it returns nil then. It is called once.
func (n *Node) Serve() error {
	if err := n.server.Serve(n.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("node: serving: %w", err)
	}
	return nil
}

// start runs a function in a goroutine that Close waits for, and returns false when it is too late for that.
func (n *Node) start(run func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.running.Go(run)
	return true
}
