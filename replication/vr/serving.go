package vr

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// heldMax is how many different checkpoints others may fetch here at one time.
const heldMax = 2

var errBusy = errors.New("vr: other checkpoints are being fetched here")

// serving is what others fetch here. A checkpoint that they have begun with stays for them when a newer one takes its place:
// a transfer would never end otherwise that takes longer than the group takes for a checkpoint.
type serving struct {
	timeout   time.Duration
	behindMax int
	pace      *pace

	mu     *sync.Mutex // guards what follows
	held   []*held
	closed bool
}

func newServing(options Options) serving {
	return serving{
		timeout: options.HoldTimeout, behindMax: options.HoldCheckpointsMax, pace: &pace{bytesPerSecond: options.ServeBytesPerSecond}, mu: &sync.Mutex{},
	}
}

// held is one checkpoint that others fetch.
type held struct {
	identity CheckpointIdentity
	header   []byte
	readers  int         // guarded by serving.mu
	behind   int         // newer checkpoints; guarded by serving.mu
	idle     *time.Timer // runs while there are no readers

	mu         sync.RWMutex // held for reading while a chunk is being read
	checkpoint HeldCheckpoint
	gone       bool // guarded by mu
}

// chunk reads one, as long as the checkpoint is held.
func (h *held) chunk(index uint64) (replication.Chunk, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.gone {
		return replication.Chunk{}, replication.ErrCheckpointGone
	}
	return h.checkpoint.Chunk(index)
}

// release lets the checkpoint go, whoever reads it.
func (h *held) release() {
	h.idle.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.gone {
		h.gone = true
		_ = h.checkpoint.Close() // it was only read
	}
}

// resumed returns the held checkpoint with that identity for a reader, or nil.
func (s *serving) resumed(identity CheckpointIdentity) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(identity)
}

func (s *serving) find(identity CheckpointIdentity) *held {
	for _, h := range s.held {
		if h.identity == identity {
			h.readers++
			h.idle.Stop()
			return h
		}
	}
	return nil
}

// add holds a checkpoint for a reader. One that was held already is closed. A place is made by letting the oldest go that
// nobody reads.
func (s *serving) add(checkpoint HeldCheckpoint) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.find(checkpoint.Identity()); h != nil {
		return h, checkpoint.Close()
	}
	if len(s.held) == heldMax {
		if at := slices.IndexFunc(s.held, func(h *held) bool { return h.readers == 0 }); at >= 0 {
			s.held[at].release()
			s.held = slices.Delete(s.held, at, at+1)
		}
	}
	if s.closed || len(s.held) == heldMax {
		return nil, errors.Join(errBusy, checkpoint.Close())
	}
	h := &held{identity: checkpoint.Identity(), checkpoint: checkpoint, readers: 1}
	h.header = encodeCheckpointHeader(h.identity, checkpoint.Bytes())
	h.idle = time.AfterFunc(s.timeout, func() { s.expire(h) })
	h.idle.Stop()
	s.held = append(s.held, h)
	return h, nil
}

// leave is what a reader says at its end.
func (s *serving) leave(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.readers--; h.readers == 0 && slices.Contains(s.held, h) {
		h.idle.Reset(s.timeout)
	}
}

// expire lets a checkpoint go that nobody has read for a while.
func (s *serving) expire(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.readers == 0 {
		h.release()
		s.held = slices.DeleteFunc(s.held, func(other *held) bool { return other == h })
	}
}

// drop lets a checkpoint go that is damaged: the sound one that takes its place has the same identity.
func (s *serving) drop(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.release()
	s.held = slices.DeleteFunc(s.held, func(other *held) bool { return other == h })
}

// replaced counts a newer checkpoint, and returns the least op-number of those that are held; 0: none is.
func (s *serving) replaced(op core.OpNumber) (least core.OpNumber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = slices.DeleteFunc(s.held, func(h *held) bool {
		if h.identity.Meta.Op < op {
			h.behind++
		}
		if h.behind > s.behindMax {
			h.release()
			return true
		}
		if least == 0 || h.identity.Meta.Op < least {
			least = h.identity.Meta.Op
		}
		return false
	})
	return least
}

func (s *serving) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// close lets everything go and holds nothing any more.
func (s *serving) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		h.release()
	}
	s.held, s.closed = nil, true
}

// serveCheckpoint opens a checkpoint for a peer, on a goroutine of the transport's: the newest, or the one that the peer
// has begun with.
func (r *Replica) serveCheckpoint(_ core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	h, err := r.holdFor(request)
	if err != nil {
		r.noteDamage(err)
		return nil, nil, err
	}
	r.counters.serves.Add(1)
	return h.header, &servedCheckpoint{replica: r, held: h, next: request.First, closed: make(chan struct{})}, nil
}

func (r *Replica) holdFor(request replication.CheckpointRequest) (*held, error) {
	var wanted CheckpointIdentity
	if len(request.Resume) > 0 {
		var err error
		if wanted, _, err = decodeCheckpointHeader(request.Resume); err != nil {
			return nil, err
		}
		if h := r.serving.resumed(wanted); h != nil {
			return h, nil
		}
	}
	checkpoint, err := r.options.Storage.HoldCheckpoint()
	if err != nil {
		return nil, err
	}
	switch found := checkpoint.Identity(); {
	case len(request.Resume) > 0 && found != wanted:
		err = replication.ErrCheckpointGone
	case len(request.Resume) == 0 && found.Meta.Op < core.OpNumber(request.AtLeast):
		err = fmt.Errorf("%w at operation %d or above", ErrNoCheckpoint, request.AtLeast)
	default:
		return r.serving.add(checkpoint)
	}
	return nil, errors.Join(err, checkpoint.Close())
}

// servedCheckpoint is a checkpoint on its way to a peer.
type servedCheckpoint struct {
	replica *Replica
	held    *held
	next    uint64
	once    sync.Once
	closed  chan struct{}
}

// Next reads the next chunk when it is time for it, and tells the owner when the checkpoint turns out to be damaged.
func (c *servedCheckpoint) Next() (replication.Chunk, error) {
	chunk, err := c.held.chunk(c.next)
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			c.replica.serving.drop(c.held)
		}
		c.replica.noteDamage(err)
		return replication.Chunk{}, err
	}
	if err := c.replica.serving.pace.wait(len(chunk.Data), c.closed, c.replica.background.Done()); err != nil {
		return replication.Chunk{}, err
	}
	c.next++
	c.replica.counters.serveBytes.Add(uint64(len(chunk.Data)))
	return chunk, nil
}

// Close gives the checkpoint back.
func (c *servedCheckpoint) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.replica.serving.leave(c.held)
	})
	return nil
}

// pace spreads bytes over time.
type pace struct {
	bytesPerSecond int // 0: no pace

	mu   sync.Mutex
	next time.Time // when the next bytes are due
}

// wait waits until so many bytes are due, or one of two ends comes.
func (p *pace) wait(bytes int, closed, ended <-chan struct{}) error {
	if p.bytesPerSecond == 0 {
		return nil
	}
	p.mu.Lock()
	due := time.Now()
	if p.next.After(due) {
		due = p.next
	}
	p.next = due.Add(time.Duration(bytes) * time.Second / time.Duration(p.bytesPerSecond))
	p.mu.Unlock()
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-closed:
		return replication.ErrClosed
	case <-ended:
		return replication.ErrClosed
	}
}
