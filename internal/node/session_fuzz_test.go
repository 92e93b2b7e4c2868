package node

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// scripted is a session's stream that brings given frames and keeps the answers. What it has not is not called.
type scripted struct {
	grpc.ServerStream
	frames  []*pb.SessionRequest
	answers []*pb.Response
}

func (*scripted) Context() context.Context { return context.Background() }

func (s *scripted) Recv() (*pb.SessionRequest, error) {
	if len(s.frames) == 0 {
		return nil, io.EOF
	}
	next := s.frames[0]
	s.frames = s.frames[1:]
	return next, nil
}

func (s *scripted) Send(frame *pb.SessionResponse) error {
	s.answers = append(s.answers, frame.GetResponses()...)
	return nil
}

// atOnce answers every request, and no response at all to those whose id is odd.
type atOnce struct{ replication.Replicator }

func (atOnce) Status() replication.Status       { return replication.Status{} }
func (atOnce) Describe(*pb.ReplicaStatus, bool) {}
func (atOnce) Handle(r *pb.Request, _ time.Time, respond func(*pb.Response)) {
	if r.GetId()%2 == 1 {
		respond(nil)
		return
	}
	respond(&pb.Response{Body: &pb.Response_Bound{Bound: &pb.BoundResponse{}}})
}

// FuzzSession takes any bytes for a client's first frame, and the same again for its second: nothing panics or
// hangs, and every request has exactly one answer, under its own id.
func FuzzSession(f *testing.F) {
	n, err := Open(Options{Listen: "127.0.0.1:0", Cluster: [16]byte{1}, RequestsMax: 4})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, n.Close()) })
	require.NoError(f, n.AddReplica(Replica{Group: 5, Replica: 1, Handler: atOnce{}, Replicator: atOnce{}}))
	request := &pb.Request{Id: 1, Group: 5, Body: &pb.Request_Bound{Bound: &pb.BoundRequest{}}}
	for _, frame := range []*pb.SessionRequest{
		{Version: SessionVersion, Requests: []*pb.Request{request, request, {Id: 2, Group: 5}, {Id: 3, Group: 6, Body: request.GetBody()}}},
		{Version: SessionVersion, Cluster: []byte{1}, Requests: []*pb.Request{request}},
		{Version: SessionVersion + 1, Requests: []*pb.Request{request, request}},
		{},
	} {
		seed, err := proto.Marshal(frame)
		require.NoError(f, err)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, second := &pb.SessionRequest{}, &pb.SessionRequest{}
		if proto.Unmarshal(data, first) != nil || proto.Unmarshal(data, second) != nil {
			return
		}
		stream := &scripted{frames: []*pb.SessionRequest{first, second}}
		owed := map[uint64]int{}
		taken := []*pb.SessionRequest{first, second}
		if n.checkHandshake(first) != nil {
			taken = taken[:1]
		}
		for _, frame := range taken {
			for _, request := range frame.GetRequests() {
				owed[request.GetId()]++
			}
		}
		err := (&sessionServer{node: n}).Session(stream)
		require.Equal(t, len(taken) == 1, err != nil)
		for _, answer := range stream.answers {
			require.NotNil(t, answer.GetBody())
			if owed[answer.GetId()]--; owed[answer.GetId()] == 0 {
				delete(owed, answer.GetId())
			}
		}
		require.Empty(t, owed)
	})
}
