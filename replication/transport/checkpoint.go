package transport

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

const (
	// chunkBytes is how much of a checkpoint travels in one message.
	chunkBytes = 256 << 10
	// headerBytesMax bounds a backend's description of a checkpoint.
	headerBytesMax = 64 << 10
	// emptyReadsMax is how often in a row a body may return neither bytes nor an error.
	emptyReadsMax = 100
)

// FetchCheckpoint asks a member for its newest checkpoint, of at least that op-number, and returns the
// description and the state. The body ends with io.EOF only when every byte that the member sent has arrived
// unchanged; anything else is an error that is never io.EOF, ErrDamaged where bytes are altered or missing.
// The body is read by one goroutine, must be closed, and ends with ctx.
func (g *Group) FetchCheckpoint(ctx context.Context, from uint32, atLeast uint64) (header []byte, body io.ReadCloser, err error) {
	t, p := g.transport, g.peers[from]
	if p == nil {
		return nil, nil, fmt.Errorf("%w: replica %d of group %d", ErrUnknownPeer, from, g.local.Group)
	}
	if !t.options.Pass(g.local.Group, g.local.Replica, from) {
		return nil, nil, ErrCut
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &checkpointBody{group: g, from: from, cancel: cancel}
	b.stream, err = p.client.FetchCheckpoint(ctx, &pb.FetchCheckpointRequest{
		Version: Version, Cluster: t.options.Cluster[:], Group: g.local.Group, From: g.local.Replica, To: from, Op: atLeast,
	})
	if err == nil {
		header, err = b.open()
	}
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("transport: checkpoint of group %d from replica %d: %w", g.local.Group, from, err)
	}
	return header, b, nil
}

// checkpointBody reads a checkpoint as it arrives.
type checkpointBody struct {
	group  *Group
	from   uint32
	cancel context.CancelFunc
	stream pb.PeerService_FetchCheckpointClient

	chunk    []byte // arrived and verified, not read yet
	checksum uint32 // of the header and every chunk so far
	last     bool   // the last chunk has arrived
	err      error  // what every further Read returns
}

// open takes the first message.
func (b *checkpointBody) open() ([]byte, error) {
	first, err := b.receive()
	if err != nil {
		return nil, err
	}
	return first.GetHeader(), nil
}

// Read returns bytes that have been verified.
func (b *checkpointBody) Read(into []byte) (int, error) {
	for len(b.chunk) == 0 && b.err == nil {
		if b.last {
			b.err = b.finish()
		} else if _, err := b.receive(); err != nil {
			b.err = err
		}
	}
	if len(b.chunk) == 0 {
		return 0, b.err
	}
	n := copy(into, b.chunk)
	b.chunk = b.chunk[n:]
	return n, nil
}

// receive takes one message and verifies it.
func (b *checkpointBody) receive() (*pb.FetchCheckpointResponse, error) {
	if !b.group.transport.options.Pass(b.group.local.Group, b.from, b.group.local.Replica) {
		return nil, ErrCut
	}
	message, err := b.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it ends before its last piece", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	b.checksum = crc32.Update(b.checksum, castagnoli, message.GetHeader())
	b.checksum = crc32.Update(b.checksum, castagnoli, message.GetChunk())
	if b.checksum != message.GetChecksum() {
		return nil, fmt.Errorf("%w: checksum %08x, expected %08x", ErrDamaged, b.checksum, message.GetChecksum())
	}
	b.chunk, b.last = message.GetChunk(), message.GetLast()
	b.group.transport.counters.checkpointBytesFetched.Add(uint64(len(b.chunk)))
	return message, nil
}

// finish makes sure that nothing follows the last piece, and returns io.EOF.
func (b *checkpointBody) finish() error {
	if _, err := b.stream.Recv(); errors.Is(err, io.EOF) {
		b.group.transport.counters.checkpointsFetched.Add(1)
		return io.EOF
	} else if err != nil {
		return fmt.Errorf("transport: after the last piece of a checkpoint: %w", err)
	}
	return fmt.Errorf("%w: it goes on after its last piece", ErrDamaged)
}

// Close ends the transfer.
func (b *checkpointBody) Close() error {
	b.cancel()
	return nil
}

