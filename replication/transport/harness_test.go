package transport_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// site is one node of a test: a transport and the server that carries it.
type site struct {
	*transport.Transport
	address string
	log     *lines
	server  *grpc.Server
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count returns how many lines contain a text.
func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *lines) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

func cluster(b byte) [16]byte { return [16]byte{0: b, 15: b} }

// open starts a site; options that are zero suit tests.
func open(t *testing.T, options transport.Options) *site {
	t.Helper()
	return openAt(t, options, "127.0.0.1:0")
}

func openAt(t *testing.T, options transport.Options, address string) *site {
	t.Helper()
	if options.Cluster == [16]byte{} {
		options.Cluster = cluster(1)
	}
	if options.BackoffMin == 0 {
		options.BackoffMin, options.BackoffMax = time.Millisecond, 20*time.Millisecond
	}
	s := &site{log: &lines{}, server: grpc.NewServer(grpc.MaxRecvMsgSize(32<<20), grpc.WaitForHandlers(true))}
	options.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	var err error
	s.Transport, err = transport.New(options)
	require.NoError(t, err)
	s.RegisterServer(s.server)
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	s.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }()
	t.Cleanup(func() {
		s.stop(t)
		if err := <-served; !errors.Is(err, grpc.ErrServerStopped) { // the test ended before it served
			require.NoError(t, err)
		}
	})
	return s
}

func (s *site) stop(t *testing.T) {
	require.NoError(t, s.Close())
	s.server.Stop()
}

// join registers a replica at a site.
func (s *site) join(t *testing.T, group, replica uint32, peers map[uint32]string) *transport.Group {
	t.Helper()
	g, err := s.Group(transport.Local{Group: group, Replica: replica, Incarnation: 7}, peers)
	require.NoError(t, err)
	return g
}

// pair opens two sites with replicas 1 and 2 of group 5.
func pair(t *testing.T, options transport.Options) (a, b *site, one, two *transport.Group) {
	t.Helper()
	a, b = open(t, options), open(t, options)
	peers := map[uint32]string{1: a.address, 2: b.address}
	return a, b, a.join(t, 5, 1, peers), b.join(t, 5, 2, peers)
}

// inbox collects what a replica receives.
type inbox struct {
	mu       sync.Mutex
	payloads []string
	from     []uint32
}

func (i *inbox) receive(from uint32, payload []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.payloads = append(i.payloads, string(payload))
	i.from = append(i.from, from)
}

func (i *inbox) all() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.payloads...)
}

func (i *inbox) senders() []uint32 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]uint32(nil), i.from...)
}

func (i *inbox) has(payload string) bool {
	for _, p := range i.all() {
		if p == payload {
			return true
		}
	}
	return false
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, 2*time.Millisecond, what)
}

// sendUntil repeats a payload, as backends do, until it has arrived.
func sendUntil(t *testing.T, from *transport.Group, to uint32, payload string, in *inbox) {
	t.Helper()
	eventually(t, func() bool {
		from.Send(to, []byte(payload))
		return in.has(payload)
	}, payload)
}

// dial opens a bare stream, as a confused or hostile peer would.
func dial(t *testing.T, address string) pb.PeerServiceClient {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close()) })
	return pb.NewPeerServiceClient(connection)
}
