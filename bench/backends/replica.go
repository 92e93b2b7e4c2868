package backends

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

const (
	// Ports for replicas, below those that systems give to connections: a replica that comes back finds its own free.
	portMin, portMax = 10_000, 32_000
	portTriesMax     = 200
	// listenPatience is how long the port of a process that was just killed may still be taken.
	listenPatience = 5 * time.Second
	listenPause    = 10 * time.Millisecond
	// The server's settings, like those of a node of a cluster.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 16 << 20
	bufferBytes           = 64 << 10
	keepaliveMin          = 5 * time.Second
)

// replica is a replica and what it needs: a listener, a server, a transport.
type replica struct {
	listener   net.Listener
	transport  *transport.Transport
	server     *grpc.Server
	serving    chan error
	group      *transport.Group
	replicator replication.Replicator // nil until open
	machine    *registers
}

// listenAt listens at an address, or somewhere on loopback.
func listenAt(address string) (*replica, error) {
	listen := listenSomewhere
	if address != "" {
		listen = func() (net.Listener, error) { return listenAgain(address) }
	}
	listener, err := listen()
	if err != nil {
		return nil, fmt.Errorf("backends: %w", err)
	}
	return &replica{listener: listener, machine: newRegisters()}, nil
}

func listenSomewhere() (listener net.Listener, err error) {
	for range portTriesMax {
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", portMin+rand.IntN(portMax-portMin))); err == nil {
			return listener, nil
		}
	}
	return nil, err
}

func listenAgain(address string) (net.Listener, error) {
	for began := time.Now(); ; time.Sleep(listenPause) {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) > listenPatience {
			return listener, err
		}
	}
}

func (r *replica) address() string { return r.listener.Addr().String() }

// open opens the replica, which has listened before.
func (r *replica) open(chosen backend, o openRequest) error {
	if o.Create {
		if err := chosen.create(o.Directory, o.Durability); err != nil {
			return err
		}
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if r.transport, err = transport.New(transport.Options{Cluster: [16]byte{1}, Logger: logger}); err != nil {
		return err
	}
	addresses := map[uint32]string{}
	members := make([]replication.ReplicaID, 0, len(o.Members))
	for id, address := range o.Members {
		addresses[uint32(id)], members = address, append(members, id)
	}
	slices.Sort(members)
	if r.group, err = r.transport.Group(transport.Local{Group: 1, Replica: uint32(o.Self), Backend: chosen.wire}, addresses); err != nil {
		return err
	}
	r.serve()
	r.replicator, err = chosen.open(opening{
		self: o.Self, members: members, group: r.group, directory: o.Directory, durability: o.Durability, terms: o.Terms,
		machine: r.machine, logger: logger,
	})
	return err
}

// serve receives what the other replicas send.
func (r *replica) serve() {
	r.server = grpc.NewServer(
		grpc.MaxRecvMsgSize(transport.PayloadBytesMaxDefault+transport.MessageOverhead),
		grpc.InitialWindowSize(streamWindowBytes), grpc.InitialConnWindowSize(connectionWindowBytes),
		grpc.ReadBufferSize(bufferBytes), grpc.WriteBufferSize(bufferBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMin, PermitWithoutStream: true}),
	)
	r.transport.RegisterServer(r.server)
	r.serving = make(chan error, 1)
	go func() { r.serving <- r.server.Serve(r.listener) }()
}

// meter reads everything there is to read.
func (r *replica) meter() (Meter, error) {
	status, carried := r.replicator.Status(), r.transport.Counters()
	cpu, err := cpuSeconds()
	if err != nil {
		return Meter{}, fmt.Errorf("backends: CPU time: %w", err)
	}
	m := Meter{
		CPUSeconds: cpu, Fsyncs: status.Counters["fsyncs"], Frames: carried["frames_sent"], Flushes: carried["messages_sent"],
		Bytes: carried["bytes_sent"], BytesReceived: carried["bytes_received"], BytesFetched: carried["checkpoint_bytes_fetched"],
		Leading: status.Leading, Protocol: status.Protocol, View: status.View, Commit: status.Commit,
		Applied: status.Applied, Log: status.Log, State: r.machine.now(),
	}
	if status.Failure != nil {
		m.Failure = status.Failure.Error()
	}
	return m, nil
}

// close ends the replica in order.
func (r *replica) close() error {
	var err error
	if r.replicator != nil {
		err = r.replicator.Close()
	}
	if r.group != nil {
		r.group.Close()
	}
	if r.transport != nil {
		err = errors.Join(err, r.transport.Close())
	}
	if r.server == nil {
		return errors.Join(err, r.listener.Close())
	}
	r.server.Stop() // it closes the listener
	return errors.Join(err, <-r.serving)
}

func (s *server) startProfile(r profileRequest) (none any, err error) {
	if s.profile != nil {
		return nil, errors.New("backends: a profile is being written already")
	}
	file, err := os.Create(r.File)
	if err != nil {
		return nil, fmt.Errorf("backends: profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("backends: profile: %w", err), file.Close())
	}
	s.profile = file
	return nil, nil
}

// endProfile ends what startProfile began, if anything.
func (s *server) endProfile() error {
	if s.profile == nil {
		return nil
	}
	pprof.StopCPUProfile()
	err := s.profile.Close()
	s.profile = nil
	return err
}