// FetchCheckpoint sends the newest checkpoint of a local replica, as long as the member goes on taking it.
func (s *server) FetchCheckpoint(request *pb.FetchCheckpointRequest, stream pb.PeerService_FetchCheckpointServer) error {
	t := s.transport
	g, err := t.checkpointSource(request)
	if err != nil {
		return err
	}
	select {
	case t.checkpoints <- struct{}{}:
	default:
		return status.Error(codes.ResourceExhausted, "too many checkpoints are being sent")
	}
	// A Send ends only with the stream, and the stream with this method: so that a member which takes nothing,
	// though it answers pings, gives its place back, they are two goroutines.
	stalled, stall := context.WithCancel(context.Background())
	defer stall()
	idle := time.AfterFunc(t.options.CheckpointTimeout, stall)
	idle.Stop()
	ended := make(chan error, 1)
	if !t.start(func() {
		defer func() { <-t.checkpoints }()
		ended <- t.serveCheckpoint(g, request, stream, idle)
	}) {
		<-t.checkpoints
		return status.Error(codes.Unavailable, "node is closing")
	}
	select {
	case err := <-ended:
		return err
	case <-stalled.Done():
		t.notices.warn("a member does not take its checkpoint", "group", request.GetGroup(), "replica", request.GetFrom())
		return status.Errorf(codes.DeadlineExceeded, "no piece of the checkpoint was taken for %v", t.options.CheckpointTimeout)
	case <-t.ctx.Done():
		return status.Error(codes.Unavailable, "node is closing")
	}
}

// serveCheckpoint opens a checkpoint and sends it. idle runs while a piece is being sent.
func (t *Transport) serveCheckpoint(g *Group, request *pb.FetchCheckpointRequest, stream pb.PeerService_FetchCheckpointServer, idle *time.Timer) error {
	open := g.opener()
	if open == nil {
		return status.Error(codes.Unavailable, "replica serves no checkpoints now")
	}
	header, body, err := open(request.GetFrom(), request.GetOp())
	if err != nil {
		return status.Errorf(codes.NotFound, "no checkpoint at op-number %d or above: %v", request.GetOp(), err)
	}
	defer func() { _ = body.Close() }() // it was only read: nothing can be lost
	if len(header) > headerBytesMax {
		return status.Errorf(codes.Internal, "a checkpoint's header of %d bytes", len(header))
	}
	return t.sendCheckpoint(stream, header, body, idle)
}

// checkpointSource checks a request and returns the local replica that it is for.
func (t *Transport) checkpointSource(request *pb.FetchCheckpointRequest) (*Group, error) {
	if request.GetVersion() != Version {
		return nil, status.Errorf(codes.FailedPrecondition, "wire version %d is not spoken here, only %d", request.GetVersion(), Version)
	}
	if string(request.GetCluster()) != string(t.options.Cluster[:]) {
		return nil, status.Errorf(codes.FailedPrecondition, "this is cluster %x", t.options.Cluster)
	}
	g := t.registry.Load().groups[key{request.GetGroup(), request.GetTo()}]
	if g == nil {
		return nil, status.Errorf(codes.NotFound, "replica %d of group %d is not here", request.GetTo(), request.GetGroup())
	}
	if g.peers[request.GetFrom()] == nil {
		return nil, status.Errorf(codes.PermissionDenied, "replica %d is not a member of group %d", request.GetFrom(), request.GetGroup())
	}
	if !t.options.Pass(request.GetGroup(), request.GetFrom(), request.GetTo()) {
		return nil, status.Error(codes.Unavailable, ErrCut.Error())
	}
	return g, nil
}

// sendCheckpoint sends a body in pieces, each with the checksum of everything so far.
func (t *Transport) sendCheckpoint(stream pb.PeerService_FetchCheckpointServer, header []byte, body io.Reader, idle *time.Timer) error {
	message := &pb.FetchCheckpointResponse{Header: header, Checksum: crc32.Checksum(header, castagnoli)}
	chunk := make([]byte, chunkBytes)
	for !message.GetLast() {
		if t.ctx.Err() != nil {
			return status.Error(codes.Unavailable, "node is closing")
		}
		n, last, err := fill(chunk, body)
		if err != nil {
			return status.Errorf(codes.DataLoss, "reading the checkpoint: %v", err)
		}
		message.Chunk, message.Last = chunk[:n], last
		message.Checksum = crc32.Update(message.GetChecksum(), castagnoli, chunk[:n])
		idle.Reset(t.options.CheckpointTimeout)
		err = stream.Send(message)
		if idle.Stop(); err != nil {
			return err
		}
		t.counters.checkpointBytesSent.Add(uint64(n))
		message.Header = nil
	}
	t.counters.checkpointsSent.Add(1)
	return nil
}

// fill reads until the chunk is full or the body ends. Only io.EOF itself is the end: io.ReadFull would take a
// body that was found cut short, which says io.ErrUnexpectedEOF, for a complete one.
func fill(chunk []byte, body io.Reader) (n int, last bool, err error) {
	for empty := 0; n < len(chunk); {
		read, err := body.Read(chunk[n:])
		n += read
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if empty++; read > 0 {
			empty = 0
		} else if empty == emptyReadsMax {
			return n, false, io.ErrNoProgress
		}
	}
	return n, false, nil
}
