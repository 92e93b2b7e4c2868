package vr

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// serving is what others fetch here: the files of what a transfer.Holding holds.
type serving struct {
	timeout time.Duration
	pace    *pace

	mu      *sync.Mutex // guards what follows
	holding *transfer.Holding
	held    map[uint64]*held
}

func newServing(options Options) serving {
	holding := transfer.NewHolding(options.HoldCheckpointsMax, 0)
	return serving{
		timeout: options.HoldTimeout, pace: &pace{bytesPerSecond: options.ServeBytesPerSecond}, mu: &sync.Mutex{},
		holding: &holding, held: map[uint64]*held{},
	}
}

// held is one checkpoint that others fetch.
type held struct {
	number uint64
	header []byte
	idle   *time.Timer // runs while there are no readers

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

// resumed returns the held checkpoint that is asked for, for a reader; nil: it is not held.
func (s *serving) resumed(wanted CheckpointIdentity) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(s.holding.Resume(wanted))
}

// read is the checkpoint of a number, which has a reader now.
func (s *serving) read(number uint64) *held {
	h := s.held[number]
	if h != nil {
		h.idle.Stop()
	}
	return h
}

// add holds a checkpoint for a reader. One that was held already is closed.
func (s *serving) add(checkpoint HeldCheckpoint) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number, release, again, err := s.holding.Add(checkpoint.Identity())
	s.release(release)
	switch {
	case err != nil:
		return nil, errors.Join(err, checkpoint.Close())
	case again:
		return s.read(number), checkpoint.Close()
	}
	h := &held{number: number, checkpoint: checkpoint}
	h.header = encodeCheckpointHeader(checkpoint.Identity(), checkpoint.Bytes())
	h.idle = time.AfterFunc(s.timeout, func() { s.expire(h) })
	h.idle.Stop()
	s.held[number] = h
	return h, nil
}

// release lets go what is held no longer; numbers of what was let go before mean nothing.
func (s *serving) release(numbers ...uint64) {
	for _, number := range numbers {
		if h := s.held[number]; h != nil {
			h.release()
			delete(s.held, number)
		}
	}
}

// leave is what a reader says at its end.
func (s *serving) leave(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holding.Leave(h.number) {
		h.idle.Reset(s.timeout)
	}
}

// expire lets a checkpoint go that nobody has read for a while.
func (s *serving) expire(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holding.Expire(h.number) {
		s.release(h.number)
	}
}

// drop lets a checkpoint go that is damaged.
func (s *serving) drop(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding.Drop(h.number)
	s.release(h.number)
}

// replaced counts a newer checkpoint, and returns above which op-number the log is kept for those that are held; 0: none is.
func (s *serving) replaced(op core.OpNumber) core.OpNumber {
	s.mu.Lock()
	defer s.mu.Unlock()
	least, released := s.holding.Replaced(op)
	s.release(released...)
	return least
}

// answers reports whether the newest checkpoint is what is asked for.
func (s *serving) answers(request *transfer.Request, newest CheckpointIdentity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.holding.Answers(request, &newest)
	switch {
	case errors.Is(err, transfer.ErrGone):
		return replication.ErrCheckpointGone
	case errors.Is(err, transfer.ErrTooOld):
		return fmt.Errorf("%w at operation %d or above", ErrNoCheckpoint, request.AtLeast)
	default:
		return err
	}
}

func (s *serving) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holding.Count()
}

// close lets everything go and holds nothing any more.
func (s *serving) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(s.holding.Close()...)
}

// serveCheckpoint opens a checkpoint for a peer, on a goroutine of the transport's: the newest, or the one that the peer
// has begun with.
func (r *Replica) serveCheckpoint(_ core.ReplicaID, request replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	if r.options.isWitness() {
		return nil, nil, fmt.Errorf("%w: a witness has no state", ErrNoCheckpoint)
	}
	h, err := r.holdFor(request)
	if err != nil {
		r.noteDamage(err)
		return nil, nil, err
	}
	r.counters.serves.Add(1)
	return h.header, &servedCheckpoint{replica: r, held: h, next: request.First, closed: make(chan struct{})}, nil
}

func (r *Replica) holdFor(request replication.CheckpointRequest) (*held, error) {
	asked := transfer.Request{Resume: len(request.Resume) > 0, AtLeast: core.OpNumber(request.AtLeast)}
	if asked.Resume {
		var err error
		if asked.Identity, _, err = decodeCheckpointHeader(request.Resume); err != nil {
			return nil, err
		}
		if h := r.serving.resumed(asked.Identity); h != nil {
			return h, nil
		}
	}
	checkpoint, err := r.options.Storage.HoldCheckpoint()
	if err != nil {
		return nil, err
	}
	if err := r.serving.answers(&asked, checkpoint.Identity()); err != nil {
		return nil, errors.Join(err, checkpoint.Close())
	}
	return r.serving.add(checkpoint)
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
