package faultproxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What waits in one direction of a connection is at most piecesMax pieces of up to pieceBytes, and one more at
// either end.
const (
	pieceBytes = 8 << 10
	piecesMax  = 64
)

// pair is a connection and its continuation to the target.
type pair struct {
	proxy     *Proxy
	near, far net.Conn
	seed      uint64
	done      chan struct{} // closed by reset
	once      sync.Once
	ways      [2]*way // forward and backward
}

// way is one direction of a pair.
type way struct {
	pair     *pair
	forward  bool
	from, to net.Conn
	pieces   chan piece
	damaged  atomic.Bool   // something was lost or altered
	cut      chan struct{} // closed by halfClose
	halfOnce sync.Once

	// What follows belongs to the goroutine that writes.
	random *rand.Rand
	toFlip int // bytes until the next is altered; 0: not drawn yet
}

type piece struct {
	data []byte
	came time.Time
}

func newPair(p *Proxy, near, far net.Conn) *pair {
	c := &pair{proxy: p, near: near, far: far, done: make(chan struct{})}
	for i := range c.ways {
		w := &way{pair: c, forward: i == 0, from: near, to: far, pieces: make(chan piece, piecesMax), cut: make(chan struct{})}
		if !w.forward {
			w.from, w.to = far, near
		}
		c.ways[i] = w
	}
	return c
}

// run carries both ways until both have ended.
func (c *pair) run() {
	var work sync.WaitGroup
	for i, w := range c.ways {
		w.random = rand.New(rand.NewPCG(c.proxy.options.Seed, c.seed<<1|uint64(i)))
		work.Go(w.read)
		work.Go(w.write)
	}
	work.Wait()
	c.reset()
}

// reset breaks both ends, and reports whether they were not broken yet.
func (c *pair) reset() (done bool) {
	c.once.Do(func() {
		done = true
		close(c.done)
		reset(c.near)
		reset(c.far)
	})
	return done
}

// damagedBefore reports whether one way was damaged under conditions that are over now.
func (c *pair) damagedBefore(before, now Conditions) bool {
	for i, conditions := range [2][2]Condition{{before.Forward, now.Forward}, {before.Backward, now.Backward}} {
		if c.ways[i].damaged.Load() && conditions[0].damages() && conditions[0] != conditions[1] {
			return true
		}
	}
	return false
}

// halfClose reports whether the way forward was still open.
func (c *pair) halfClose() (done bool) {
	w := c.ways[0]
	w.halfOnce.Do(func() {
		done = true
		close(w.cut)
	})
	return done
}

// read takes what comes. When there is no room it waits, and so does who sends.
func (w *way) read() {
	defer close(w.pieces)
	for {
		data := make([]byte, pieceBytes)
		n, err := w.from.Read(data)
		if n > 0 {
			select {
			case w.pieces <- piece{data[:n], time.Now()}:
			case <-w.pair.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write passes on what was read, as the conditions have it, and then the end.
func (w *way) write() {
	defer w.end()
	for {
		select {
		case next, more := <-w.pieces:
			if !more || !w.carry(next) {
				return
			}
		case <-w.cut:
			return
		case <-w.pair.done:
			return
		}
	}
}

// end tells the receiver that nothing more comes; what the sender still sends is read and forgotten.
func (w *way) end() {
	select {
	case <-w.pair.done:
		return // it is broken, not ended
	default:
	}
	if half, ok := w.to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it may be closed already
	} else {
		_ = w.to.Close()
	}
	for p := range w.pieces {
		w.pair.proxy.counts.swallowed.Add(uint64(len(p.data)))
	}
}

// carry passes one piece on and reports whether the way goes on.
func (w *way) carry(p piece) bool {
	condition, alive := w.await(p)
	counts := &w.pair.proxy.counts
	switch {
	case !alive:
		return false
	case condition.Swallow:
		counts.swallowed.Add(uint64(len(p.data)))
		w.damaged.Store(true)
		return true
	case condition.CorruptEvery > 0:
		counts.altered.Add(uint64(w.alter(p.data, condition.CorruptEvery)))
	}
	if _, err := w.to.Write(p.data); err != nil {
		w.pair.reset()
		return false
	}
	if w.forward {
		counts.forward.Add(uint64(len(p.data)))
	} else {
		counts.backward.Add(uint64(len(p.data)))
	}
	if condition.BytesPerSecond > 0 {
		return w.sleep(time.Duration(len(p.data)) * time.Second / time.Duration(condition.BytesPerSecond))
	}
	return true
}

// await waits until a piece is due, under conditions that may change meanwhile, and returns those of that moment.
func (w *way) await(p piece) (Condition, bool) {
	jitter := w.random.Float64()
	held, delayed := &w.pair.proxy.counts.held, &w.pair.proxy.counts.delayed // nil: this piece is counted
	for {
		conditions, changed := w.pair.proxy.now()
		condition := conditions.Backward
		if w.forward {
			condition = conditions.Forward
		}
		due := p.came.Add(condition.Delay + time.Duration(jitter*float64(condition.Jitter)))
		wait := time.Until(due)
		if !condition.Hold && wait <= 0 {
			return condition, true
		}
		timer := time.NewTimer(max(wait, 0))
		expired := timer.C
		if condition.Hold {
			expired, held = nil, countOnce(held)
		} else {
			delayed = countOnce(delayed)
		}
		select {
		case <-expired:
		case <-changed:
		case <-w.cut:
			timer.Stop()
			return condition, false
		case <-w.pair.done:
			timer.Stop()
			return condition, false
		}
		timer.Stop()
	}
}

// countOnce counts where the counter is not nil, and returns what to call it with the next time.
func countOnce(counter *atomic.Uint64) *atomic.Uint64 {
	if counter != nil {
		counter.Add(1)
	}
	return nil
}

func (w *way) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.cut:
	case <-w.pair.done:
	}
	return false
}

// alter flips one bit of a byte every so many bytes, and returns of how many.
func (w *way) alter(data []byte, every int) int {
	altered := 0
	for at := 0; ; {
		if w.toFlip == 0 {
			w.toFlip = 1 + w.random.IntN(2*every)
		}
		if at+w.toFlip > len(data) {
			w.toFlip -= len(data) - at
			return altered
		}
		at += w.toFlip
		w.toFlip = 0
		data[at-1] ^= 1 << w.random.IntN(8)
		w.damaged.Store(true)
		altered++
	}
}
