package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/internal/frame"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

const (
	// flushBytesMax keeps one large burst of answers from delaying what comes behind it; a larger one goes alone.
	flushBytesMax = 1 << 20
	// creditBytes is what gRPC takes of a stream before it has sent anything of it. It takes a message as long as
	// any of this is left, however long the message is.
	creditBytes = 64 << 10
)

// sessionServer is the SessionService of a node.
type sessionServer struct {
	pb.UnimplementedSessionServiceServer
	node *Node
}

// session is one client's stream. One goroutine reads it and hands requests on, the writer's goroutine writes
// the answers, and gRPC's own waits for the end.
type session struct {
	node   *Node
	stream pb.SessionService_SessionServer
	writer *frame.Writer[*pb.Response]
	// over is closed when the handler is about to return: nobody waits for the session any more.
	over chan struct{}
	// cut is closed when answers do not fit into what may wait, or are not taken for too long.
	cut     chan struct{}
	cutOnce sync.Once
	// late cuts the session off; it runs while a frame is being sent.
	late *time.Timer

	mu      sync.Mutex
	pending map[uint64]struct{} // ids that are not answered; guarded by mu. Invariant: at most RequestsMax.
	owed    int                 // requests whose answer is not on the stream; guarded by mu. Invariant: at most answersMax.
	held    [kinds]int          // bytes of answers that are not; guarded by mu. Invariant: together at most AnswerBytesMax.
	room    chan struct{}       // closed when owed falls; nil when nobody waits; guarded by mu
	idle    chan struct{}       // closed when pending gets empty; nil when nobody waits; guarded by mu
}

// Session serves one client's stream until either side ends it.
func (s *sessionServer) Session(stream pb.SessionService_SessionServer) error {
	c, err := s.node.openSession(stream)
	if err != nil {
		return err
	}
	defer s.node.closeSession(c)
	// A stream's Recv only ends with the stream, and the stream with this method: so that a node that closes
	// can end both, they are two goroutines.
	ended := make(chan error, 2)
	// Whoever opens sessions and says nothing must not take the places of those who have something to say.
	mute := time.AfterFunc(s.node.options.HandshakeTimeout, func() {
		ended <- status.Error(codes.DeadlineExceeded, "no first frame came")
	})
	defer mute.Stop()
	if !s.node.start(func() { ended <- c.receive(mute) }) {
		return errClosing()
	}
	return c.wait(ended)
}

func errClosing() error { return status.Error(codes.Unavailable, "node is closing") }

func (n *Node) openSession(stream pb.SessionService_SessionServer) (*session, error) {
	s := &session{
		node: n, stream: stream, over: make(chan struct{}), cut: make(chan struct{}), pending: map[uint64]struct{}{},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errClosing()
	}
	if len(n.sessions) >= n.options.SessionsMax {
		return nil, status.Errorf(codes.ResourceExhausted, "%d sessions are open, no more are taken", len(n.sessions))
	}
	n.sessions[s] = struct{}{}
	n.counters.sessions.Add(1)
	s.late = time.AfterFunc(n.options.AnswerTimeout, s.cutOff)
	s.late.Stop()
	s.writer = frame.NewWriter(frame.Options[*pb.Response]{
		ItemsMax: n.options.answersMax(), BytesMax: n.options.AnswerBytesMax, FlushBytesMax: flushBytesMax, Size: responseBytes,
	}, s.flush)
	return s, nil
}

// closeSession lets the client take what waits for it, and takes the session off the node. The writer of one that
// was cut is stuck in a stream that nobody reads until the handler, which called this, has returned: another
// goroutine waits for it.
func (n *Node) closeSession(s *session) {
	n.running.Go(s.end)
	select {
	case <-s.writer.Done():
	case <-s.cut:
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sessions, s)
}

// end gives back what the session holds when nothing is written any more.
func (s *session) end() {
	s.writer.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, bytes := range s.held {
		s.node.answers[k].give(bytes)
	}
	s.held = [kinds]int{}
}

// wait returns when the session is over, with the status that the client gets.
func (s *session) wait(ended <-chan error) error {
	var err error
	select {
	case err = <-ended:
	case <-s.writer.Done():
		err = s.writer.Err()
	case <-s.cut:
		err = status.Error(codes.ResourceExhausted, "answers are not taken")
	case <-s.node.stopping:
		err = errClosing()
	}
	if err == nil {
		err = s.finish()
	}
	close(s.over)
	return err
}

// finish waits, once the client has sent its last request, until everything is answered.
func (s *session) finish() error {
	select {
	case <-s.settled():
		return nil
	case <-s.writer.Done():
		return s.writer.Err()
	case <-s.cut:
		return status.Error(codes.ResourceExhausted, "answers are not taken")
	case <-s.node.stopping:
		return errClosing()
	}
}

// settled returns a channel that is closed when no request is without an answer.
func (s *session) settled() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.signalIdle()
	return idle
}

// signalIdle closes idle if nothing is pending; the caller holds the lock.
func (s *session) signalIdle() {
	if s.idle != nil && len(s.pending) == 0 {
		close(s.idle)
		s.idle = nil
	}
}

// receive handles the client's frames in order, and stops the timer when the first is there. It returns nil when
// the client has sent its last.
func (s *session) receive(mute *time.Timer) error {
	for first := true; ; first = false {
		message, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.node.counters.frames.Add(1)
		if first {
			mute.Stop()
			if err := s.greet(message); err != nil {
				return err
			}
		}
		s.handle(message.GetRequests())
	}
}

