package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	peers "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// helloReplicasMax bounds the replicas of one node that a handshake may name.
const helloReplicasMax = 4096

// server receives what peers send.
type server struct {
	pb.UnimplementedPeerServiceServer
	transport *Transport
}

// backendBytesMax bounds the name of what replicates a group.
const backendBytesMax = 255

// speaker is one replica at the other end of a stream.
type speaker struct {
	incarnation uint64
	backend     string
}

// caller is who is at the other end of a stream.
type caller struct {
	host     string
	replicas map[key]speaker // who may speak on it; nil before the handshake
	address  string          // where all of them are reached; "" where the handshake does not say
	met      map[meeting]bool
}

// hostOf is the address of a stream's other end without its port, which is another one for every connection.
func hostOf(ctx context.Context) string {
	other, ok := peers.FromContext(ctx)
	if !ok {
		return "unknown"
	}
	if host, _, err := net.SplitHostPort(other.Addr.String()); err == nil {
		return host
	}
	return other.Addr.String()
}

// refusal is why a stream is refused; the peer gets the text.
type refusal struct {
	reason refusalReason
	text   string
}

// Error is the text that the peer gets.
func (r refusal) Error() string { return r.text }

func refuse(reason refusalReason, format string, arguments ...any) refusal {
	return refusal{reason, fmt.Sprintf(format, arguments...)}
}

// Exchange receives one peer's frames until either side ends the stream.
func (s *server) Exchange(stream pb.PeerService_ExchangeServer) error {
	t := s.transport
	from := &caller{host: hostOf(stream.Context()), met: map[meeting]bool{}}
	select {
	case t.streams <- struct{}{}:
		defer func() { <-t.streams }()
	default:
		t.complain(from, refuse(refusedStreams, "too many streams of frames"))
		return status.Error(codes.ResourceExhausted, "too many streams of frames")
	}
	// A stream's Recv only ends with the stream, and the stream with this method: so that Close ends both, they
	// are two goroutines.
	ended := make(chan error, 2)
	// Whoever opens streams and says nothing must not take the places of those who have something to say.
	mute := time.AfterFunc(t.options.HandshakeTimeout, func() { ended <- refuse(refusedSilent, "no handshake came") })
	defer mute.Stop()
	if !t.start(func() {
		err := t.receive(stream, from, mute)
		from.part()
		ended <- err
	}) {
		return status.Error(codes.Unavailable, "node is closing")
	}
	select {
	case <-t.ctx.Done():
		return status.Error(codes.Unavailable, "node is closing")
	case err := <-ended:
		var refused refusal
		if errors.As(err, &refused) {
			t.complain(from, refused)
			return stream.Send(&pb.ExchangeResponse{Refused: refused.Error()})
		}
		t.complainOfMessage(from, err)
		return err
	}
}

// complain logs and counts that a stream is refused, in this order: who sees the count finds the line.
func (t *Transport) complain(from *caller, why refusal) {
	t.notices.Warn("peer refused", from.host+" "+why.reason.name(), "peer", from.host, "reason", why.reason.name(), "detail", brief(why.text))
	t.counters.refused[why.reason].Add(1)
}

// complainOfMessage does the same for a stream that ended with a message that gRPC could not read. Every other end is
// of the network.
func (t *Transport) complainOfMessage(from *caller, err error) {
	switch status.Code(err) {
	case codes.Internal:
		t.complain(from, refuse(refusedMalformed, "%v", err))
	case codes.ResourceExhausted:
		t.complain(from, refuse(refusedOversized, "%v", err))
	default:
	}
}

// receive handles a stream's messages, and stops the timer when it knows who speaks. It returns nil when the peer
// ended the stream in order.
func (t *Transport) receive(stream pb.PeerService_ExchangeServer, from *caller, mute *time.Timer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if from.replicas == nil {
			if from.replicas, err = t.admit(request.GetHello()); err != nil {
				return err
			}
			from.address = request.GetHello().GetAddress()
			mute.Stop()
			// The header tells the peer's gRPC that the stream is served: it keeps nothing for a retry any more.
			if err := stream.SendHeader(metadata.MD{}); err != nil {
				return err
			}
		} else if request.GetHello() != nil {
			return refuse(refusedSecondHandshake, "a second handshake on one stream")
		}
		t.counters.messagesReceived.Add(1)
		for _, f := range request.GetFrames() {
			t.deliver(from, f)
		}
	}
}

