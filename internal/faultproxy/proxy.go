package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// ErrOptions says that Options lack something.
var ErrOptions = errors.New("faultproxy: bad options")

// Options describe a link.
type Options struct {
	// Listener is where it begins. The Proxy owns it once Start has returned without an error.
	Listener net.Listener
	// Dial connects to where it ends. Its context ends with the Proxy.
	Dial func(ctx context.Context) (net.Conn, error)
	// Seed draws the jitter, and which bytes are altered.
	Seed uint64
}

// Counts are totals since Start.
type Counts struct {
	// Connections were made, and Failed those of which the target was not reached.
	Connections, Failed uint64
	// Cut were reset by a cut, and Damaged for what they had lost or carried altered.
	Cut, Damaged uint64
	// Forward and Backward are bytes that arrived, Swallowed those that did not, Altered those that arrived as others.
	Forward, Backward, Swallowed, Altered uint64
	// Held and Delayed are pieces, of up to 8 KiB, that had to wait for the end of a hold, or for their time.
	Held, Delayed uint64
	// HalfClosed counts connections.
	HalfClosed uint64
}

// Plus adds the totals of another link.
func (c Counts) Plus(other Counts) Counts {
	return Counts{
		Connections: c.Connections + other.Connections, Failed: c.Failed + other.Failed, Cut: c.Cut + other.Cut, Damaged: c.Damaged + other.Damaged,
		Forward: c.Forward + other.Forward, Backward: c.Backward + other.Backward,
		Swallowed: c.Swallowed + other.Swallowed, Altered: c.Altered + other.Altered,
		Held: c.Held + other.Held, Delayed: c.Delayed + other.Delayed, HalfClosed: c.HalfClosed + other.HalfClosed,
	}
}

// Proxy is one link. Start makes one, Close ends it.
type Proxy struct {
	options Options
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	counts  counts

	mu          sync.Mutex
	conditions  Conditions         // guarded by mu
	changed     chan struct{}      // closed when conditions change; guarded by mu
	connections map[*pair]struct{} // guarded by mu
	made        uint64             // connections so far; guarded by mu
	closed      bool               // guarded by mu
}

type counts struct {
	connections, failed, cut, damaged, forward, backward, swallowed, altered, held, delayed, halfClosed atomic.Uint64
}

// Start begins to carry.
func Start(options Options) (*Proxy, error) {
	if options.Listener == nil || options.Dial == nil {
		return nil, fmt.Errorf("%w: Listener and Dial have to be set", ErrOptions)
	}
	p := &Proxy{options: options, changed: make(chan struct{}), connections: map[*pair]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Set changes the conditions, also of the connections that are there.
func (p *Proxy) Set(conditions Conditions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.conditions
	p.conditions = conditions
	close(p.changed)
	p.changed = make(chan struct{})
	for c := range p.connections {
		switch {
		case conditions.Cut && c.reset():
			p.counts.cut.Add(1)
		case c.damagedBefore(before, conditions) && c.reset():
			p.counts.damaged.Add(1)
		}
	}
}

// HalfClose ends the way forward of every connection that is there, as if who connected had nothing more to say. The
// answers still come.
func (p *Proxy) HalfClose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.connections {
		if c.halfClose() {
			p.counts.halfClosed.Add(1)
		}
	}
}

// Counts returns the totals.
func (p *Proxy) Counts() Counts {
	c := &p.counts
	return Counts{
		Connections: c.connections.Load(), Failed: c.failed.Load(), Cut: c.cut.Load(), Damaged: c.damaged.Load(),
		Forward: c.forward.Load(), Backward: c.backward.Load(), Swallowed: c.swallowed.Load(), Altered: c.altered.Load(),
		Held: c.held.Load(), Delayed: c.delayed.Load(), HalfClosed: c.halfClosed.Load(),
	}
}

// Close ends every connection and returns when all goroutines are gone. Closing twice is harmless.
func (p *Proxy) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	for c := range p.connections {
		c.reset()
	}
	p.mu.Unlock()
	p.cancel()
	var err error
	if !closed {
		err = p.options.Listener.Close()
	}
	p.running.Wait()
	if err != nil {
		return fmt.Errorf("faultproxy: %w", err)
	}
	return nil
}

// now returns the conditions, and what is closed when they change.
func (p *Proxy) now() (Conditions, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conditions, p.changed
}

func (p *Proxy) accept() {
	for {
		near, err := p.options.Listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.connect(near) })
	}
}

// connect carries one connection until it ends.
func (p *Proxy) connect(near net.Conn) {
	p.counts.connections.Add(1)
	if conditions, _ := p.now(); conditions.Cut {
		p.counts.cut.Add(1)
		reset(near)
		return
	}
	far, err := p.options.Dial(p.ctx)
	if err != nil {
		p.counts.failed.Add(1)
		reset(near)
		return
	}
	c := newPair(p, near, far)
	if !p.add(c) {
		p.counts.cut.Add(1)
		c.reset()
		return
	}
	c.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.connections, c)
}

// add reports whether the link still takes a connection.
func (p *Proxy) add(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.conditions.Cut {
		return false
	}
	p.made++
	c.seed = p.made
	p.connections[c] = struct{}{}
	return true
}

// reset closes a connection so that the other end sees it broken, not ended.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a courtesy
	}
	_ = c.Close() // whatever it says, the connection is over
}
