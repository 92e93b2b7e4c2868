package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

// state returns bytes in which every piece differs from every other.
func state(size int) []byte {
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return bytes
}

// pieces are a body's chunks. They count their closings.
type pieces struct {
	body   io.Reader
	next   uint64
	closed *atomic.Int32
}

func (p *pieces) Next() (replication.Chunk, error) {
	data := make([]byte, 256<<10)
	n, err := io.ReadFull(p.body, data)
	if err != nil && n == 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return replication.Chunk{}, err
	}
	p.next++
	return replication.Chunk{Index: p.next - 1, Checksum: uint32(p.next) * 7, Data: data[:n]}, nil
}

func (p *pieces) Close() error {
	if p.closed != nil {
		p.closed.Add(1)
	}
	return nil
}

// serve is an opener of a body.
func serve(header string, body func() io.Reader) transport.OpenCheckpoint {
	return func(uint32, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return []byte(header), &pieces{body: body()}, nil
	}
}

// readAll is all that chunks have.
func readAll(chunks replication.ChunkReader) (all []byte, err error) {
	for {
		chunk, err := chunks.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, chunk.Data...)
	}
}

var newest = replication.CheckpointRequest{}

func TestCheckpointsArriveWhole(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	for _, size := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3 << 20} {
		var closed atomic.Int32
		request := replication.CheckpointRequest{AtLeast: 77}
		two.ServeCheckpoints(func(from uint32, asked replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
			require.EqualValues(t, 1, from)
			require.Equal(t, request, asked)
			return []byte("header"), &pieces{body: bytes.NewReader(state(size)), closed: &closed}, nil
		})
		header, chunks, err := one.FetchCheckpoint(t.Context(), 2, request)
		require.NoError(t, err)
		require.Equal(t, "header", string(header))
		read, err := readAll(chunks)
		require.NoError(t, err)
		require.True(t, bytes.Equal(state(size), read), "%d bytes", size)
		_, err = chunks.Next()
		require.ErrorIs(t, err, io.EOF, "and again")
		require.NoError(t, chunks.Close())
		eventually(t, func() bool { return closed.Load() == 1 }, "the source is closed")
	}
	require.EqualValues(t, 6, a.Counters()["checkpoints_fetched"])
	require.EqualValues(t, 6, b.Counters()["checkpoints_sent"])
	require.Equal(t, a.Counters()["checkpoint_bytes_fetched"], b.Counters()["checkpoint_bytes_sent"])
}

// TestCheckpointsAreGoneOnWith from the chunk that is asked for, and say so when they are gone, at once or on the way.
func TestCheckpointsAreGoneOnWith(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	request := replication.CheckpointRequest{Resume: []byte("that one"), First: 3}
	gone := replication.ErrCheckpointGone
	two.ServeCheckpoints(func(_ uint32, asked replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		if asked.First == 0 {
			return nil, nil, fmt.Errorf("of operation 5: %w", gone)
		}
		require.Equal(t, request, asked)
		return []byte("header"), &pieces{body: io.MultiReader(bytes.NewReader(make([]byte, 300<<10)), iotest.ErrReader(gone)), next: 3}, nil
	})
	_, chunks, err := one.FetchCheckpoint(t.Context(), 2, request)
	require.NoError(t, err)
	for index := range uint64(1) {
		chunk, err := chunks.Next()
		require.NoError(t, err)
		require.Equal(t, 3+index, chunk.Index)
		require.EqualValues(t, (4+index)*7, chunk.Checksum)
	}
	_, err = chunks.Next()
	require.ErrorIs(t, err, gone)
	require.NoError(t, chunks.Close())
	_, _, err = one.FetchCheckpoint(t.Context(), 2, newest)
	require.ErrorIs(t, err, gone)
	require.Zero(t, a.Counters()["checkpoints_fetched"]+b.Counters()["checkpoints_sent"], "no whole one")
}

func TestCheckpointsThatAreNotServed(t *testing.T) {
	a, _, one, two := pair(t, transport.Options{})
	fetch := func(from uint32) error {
		_, _, err := one.FetchCheckpoint(t.Context(), from, newest)
		require.Error(t, err)
		return err
	}
	require.ErrorIs(t, fetch(3), transport.ErrUnknownPeer)
	require.ErrorIs(t, fetch(1), transport.ErrUnknownPeer)
	require.Equal(t, codes.Unavailable, status.Code(fetch(2)))
	two.ServeCheckpoints(func(uint32, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return nil, nil, errors.New("only at 3")
	})
	err := fetch(2)
	require.Equal(t, codes.NotFound, status.Code(err))
	require.ErrorContains(t, err, "only at 3")
	two.Close()
	require.Equal(t, codes.NotFound, status.Code(fetch(2)))
	require.NoError(t, a.Close())
	require.Error(t, fetch(2))
}