// greet says who answers, before anything else is written, and refuses a client that meant somebody else.
func (s *session) greet(first *pb.SessionRequest) error {
	if err := s.stream.Send(&pb.SessionResponse{Version: SessionVersion, Cluster: s.node.options.Cluster[:]}); err != nil {
		return err
	}
	bad := s.node.checkHandshake(first)
	if bad == nil {
		return nil
	}
	for _, request := range first.GetRequests() {
		s.refuse(request.GetId(), bad)
	}
	return status.Error(codes.FailedPrecondition, bad.GetMessage())
}

// checkHandshake returns why a session that opens with this frame is refused, or nil.
func (n *Node) checkHandshake(first *pb.SessionRequest) *pb.Error {
	if version := first.GetVersion(); version != SessionVersion {
		return &pb.Error{
			Code:    pb.Code_CODE_VERSION,
			Message: fmt.Sprintf("session version %d is not spoken here, only %d", version, SessionVersion),
		}
	}
	if id := first.GetCluster(); len(id) > 0 && string(id) != string(n.options.Cluster[:]) {
		return &pb.Error{
			Code:    pb.Code_CODE_WRONG_CLUSTER,
			Message: "this is cluster " + hex.EncodeToString(n.options.Cluster[:]),
		}
	}
	return nil
}

// handle hands the requests of a frame on, in order, or refuses them.
func (s *session) handle(requests []*pb.Request) {
	now := time.Now()
	// One allocation for the calls of a frame; it never grows, because calls are pointed to.
	calls := make([]call, 0, min(len(requests), s.node.options.RequestsMax))
	for _, request := range requests {
		host := s.admit(request)
		if host == nil {
			continue
		}
		if len(calls) == cap(calls) {
			calls = make([]call, 0, s.node.options.RequestsMax)
		}
		calls = append(calls, call{session: s, host: host, id: request.GetId()})
		var deadline time.Time
		if millis := request.GetRemainingMillis(); millis > 0 {
			deadline = now.Add(time.Duration(millis) * time.Millisecond)
		}
		s.node.counters.requests.Add(1)
		host.Handler.Handle(request, deadline, calls[len(calls)-1].respond)
	}
}

// admit enters a request among the pending ones and returns who handles it, or refuses it and returns nil.
func (s *session) admit(request *pb.Request) *Replica {
	host := s.node.replica(request.GetGroup())
	s.lockWithRoom()
	defer s.mu.Unlock()
	s.owed++
	if why := s.fault(request, host); why != nil {
		s.putRefusal(request.GetId(), why)
		return nil
	}
	s.pending[request.GetId()] = struct{}{}
	return host
}

// fault returns why a request is refused, or nil; the caller holds the lock.
func (s *session) fault(request *pb.Request, host *Replica) *pb.Error {
	_, repeated := s.pending[request.GetId()]
	most := s.node.options.RequestsMax
	switch {
	case repeated:
		return &pb.Error{Code: pb.Code_CODE_INVALID_ARGUMENT, Message: "a request with that id is not answered yet"}
	case request.GetBody() == nil:
		return &pb.Error{Code: pb.Code_CODE_INVALID_ARGUMENT, Message: "the request has no body that is known here"}
	case s.node.draining.Load():
		return &pb.Error{Code: pb.Code_CODE_UNAVAILABLE, Message: "node is closing"}
	case host == nil:
		return &pb.Error{Code: pb.Code_CODE_UNKNOWN_GROUP, Message: fmt.Sprintf("group %d is not here", request.GetGroup())}
	case len(s.pending) >= most:
		return &pb.Error{
			Code: pb.Code_CODE_OVERLOADED, Message: "too many unanswered requests on one session",
			LimitName: "requests_in_flight", Limit: uint64(most), Actual: uint64(len(s.pending)) + 1,
		}
	}
	return nil
}

// lockWithRoom takes the lock when one more answer may wait. It stops the reading of a client that sends and
// does not read; when the session is over it takes the lock at once.
func (s *session) lockWithRoom() {
	s.mu.Lock()
	for s.owed >= s.node.options.answersMax() {
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
			s.mu.Lock()
		case <-s.over:
			s.mu.Lock()
			return
		}
	}
}

// refuse answers a request that is not looked at.
func (s *session) refuse(id uint64, why *pb.Error) {
	s.lockWithRoom()
	defer s.mu.Unlock()
	s.owed++
	s.putRefusal(id, why)
}

// putRefusal queues a refusal; the caller holds the lock and has counted it as owed.
func (s *session) putRefusal(id uint64, why *pb.Error) {
	s.node.counters.refuse(why.GetCode())
	s.put(&pb.Response{Id: id, Body: &pb.Response_Error{Error: why}})
}

// flush writes answers as one frame, and returns when they are on their way: what is counted as held is all that
// there is. The second, empty frame is taken when nearly all of the first has left.
func (s *session) flush(responses []*pb.Response) error {
	var sent [kinds]int
	for _, response := range responses {
		sent[kindOf(response)] += responseBytes(response)
	}
	bytes := sent[values] + sent[verdicts]
	s.late.Reset(s.node.options.AnswerTimeout * time.Duration(1+bytes>>20))
	defer s.late.Stop()
	if err := s.stream.Send(&pb.SessionResponse{Responses: responses}); err != nil {
		return err
	}
	if bytes > creditBytes {
		if err := s.stream.Send(&pb.SessionResponse{}); err != nil {
			return err
		}
	}
	s.node.counters.framesSent.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, bytes := range sent {
		s.node.answers[k].give(bytes)
		s.held[k] -= bytes
	}
	s.owed -= len(responses)
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	return nil
}
