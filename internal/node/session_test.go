package node_test

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

func TestRequestsComeInOrderAndAnswersInAny(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(10), bound(11))
	c.send(bound(12), bound(13))
	requests := h.handler.take(4)
	for i, r := range requests {
		require.EqualValues(t, 10+i, r.request.GetId())
		require.True(t, r.deadline.IsZero())
	}
	for _, i := range []int{2, 0, 3, 1} {
		requests[i].respond(boundAnswer(uint64(i)))
		response := c.next()
		require.EqualValues(t, 10+i, response.GetId())
		require.EqualValues(t, i, response.GetBound().GetBound())
	}
}

// TestTheFirstFrameSaysWhoAnswers: it comes at once, so that a client which waits for it writes nothing to a
// stranger; and it is the only one that does.
func TestTheFirstFrameSaysWhoAnswers(t *testing.T) {
	h := start(t, nil)
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	c := h.session(t)
	for i := range uint64(3) {
		c.send(bound(i))
		message, err := c.Recv()
		require.NoError(t, err)
		require.Len(t, message.GetResponses(), 1)
		require.Zero(t, message.GetVersion())
		require.Empty(t, message.GetCluster())
	}
}

func TestTheRemainingTimeBecomesADeadline(t *testing.T) {
	h := start(t, nil)
	request := bound(1)
	request.RemainingMillis = 60_000
	before := time.Now()
	h.session(t).send(request)
	deadline := h.handler.take(1)[0].deadline
	require.False(t, deadline.Before(before.Add(time.Minute)))
	require.False(t, deadline.After(time.Now().Add(time.Minute)))
}

func TestAnIDMayBeUsedAgainOnceItIsAnswered(t *testing.T) {
	h := start(t, nil)
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	c := h.session(t)
	for range 1000 {
		c.send(bound(7))
		require.NotNil(t, c.next().GetBound())
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(&pb.Request{Id: 1, Group: 5})
	require.Equal(t, pb.Code_CODE_INVALID_ARGUMENT, c.refused(1))
	unknown := bound(2)
	unknown.Group = 6
	c.send(unknown)
	require.Equal(t, pb.Code_CODE_UNKNOWN_GROUP, c.refused(2))
	c.send(bound(3), bound(3))
	require.Equal(t, pb.Code_CODE_INVALID_ARGUMENT, c.refused(3))
	h.handler.take(1)[0].respond(boundAnswer(1))
	require.NotNil(t, c.next().GetBound(), "the first of the two is answered all the same")
	require.EqualValues(t, 2, h.counter("refused_invalid_argument"))
	require.EqualValues(t, 1, h.counter("refused_unknown_group"))
}

func TestTooManyUnansweredRequests(t *testing.T) {
	h := start(t, func(o *node.Options) { o.RequestsMax = 4 })
	c := h.session(t)
	for i := range uint64(6) {
		c.send(bound(i))
	}
	require.Equal(t, pb.Code_CODE_OVERLOADED, c.refused(4))
	require.Equal(t, pb.Code_CODE_OVERLOADED, c.refused(5))
	requests := h.handler.take(4)
	requests[2].respond(boundAnswer(2))
	require.EqualValues(t, 2, c.next().GetId())
	c.send(bound(8))
	require.EqualValues(t, 8, h.handler.take(1)[0].request.GetId(), "there is room again")
}

// TestAClientThatOnlySends is not read any further once so many answers wait, and costs nobody else anything.
func TestAClientThatOnlySends(t *testing.T) {
	h := start(t, func(o *node.Options) { o.RequestsMax = 4 })
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := pb.NewSessionServiceClient(connect(t, h.Addr())).Session(ctx)
	require.NoError(t, err)
	require.NoError(t, stream.Send(&pb.SessionRequest{Version: 1}))
	var sent atomic.Uint64
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		frame := &pb.SessionRequest{}
		for i := range uint64(10_000) {
			frame.Requests = append(frame.Requests, bound(i))
		}
		for stream.Send(frame) == nil {
			sent.Add(uint64(len(frame.Requests)))
		}
	}()
	h.handler.take(4)
	last := uint64(0)
	require.Eventually(t, func() bool {
		before := last
		last = sent.Load()
		return last > 0 && last == before
	}, patience, 100*time.Millisecond, "the client is never stopped")
	require.Less(t, h.counter("refused_overloaded"), last)
	other := h.session(t)
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	other.send(bound(1))
	require.NotNil(t, other.next().GetBound())
	select {
	case <-stopped:
		require.Fail(t, "the session was ended")
	default:
	}
	cancel()
	<-stopped
}

func TestARespondCountsOnce(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(1))
	request := h.handler.take(1)[0]
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() { request.respond(boundAnswer(uint64(i))) })
	}
	all.Wait()
	require.EqualValues(t, 1, c.next().GetId())
	require.EqualValues(t, 15, h.counter("answers_repeated"))
	c.send(bound(2))
	h.handler.take(1)[0].respond(boundAnswer(2))
	require.EqualValues(t, 2, c.next().GetId(), "no second answer came")
}