func TestCheckpointRequestsThatAreRefused(t *testing.T) {
	_, b, _, two := pair(t, transport.Options{})
	two.ServeCheckpoints(serve("", func() io.Reader { return bytes.NewReader(nil) }))
	id, other := cluster(1), cluster(2)
	for _, test := range []struct {
		name string
		code codes.Code
		bad  func(*pb.FetchCheckpointRequest)
	}{
		{"version", codes.FailedPrecondition, func(r *pb.FetchCheckpointRequest) { r.Version = 1 }},
		{"cluster", codes.FailedPrecondition, func(r *pb.FetchCheckpointRequest) { r.Cluster = other[:] }},
		{"group", codes.NotFound, func(r *pb.FetchCheckpointRequest) { r.Group = 6 }},
		{"receiver", codes.NotFound, func(r *pb.FetchCheckpointRequest) { r.To = 1 }},
		{"sender", codes.PermissionDenied, func(r *pb.FetchCheckpointRequest) { r.From = 3 }},
		{"none", codes.OK, func(*pb.FetchCheckpointRequest) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := &pb.FetchCheckpointRequest{Version: transport.Version, Cluster: id[:], Group: 5, From: 1, To: 2}
			test.bad(request)
			stream, err := dial(t, b.address).FetchCheckpoint(t.Context(), request)
			require.NoError(t, err)
			_, err = stream.Recv()
			require.Equal(t, test.code, status.Code(err))
		})
	}
}

func TestACheckpointWhoseSourceFails(t *testing.T) {
	_, _, one, two := pair(t, transport.Options{})
	for _, failure := range []error{errors.New("disk"), io.ErrUnexpectedEOF} {
		two.ServeCheckpoints(serve("", func() io.Reader {
			return io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(failure))
		}))
		_, body, err := one.FetchCheckpoint(t.Context(), 2, newest)
		require.NoError(t, err)
		read, err := readAll(body)
		require.Equal(t, codes.DataLoss, status.Code(err))
		require.LessOrEqual(t, len(read), 1<<20)
		require.NoError(t, body.Close())
	}
}

func TestTooManyCheckpointsAtOnce(t *testing.T) {
	_, _, one, two := pair(t, transport.Options{CheckpointsMax: 1})
	two.ServeCheckpoints(serve("", func() io.Reader { return bytes.NewReader(make([]byte, 16<<20)) }))
	_, first, err := one.FetchCheckpoint(t.Context(), 2, newest)
	require.NoError(t, err)
	_, _, err = one.FetchCheckpoint(t.Context(), 2, newest)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.NoError(t, first.Close())
	_, err = readAll(first)
	require.Error(t, err, "a closed body does not end in order")
}

// TestAMemberThatStopsReadingItsCheckpoint keeps its connection and answers pings: it may not keep its place.
func TestAMemberThatStopsReadingItsCheckpoint(t *testing.T) {
	_, b, one, two := pair(t, transport.Options{CheckpointsMax: 1, CheckpointTimeout: 3 * time.Second})
	var closed atomic.Int32
	two.ServeCheckpoints(func(uint32, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
		return nil, &pieces{body: bytes.NewReader(make([]byte, 32<<20)), closed: &closed}, nil // more than the windows hold
	})
	_, stopped, err := one.FetchCheckpoint(t.Context(), 2, newest)
	require.NoError(t, err)
	defer stopped.Close()
	_, err = stopped.Next()
	require.NoError(t, err)
	eventually(t, func() bool { return closed.Load() == 1 }, "the checkpoint is given up")
	var second replication.ChunkReader
	eventually(t, func() bool {
		_, second, err = one.FetchCheckpoint(t.Context(), 2, newest)
		return err == nil
	}, "another member has the place")
	read := 0
	for chunk := (replication.Chunk{}); err == nil; read += len(chunk.Data) {
		chunk, err = second.Next()
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 32<<20, read)
	require.NoError(t, second.Close())
	_, err = readAll(stopped)
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.EqualValues(t, 1, b.Counters()["checkpoints_sent"])
}

