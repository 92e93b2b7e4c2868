package cluster

import (
	"fmt"
	"net"
	"sync"
)

// Pause makes a node hang for everybody: it keeps its connections, answers nothing and hears nothing, until Resume,
// when it takes up what has piled up, or Kill. Its own clocks go on, so it will notice; cluster/process can stop a
// whole process. Pausing twice changes nothing. The error says that the node does not run.
func (c *Cluster) Pause(group, replica uint32) error {
	return c.setPaused(group, replica, true)
}

// Resume ends a Pause; ending none changes nothing. The error says that the node does not run.
func (c *Cluster) Resume(group, replica uint32) error {
	return c.setPaused(group, replica, false)
}

func (c *Cluster) setPaused(group, replica uint32, paused bool) error {
	name := NodeName(group, replica)
	c.mu.Lock()
	defer c.mu.Unlock()
	node := c.nodes[name]
	if node == nil {
		return fmt.Errorf("cluster: %s does not run", name)
	}
	c.faults.pause(end{group, replica}, paused)
	node.gate.set(paused)
	return nil
}

// gate holds back what passes over a node's connections while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
		if shut {
			g.open = make(chan struct{})
		}
	default:
		if !shut {
			close(g.open)
		}
	}
}

// pass waits until the gate is open, or ended is closed.
func (g *gate) pass(ended <-chan struct{}) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ended:
		return net.ErrClosed
	}
}

// gatedListener puts every connection behind a gate. New ones are taken, as the system does for a process that
// stands still.
type gatedListener struct {
	net.Listener
	gate *gate
}

// Accept takes a connection.
func (l *gatedListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatedConn{Conn: connection, gate: l.gate, ended: make(chan struct{})}, nil
}

// gatedConn is a connection behind a gate. Its deadlines do not run while the gate is shut.
type gatedConn struct {
	net.Conn
	gate  *gate
	once  sync.Once
	ended chan struct{} // closed by Close
}

// Read reads; what came while the gate was shut is given out when it opens.
func (c *gatedConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if shut := c.gate.pass(c.ended); shut != nil {
		return 0, shut
	}
	return n, err
}

// Write writes when the gate is open.
func (c *gatedConn) Write(from []byte) (int, error) {
	if err := c.gate.pass(c.ended); err != nil {
		return 0, err
	}
	return c.Conn.Write(from)
}

// Close closes the connection, whatever waits at the gate.
func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}
