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
	"github.com/viewline/viewline/replication"
)

// headerBytesMax bounds a backend's description of a checkpoint.
const headerBytesMax = 64 << 10

// FetchCheckpoint asks a member for a checkpoint and returns its description and its chunks. They end with io.EOF only
// when the member has said that it has sent the last one, and every byte has arrived unchanged and in order; anything else
// is an error that is never io.EOF, ErrDamaged where bytes are altered or missing, and replication.ErrCheckpointGone where
// the one to be resumed is not there any more. The chunks must be closed, and end with ctx.
func (g *Group) FetchCheckpoint(ctx context.Context, from uint32, request replication.CheckpointRequest) (
	header []byte, chunks replication.ChunkReader, err error,
) {
	t, p := g.transport, g.way(from)
	if p == nil {
		return nil, nil, fmt.Errorf("%w: replica %d of group %d", ErrUnknownPeer, from, g.local.Group)
	}
	if !t.options.Pass(g.local.Group, g.local.Replica, from) {
		return nil, nil, ErrCut
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &chunkReader{group: g, from: from, cancel: cancel, first: request.First, next: request.First}
	r.stream, err = p.client.FetchCheckpoint(ctx, &pb.FetchCheckpointRequest{
		Version: Version, Cluster: t.options.Cluster[:], Group: g.local.Group, From: g.local.Replica, To: from,
		Op: uint64(request.AtLeast), Resume: request.Resume, First: request.First,
	})
	if err == nil {
		header, err = r.open()
	}
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("transport: checkpoint of group %d from replica %d: %w", g.local.Group, from, err)
	}
	return header, r, nil
}

// chunkReader reads a checkpoint as it arrives.
type chunkReader struct {
	group  *Group
	from   uint32
	cancel context.CancelFunc
	stream pb.PeerService_FetchCheckpointClient

	first    uint64                      // chunk that was asked for
	next     uint64                      // chunk that belongs here
	arrived  *pb.FetchCheckpointResponse // with the header, and not returned yet
	checksum uint32                      // of the header and every chunk so far
	err      error                       // what every further Next returns
}

// open takes the first message.
func (r *chunkReader) open() ([]byte, error) {
	message, err := r.receive()
	if err != nil {
		return nil, err
	}
	if message.GetGone() {
		return nil, replication.ErrCheckpointGone
	}
	r.arrived = message
	return message.GetHeader(), nil
}

// Next returns a chunk that has been verified.
func (r *chunkReader) Next() (replication.Chunk, error) {
	if r.err != nil {
		return replication.Chunk{}, r.err
	}
	message := r.arrived
	if r.arrived = nil; message == nil {
		message, r.err = r.receive()
	}
	switch {
	case r.err != nil:
	case message.GetLast() && len(message.GetChunk()) > 0:
		r.err = fmt.Errorf("%w: a chunk in the message that ends it", ErrDamaged)
	case message.GetLast():
		r.err = r.finish()
	case message.GetGone():
		r.err = replication.ErrCheckpointGone
	case message.GetIndex() != r.next:
		r.err = fmt.Errorf("%w: chunk %d where chunk %d belongs", ErrDamaged, message.GetIndex(), r.next)
	default:
		r.next++
		r.group.transport.counters.checkpointBytesFetched.Add(uint64(len(message.GetChunk())))
		return replication.Chunk{Index: message.GetIndex(), Checksum: message.GetChunkChecksum(), Data: message.GetChunk()}, nil
	}
	return replication.Chunk{}, r.err
}

// receive takes one message and verifies it.
func (r *chunkReader) receive() (*pb.FetchCheckpointResponse, error) {
	if !r.group.transport.options.Pass(r.group.local.Group, r.from, r.group.local.Replica) {
		return nil, ErrCut
	}
	message, err := r.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it ends before its last chunk", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	r.checksum = crc32.Update(r.checksum, castagnoli, message.GetHeader())
	r.checksum = crc32.Update(r.checksum, castagnoli, message.GetChunk())
	if r.checksum != message.GetChecksum() {
		return nil, fmt.Errorf("%w: checksum %08x, expected %08x", ErrDamaged, r.checksum, message.GetChecksum())
	}
	return message, nil
}

