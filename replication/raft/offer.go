package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// chunkBytes is the size of the pieces in which a snapshot travels.
const chunkBytes = 256 << 10

// restoreTimeout is how long a replica may take to make a snapshot that it has fetched its state.
const restoreTimeout = time.Minute

// offer is a snapshot that another replica was told to fetch, by the number of that call: once, to its end.
type offer struct {
	to    peer
	data  io.Reader
	moved chan struct{} // has a token when it was opened or read

	mu     sync.Mutex // guards what follows
	opened bool
	whole  bool // read to its end
	over   bool // data is somebody else's again
}

// InstallSnapshot has a replica fetch a snapshot and make it its state.
func (t *rpc) InstallSnapshot(id hraft.ServerID, _ hraft.ServerAddress, r *hraft.InstallSnapshotRequest, response *hraft.InstallSnapshotResponse, data io.Reader) error {
	o := &offer{to: peerOf(id), data: data, moved: make(chan struct{}, 1)}
	t.mu.Lock()
	t.last++
	number := t.last
	c := &call{number: number, to: o.to, kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, answer: make(chan *pb.RaftMessage, 1)}
	c.opened = t.others[c.to]
	t.calls[number], t.offers[number] = c, o
	t.mu.Unlock()
	defer func() {
		t.end(c)
		t.mu.Lock()
		delete(t.offers, number)
		t.mu.Unlock()
		o.close()
	}()
	t.counters.serves.Add(1)
	err := t.send(o.to, &pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, Call: number, Term: r.Term, Index: r.LastLogIndex, IndexTerm: r.LastLogTerm,
		Configuration: r.Configuration, ConfigurationIndex: r.ConfigurationIndex, Size: uint64(r.Size),
	})
	if err != nil {
		return err
	}
	m, err := t.awaitInstalled(c, o)
	if err != nil {
		return err
	}
	if m.GetAgree() {
		t.hearing.agreed(id, r.Term, r.LastLogIndex)
	}
	*response = hraft.InstallSnapshotResponse{RPCHeader: header(o.to), Term: m.GetTerm(), Success: m.GetAgree()}
	return nil
}

// awaitInstalled waits for the answer, as long as the fetch begins soon and goes on.
func (t *rpc) awaitInstalled(c *call, o *offer) (*pb.RaftMessage, error) {
	patience := time.NewTimer(t.options.RequestTimeout)
	defer patience.Stop()
	for {
		select {
		case m := <-c.answer:
			if m.GetError() != "" {
				return nil, errors.New(m.GetError())
			}
			return m, nil
		case <-o.moved:
			if o.isWhole() {
				patience.Reset(restoreTimeout)
			} else {
				patience.Reset(t.options.FetchTimeout)
			}
		case <-patience.C:
			return nil, errNoAnswer
		case <-t.ctx.Done():
			return nil, errCut
		}
	}
}

// close takes data back. Nobody reads it any more when it returns.
func (o *offer) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
}

func (o *offer) isWhole() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.whole
}

func (o *offer) move() {
	select {
	case o.moved <- struct{}{}:
	default: // it has one
	}
}

// openOffer opens a snapshot for the replica that it is offered to.
func (t *rpc) openOffer(from replication.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	if len(request.Resume) != 8 || request.First != 0 {
		return nil, nil, replication.ErrCheckpointGone
	}
	t.mu.Lock()
	o := t.offers[binary.LittleEndian.Uint64(request.Resume)]
	t.mu.Unlock()
	if o == nil || o.to.id != from {
		return nil, nil, replication.ErrCheckpointGone
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opened || o.over {
		return nil, nil, replication.ErrCheckpointGone
	}
	o.opened = true
	o.move()
	return request.Resume, &offerReader{rpc: t, offer: o, room: make([]byte, chunkBytes)}, nil
}

// offerReader reads an offer in chunks.
type offerReader struct {
	rpc   *rpc
	offer *offer
	room  []byte
	next  uint64
}

// Next reads a chunk.
func (r *offerReader) Next() (replication.Chunk, error) {
	o := r.offer
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || r.rpc.ctx.Err() != nil {
		return replication.Chunk{}, replication.ErrCheckpointGone
	}
	n, err := io.ReadFull(o.data, r.room)
	o.move()
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return replication.Chunk{}, fmt.Errorf("raft: read the snapshot: %w", err)
	}
	if n == 0 {
		o.whole = true
		return replication.Chunk{}, io.EOF
	}
	chunk := replication.Chunk{Index: r.next, Checksum: chunkChecksum(r.next, r.room[:n]), Data: r.room[:n]}
	r.next++
	r.rpc.counters.serveBytes.Add(uint64(n))
	return chunk, nil
}

// Close ends the reading.
func (r *offerReader) Close() error { return nil }

func chunkChecksum(index uint64, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(binary.LittleEndian.AppendUint64(nil, index), castagnoli), castagnoli, data)
}

// fetched is a snapshot that comes from another replica: the bytes, as hashicorp/raft reads them.
type fetched struct {
	rpc    *rpc
	cancel context.CancelFunc
	idle   *time.Timer
	chunks replication.ChunkReader
	next   uint64
	rest   []byte
	err    error
}

// fetch opens the snapshot that a call offers.
func (t *rpc) fetch(from replication.ReplicaID, m *pb.RaftMessage) (*fetched, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	idle := time.AfterFunc(t.options.FetchTimeout, cancel)
	token := callToken(m.GetCall())
	t.counters.fetchesBegun.Add(1)
	t.counters.fetchDone.Store(0)
	t.counters.fetchTotal.Store(m.GetSize())
	_, chunks, err := t.options.Transport.FetchCheckpoint(ctx, from, replication.CheckpointRequest{Resume: token})
	if err != nil {
		idle.Stop()
		cancel()
		t.counters.fetchesFailed.Add(1)
		t.counters.fetchTotal.Store(0)
		return nil, fmt.Errorf("raft: fetch a snapshot: %w", err)
	}
	return &fetched{rpc: t, cancel: cancel, idle: idle, chunks: chunks}, nil
}

// Read reads verified bytes only.
func (f *fetched) Read(data []byte) (int, error) {
	for len(f.rest) == 0 && f.err == nil {
		f.chunk()
	}
	if len(f.rest) == 0 {
		return 0, f.err
	}
	n := copy(data, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *fetched) chunk() {
	f.idle.Reset(f.rpc.options.FetchTimeout)
	chunk, err := f.chunks.Next()
	f.idle.Stop()
	switch {
	case err == io.EOF: //nolint:errorlint // io.EOF itself is the end, and whatever wraps it is not
		f.rpc.counters.fetches.Add(1)
		f.err = io.EOF
	case err != nil:
		f.rpc.counters.fetchesFailed.Add(1)
		f.err = fmt.Errorf("raft: fetch a snapshot: %w", err)
	case chunk.Index != f.next || chunkChecksum(chunk.Index, chunk.Data) != chunk.Checksum:
		f.rpc.counters.fetchesFailed.Add(1)
		f.err = fmt.Errorf("%w: chunk %d of a snapshot that is fetched", ErrDamaged, f.next)
	default:
		f.next++
		f.rest = chunk.Data
		f.rpc.counters.fetchBytes.Add(uint64(len(chunk.Data)))
		f.rpc.counters.fetchDone.Add(uint64(len(chunk.Data)))
	}
}

// end lets the other side go.
func (f *fetched) end() {
	f.rpc.counters.fetchDone.Store(0)
	f.rpc.counters.fetchTotal.Store(0)
	f.idle.Stop()
	_ = f.chunks.Close() // it was only read
	f.cancel()
}