func TestAHandlerWithoutAnAnswer(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	for i, response := range []*pb.Response{nil, {}} {
		c.send(bound(uint64(i)))
		h.handler.take(1)[0].respond(response)
		require.Equal(t, pb.Code_CODE_INTERNAL, c.refused(uint64(i)))
	}
}

func TestAnswersToADeadSessionAreDropped(t *testing.T) {
	h := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := pb.NewSessionServiceClient(connect(t, h.Addr())).Session(ctx)
	require.NoError(t, err)
	require.NoError(t, stream.Send(&pb.SessionRequest{Version: 1, Requests: []*pb.Request{bound(1), bound(2)}}))
	requests := h.handler.take(2)
	cancel()
	require.Eventually(t, func() bool { return h.counter("sessions_open") == 0 }, patience, time.Millisecond)
	requests[0].respond(boundAnswer(1))
	requests[1].respond(boundAnswer(1))
	require.EqualValues(t, 2, h.counter("answers_lost"))
}

func TestAClientThatHasSentItsLastRequestStillGetsItsAnswers(t *testing.T) {
	h := start(t, nil)
	c := h.session(t)
	c.send(bound(1))
	require.NoError(t, c.CloseSend())
	h.handler.take(1)[0].respond(boundAnswer(1))
	require.EqualValues(t, 1, c.next().GetId())
	_, err := c.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestSessionsOfOthersAreRefused(t *testing.T) {
	h := start(t, nil)
	other := [16]byte{2}
	for _, test := range []struct {
		name  string
		first *pb.SessionRequest
		code  pb.Code
	}{
		{"version", &pb.SessionRequest{Version: 2}, pb.Code_CODE_VERSION},
		{"no version", &pb.SessionRequest{Cluster: clusterOne[:]}, pb.Code_CODE_VERSION},
		{"cluster", &pb.SessionRequest{Version: 1, Cluster: other[:]}, pb.Code_CODE_WRONG_CLUSTER},
		{"a short cluster", &pb.SessionRequest{Version: 1, Cluster: clusterOne[:15]}, pb.Code_CODE_WRONG_CLUSTER},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := h.bare(t)
			test.first.Requests = []*pb.Request{bound(1), bound(2)}
			require.NoError(t, c.Send(test.first))
			c.greeted()
			require.Equal(t, test.code, c.refused(1))
			require.Equal(t, test.code, c.refused(2))
			_, err := c.Recv()
			require.Equal(t, codes.FailedPrecondition, status.Code(err))
		})
	}
	require.Empty(t, h.handler.kept, "nothing was handed on")
}

func TestAClientThatDoesNotKnowTheClusterYet(t *testing.T) {
	h := start(t, nil)
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	c := h.bare(t)
	require.NoError(t, c.Send(&pb.SessionRequest{Version: 1, Requests: []*pb.Request{bound(1)}}))
	c.greeted()
	require.EqualValues(t, 1, c.next().GetId())
}

// TestSessionsThatSayNothing do not keep the places of others.
func TestSessionsThatSayNothing(t *testing.T) {
	h := start(t, func(o *node.Options) { o.SessionsMax = 2; o.HandshakeTimeout = 50 * time.Millisecond })
	h.handler.answer(func(*pb.Request) *pb.Response { return boundAnswer(1) })
	c, mute := h.session(t), h.bare(t)
	_, err := mute.Recv()
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.Eventually(t, func() bool { return h.counter("sessions_open") == 1 }, patience, time.Millisecond)
	other := h.session(t)
	for _, greeted := range []*client{c, other} {
		greeted.send(bound(1)) // though nothing was asked for longer than that
		require.EqualValues(t, 1, greeted.next().GetId())
	}
}

func TestTooManySessions(t *testing.T) {
	h := start(t, func(o *node.Options) { o.SessionsMax = 1 })
	c := h.session(t)
	c.send(bound(1))
	h.handler.take(1)
	_, err := h.bare(t).Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
}

func TestARefusalGetsThePrimarysAddress(t *testing.T) {
	h := start(t, nil)
	refusal := &pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, View: 3} // one that the handler uses again
	h.handler.answer(func(*pb.Request) *pb.Response { return &pb.Response{Body: &pb.Response_Error{Error: refusal}} })
	c := h.session(t)
	for primary, address := range map[replication.ReplicaID]string{0: "", 1: "", 2: "other:1", 3: ""} {
		h.replicator.set(replication.Status{Primary: primary})
		c.send(bound(1))
		response := c.next().GetError()
		require.Equal(t, address, response.GetPrimaryAddress(), "primary %d", primary)
		require.EqualValues(t, 3, response.GetView())
	}
	require.Empty(t, refusal.GetPrimaryAddress())
}
