package transport

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
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

// senders is who may speak on a stream, with their incarnations.
type senders map[key]uint64

// refusal is why a stream is refused; the peer gets the text.
type refusal string

// Error is the text that the peer gets.
func (r refusal) Error() string { return string(r) }

// Exchange receives one peer's frames until either side ends the stream.
func (s *server) Exchange(stream pb.PeerService_ExchangeServer) error {
	t := s.transport
	select {
	case t.streams <- struct{}{}:
		defer func() { <-t.streams }()
	default:
		return status.Error(codes.ResourceExhausted, "too many streams of frames")
	}
	// A stream's Recv only ends with the stream, and the stream with this method: so that Close ends both, they
	// are two goroutines.
	ended := make(chan error, 2)
	// Whoever opens streams and says nothing must not take the places of those who have something to say.
	mute := time.AfterFunc(t.options.HandshakeTimeout, func() { ended <- refusal("no handshake came") })
	defer mute.Stop()
	if !t.start(func() { ended <- t.receive(stream, mute) }) {
		return status.Error(codes.Unavailable, "node is closing")
	}
	select {
	case <-t.ctx.Done():
		return status.Error(codes.Unavailable, "node is closing")
	case err := <-ended:
		var refused refusal
		if errors.As(err, &refused) {
			return t.refuse(stream, refused)
		}
		return err
	}
}

// refuse tells the peer why its stream ends.
func (t *Transport) refuse(stream pb.PeerService_ExchangeServer, why refusal) error {
	t.counters.refusedHere.Add(1)
	t.notices.warn("peer refused", "reason", why.Error())
	return stream.Send(&pb.ExchangeResponse{Refused: why.Error()})
}

// receive handles a stream's messages, and stops the timer when it knows who speaks. It returns nil when the peer
// ended the stream in order.
func (t *Transport) receive(stream pb.PeerService_ExchangeServer, mute *time.Timer) error {
	var known senders
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if known == nil {
			if known, err = t.admit(request.GetHello()); err != nil {
				return err
			}
			mute.Stop()
			// The header tells the peer's gRPC that the stream is served: it keeps nothing for a retry any more.
			if err := stream.SendHeader(metadata.MD{}); err != nil {
				return err
			}
		} else if request.GetHello() != nil {
			return refusal("a second handshake on one stream")
		}
		t.counters.messagesReceived.Add(1)
		for _, f := range request.GetFrames() {
			t.deliver(known, f)
		}
	}
}

// admit checks a handshake and returns who may speak, or a refusal.
func (t *Transport) admit(hello *pb.PeerHello) (senders, error) {
	switch {
	case hello == nil:
		return nil, refusal("the first message carries no handshake")
	case hello.GetVersion() != Version:
		return nil, refusal(fmt.Sprintf("wire version %d is not spoken here, only %d", hello.GetVersion(), Version))
	case string(hello.GetCluster()) != string(t.options.Cluster[:]):
		return nil, refusal(fmt.Sprintf("this is cluster %x, not %.32x", t.options.Cluster, hello.GetCluster()))
	case len(hello.GetReplicas()) > helloReplicasMax:
		return nil, refusal(fmt.Sprintf("%d replicas in a handshake, at most %d", len(hello.GetReplicas()), helloReplicasMax))
	}
	known := make(senders, len(hello.GetReplicas()))
	for _, replica := range hello.GetReplicas() {
		known[key{replica.GetGroup(), replica.GetReplica()}] = replica.GetIncarnation()
	}
	return known, nil
}

// deliver hands a frame to its receiver, or drops and counts it.
func (t *Transport) deliver(known senders, f *pb.PeerFrame) {
	incarnation, named := known[key{f.GetGroup(), f.GetFrom()}]
	if !named || incarnation != f.GetIncarnation() {
		t.counters.drop(dropUnknownSender, 1)
		return
	}
	g := t.registry.Load().groups[key{f.GetGroup(), f.GetTo()}]
	if g == nil {
		t.counters.drop(dropUnknownReceiver, 1)
		return
	}
	if reason, bad := g.fault(f); bad {
		t.counters.drop(reason, 1)
		if reason == dropChecksum {
			t.notices.warn("a frame arrived altered", "group", f.GetGroup(), "from", f.GetFrom())
		}
		return
	}
	if !g.deliver(f.GetFrom(), f.GetPayload()) {
		t.counters.drop(dropUnknownReceiver, 1)
		return
	}
	t.counters.framesReceived.Add(1)
	t.counters.bytesReceived.Add(uint64(len(f.GetPayload())))
}

// fault says what is wrong with a frame for this replica, if anything is.
func (g *Group) fault(f *pb.PeerFrame) (dropReason, bool) {
	o := g.transport.options
	switch {
	case g.peers[f.GetFrom()] == nil:
		return dropNotMember, true
	case len(f.GetPayload()) > o.PayloadBytesMax:
		return dropOversized, true
	case checksum(f) != f.GetChecksum():
		return dropChecksum, true
	case !o.Pass(g.local.Group, f.GetFrom(), g.local.Replica):
		return dropFault, true
	}
	return 0, false
}