// admit checks a handshake and returns who may speak, or a refusal.
func (t *Transport) admit(hello *pb.PeerHello) (map[key]speaker, error) {
	switch {
	case hello == nil:
		return nil, refuse(refusedNoHandshake, "the first message carries no handshake")
	case hello.GetVersion() != Version:
		return nil, refuse(refusedVersion, "wire version %d is not spoken here, only %d", hello.GetVersion(), Version)
	case string(hello.GetCluster()) != string(t.options.Cluster[:]):
		return nil, refuse(refusedCluster, "this is cluster %x, not %.32x", t.options.Cluster, hello.GetCluster())
	case len(hello.GetReplicas()) > helloReplicasMax:
		return nil, refuse(refusedReplicas, "%d replicas in a handshake, at most %d", len(hello.GetReplicas()), helloReplicasMax)
	}
	if address := hello.GetAddress(); address != "" && checkAddress(address) != nil {
		return nil, refuse(refusedAddress, "the address %.64q is not HOST:PORT", address)
	}
	known := make(map[key]speaker, len(hello.GetReplicas()))
	for _, replica := range hello.GetReplicas() {
		if len(replica.GetBackend()) > backendBytesMax {
			return nil, refuse(refusedReplicas, "a backend's name of %d bytes", len(replica.GetBackend()))
		}
		known[key{replica.GetGroup(), replica.GetReplica()}] = speaker{replica.GetIncarnation(), replica.GetBackend()}
	}
	return known, nil
}

// deliver hands a frame to its receiver, or drops and counts it.
func (t *Transport) deliver(from *caller, f *pb.PeerFrame) {
	who, named := from.replicas[key{f.GetGroup(), f.GetFrom()}]
	if !named || who.incarnation != f.GetIncarnation() {
		t.drop(from, f, dropUnknownSender)
		return
	}
	g := t.registry.Load().groups[key{f.GetGroup(), f.GetTo()}]
	if g == nil {
		t.drop(from, f, dropUnknownReceiver)
		return
	}
	if who.backend != g.local.Backend {
		t.mixed(f, who.backend, g.local.Backend)
		return
	}
	if reason, bad := g.fault(from, f); bad {
		t.drop(from, f, reason)
		return
	}
	if !g.deliver(f.GetFrom(), f.GetPayload()) {
		t.drop(from, f, dropUnknownReceiver)
		return
	}
	t.counters.framesReceived.Add(1)
	t.counters.bytesReceived.Add(uint64(len(f.GetPayload())))
}

// mixed drops a frame of a replica whose group is replicated by something else there than here.
func (t *Transport) mixed(f *pb.PeerFrame, there, here string) {
	t.notices.warn("a replica of this group has another backend: a group keeps the one it began with, so one of the two was not made for it",
		"group", f.GetGroup(), "from", f.GetFrom(), "to", f.GetTo(), "there", backendName(there), "here", backendName(here))
	t.counters.drop(dropBackend, 1)
}

func backendName(name string) string {
	if name == "" {
		return "vr"
	}
	return brief(name)
}

// drop counts a frame that is not delivered, and complains of what no correct peer sends. Where a receiver is missing it
// may just be about to start or to end.
func (t *Transport) drop(from *caller, f *pb.PeerFrame, reason dropReason) {
	defer t.counters.drop(reason, 1)
	if reason == dropUnknownReceiver || reason == dropFault {
		return
	}
	t.notices.Warn("frame dropped", from.host+" "+reason.name(), "peer", from.host, "reason", reason.name(),
		"group", f.GetGroup(), "from", f.GetFrom(), "to", f.GetTo())
}

// fault says what is wrong with a frame for this replica, if anything is.
func (g *Group) fault(from *caller, f *pb.PeerFrame) (dropReason, bool) {
	o := g.transport.options
	switch {
	case len(f.GetPayload()) > o.PayloadBytesMax:
		return dropOversized, true
	case checksum(f) != f.GetChecksum():
		return dropChecksum, true
	case !g.knows(from, f.GetFrom()):
		return dropNotMember, true
	case !o.Pass(g.local.Group, f.GetFrom(), g.local.Replica):
		return dropFault, true
	}
	return 0, false
}