// TestAMemberThatReadsItsCheckpointSlowly takes many times as long as it may pause.
func TestAMemberThatReadsItsCheckpointSlowly(t *testing.T) {
	const pause = 250 * time.Millisecond
	_, _, one, two := pair(t, transport.Options{CheckpointTimeout: 8 * pause})
	two.ServeCheckpoints(serve("", func() io.Reader { return bytes.NewReader(make([]byte, 32<<20)) }))
	_, body, err := one.FetchCheckpoint(t.Context(), 2, newest)
	require.NoError(t, err)
	defer body.Close()
	began := time.Now()
	for ticker := time.NewTicker(pause); ; <-ticker.C {
		for range 8 {
			if _, err = body.Next(); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Greater(t, time.Since(began), 12*pause)
}

func TestACheckpointIsCutByContextPartitionAndClose(t *testing.T) {
	var cut atomic.Bool
	large := make([]byte, 16<<20) // more than the windows hold
	a, _, one, two := pair(t, transport.Options{Pass: func(uint32, uint32, uint32) bool { return !cut.Load() }})
	two.ServeCheckpoints(serve("", func() io.Reader { return bytes.NewReader(large) }))
	begin := func(ctx context.Context) replication.ChunkReader {
		_, body, err := one.FetchCheckpoint(ctx, 2, newest)
		require.NoError(t, err)
		_, err = body.Next()
		require.NoError(t, err)
		return body
	}
	ctx, cancel := context.WithCancel(t.Context())
	body := begin(ctx)
	cancel()
	_, err := readAll(body)
	require.Equal(t, codes.Canceled, status.Code(err))

	body = begin(t.Context())
	cut.Store(true)
	_, err = readAll(body)
	require.ErrorIs(t, err, transport.ErrCut)
	require.NoError(t, body.Close())
	cut.Store(false)

	body = begin(t.Context())
	require.NoError(t, a.Close())
	_, err = readAll(body)
	require.Error(t, err)
	require.NoError(t, body.Close())
}

// forger serves a script of messages for every checkpoint.
type forger struct {
	pb.UnimplementedPeerServiceServer
	script []*pb.FetchCheckpointResponse
}

func (f *forger) FetchCheckpoint(_ *pb.FetchCheckpointRequest, stream pb.PeerService_FetchCheckpointServer) error {
	for _, message := range f.script {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// TestCheckpointsThatAreAltered: whatever of a checkpoint is missing, altered or out of order, its body never
// ends with io.EOF.
func TestCheckpointsThatAreAltered(t *testing.T) {
	whole := func() []*pb.FetchCheckpointResponse {
		sum := crc32.Checksum([]byte("header"), crc32.MakeTable(crc32.Castagnoli))
		script := []*pb.FetchCheckpointResponse{
			{Header: []byte("header"), Chunk: []byte("one ")}, {Chunk: []byte("two "), Index: 1}, {Chunk: []byte("three"), Index: 2}, {Last: true},
		}
		for _, message := range script {
			sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), message.Chunk)
			message.Checksum = sum
		}
		return script
	}
	f := &forger{}
	server := grpc.NewServer()
	pb.RegisterPeerServiceServer(server, f)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(listener)
	defer server.Stop()
	one := open(t, transport.Options{}).join(t, 5, 1, map[uint32]string{2: listener.Addr().String()})
	for _, test := range []struct {
		name  string
		alter func([]*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse
	}{
		{"nothing at all", func([]*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { return nil }},
		{"cut short", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { return s[:3] }},
		{"a piece missing", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { return append(s[:1], s[2:]...) }},
		{"a piece twice", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { return append(s[:2:2], s[1:]...) }},
		{"exchanged", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { s[0], s[1] = s[1], s[0]; return s }},
		{"something behind", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse {
			return append(s, &pb.FetchCheckpointResponse{Checksum: s[3].Checksum})
		}},
		{"a byte", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { s[1].Chunk[0] ^= 1; return s }},
		{"the header", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { s[0].Header[0] ^= 1; return s }},
		{"the checksum", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { s[2].Checksum ^= 1; return s }},
		{"the index", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { s[1].Index = 2; return s }},
		{"ended early", func(s []*pb.FetchCheckpointResponse) []*pb.FetchCheckpointResponse { s[1].Last = true; return s }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.script = test.alter(whole())
			_, body, err := one.FetchCheckpoint(t.Context(), 2, newest)
			if err == nil {
				_, err = readAll(body)
				require.NoError(t, body.Close())
			}
			require.ErrorIs(t, err, transport.ErrDamaged)
			require.NotErrorIs(t, err, io.EOF)
		})
	}
	f.script = whole()
	_, body, err := one.FetchCheckpoint(t.Context(), 2, newest)
	require.NoError(t, err)
	defer body.Close()
	read, err := readAll(body)
	require.NoError(t, err)
	require.Equal(t, "one two three", string(read))
}