// finish makes sure that nothing follows the end, and returns io.EOF.
func (r *chunkReader) finish() error {
	if _, err := r.stream.Recv(); errors.Is(err, io.EOF) {
		if r.first == 0 {
			r.group.transport.counters.checkpointsFetched.Add(1)
		}
		return io.EOF
	} else if err != nil {
		return fmt.Errorf("transport: after the last chunk of a checkpoint: %w", err)
	}
	return fmt.Errorf("%w: it goes on after its last chunk", ErrDamaged)
}

// Close ends the transfer.
func (r *chunkReader) Close() error {
	r.cancel()
	return nil
}

// FetchCheckpoint sends a checkpoint of a local replica, as long as the member goes on taking it.
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

// serveCheckpoint opens a checkpoint and sends it. idle runs while a message is being sent.
func (t *Transport) serveCheckpoint(g *Group, request *pb.FetchCheckpointRequest, stream pb.PeerService_FetchCheckpointServer, idle *time.Timer) error {
	open := g.opener()
	if open == nil {
		return status.Error(codes.Unavailable, "replica serves no checkpoints now")
	}
	header, chunks, err := open(request.GetFrom(), replication.CheckpointRequest{
		AtLeast: replication.OpNumber(request.GetOp()), Resume: request.GetResume(), First: request.GetFirst(),
	})
	if errors.Is(err, replication.ErrCheckpointGone) {
		return stream.Send(&pb.FetchCheckpointResponse{Gone: true})
	} else if err != nil {
		return status.Errorf(codes.NotFound, "no checkpoint at op-number %d or above: %v", request.GetOp(), err)
	}
	defer func() { _ = chunks.Close() }() // it was only read: nothing can be lost
	if len(header) > headerBytesMax {
		return status.Errorf(codes.Internal, "a checkpoint's header of %d bytes", len(header))
	}
	return t.sendCheckpoint(stream, header, chunks, idle, request.GetFirst() == 0)
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
	if !g.hears(request.GetFrom()) {
		return nil, status.Errorf(codes.PermissionDenied, "replica %d is neither a member of group %d nor heard", request.GetFrom(), request.GetGroup())
	}
	if !t.options.Pass(request.GetGroup(), request.GetFrom(), request.GetTo()) {
		return nil, status.Error(codes.Unavailable, ErrCut.Error())
	}
	return g, nil
}

// sendCheckpoint sends chunks, each with the checksum of everything so far. whole: they are all that there are.
func (t *Transport) sendCheckpoint(
	stream pb.PeerService_FetchCheckpointServer, header []byte, chunks replication.ChunkReader, idle *time.Timer, whole bool,
) error {
	message := &pb.FetchCheckpointResponse{Header: header, Checksum: crc32.Checksum(header, castagnoli)}
	for !message.GetLast() && !message.GetGone() {
		if t.ctx.Err() != nil {
			return status.Error(codes.Unavailable, "node is closing")
		}
		chunk, err := chunks.Next()
		switch {
		case err == io.EOF: //nolint:errorlint // io.EOF itself is the end: a source that was found cut short says something else
			message.Last = true
		case errors.Is(err, replication.ErrCheckpointGone):
			message.Gone = true
		case err != nil:
			return status.Errorf(codes.DataLoss, "reading the checkpoint: %v", err)
		}
		message.Index, message.ChunkChecksum, message.Chunk = chunk.Index, chunk.Checksum, chunk.Data
		message.Checksum = crc32.Update(message.GetChecksum(), castagnoli, chunk.Data)
		idle.Reset(t.options.CheckpointTimeout)
		err = stream.Send(message)
		if idle.Stop(); err != nil {
			return err
		}
		t.counters.checkpointBytesSent.Add(uint64(len(chunk.Data)))
		message.Header = nil
	}
	if message.GetLast() && whole {
		t.counters.checkpointsSent.Add(1)
	}
	return nil
}
