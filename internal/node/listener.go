package node

import (
	"fmt"
	"net"
	"sync"
	"syscall"
)

// listen opens the address of the options, or takes their listener, and refuses one that other machines reach
// unless that is allowed.
func listen(options Options) (net.Listener, error) {
	if options.Listener != nil {
		return options.Listener, allowed(options, options.Listener.Addr())
	}
	address, err := net.ResolveTCPAddr("tcp", options.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w: Listen: %w", ErrOptions, err)
	}
	if err := allowed(options, address); err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("node: listening on %s: %w", options.Listen, err)
	}
	return listener, nil
}

// allowed refuses TCP addresses that are not loopback ones; no host at all is every address of the machine.
func allowed(options Options, address net.Addr) error {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() || options.Insecure {
		return nil
	}
	return &InsecureListenError{Address: address.String()}
}

// connectionsMax is how many connections are taken of those wanted: at most three quarters of the process's file
// descriptors. The others are for its data: a replica that cannot open a file for its checkpoint stops, and
// nobody may bring that about from outside by connecting.
func connectionsMax(wanted int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("node: reading the limit of open files: %w", err)
	}
	return within(wanted, limit.Cur), nil
}

func within(wanted int, files uint64) int {
	if most := files - files/4; most < uint64(wanted) {
		return int(most)
	}
	return wanted
}

// connections is a listener that bounds the open connections and can close them all: gRPC itself waits for a
// connection that was accepted and then says nothing.
type connections struct {
	net.Listener
	max int

	mu      sync.Mutex
	open    map[*connection]struct{} // Invariant: len(open) <= max.
	closed  bool                     // no more connections
	refused uint64                   // for being too many
}

// connection removes itself from its listener when it is closed.
type connection struct {
	net.Conn
	owner *connections
}

func newConnections(listener net.Listener, most int) *connections {
	return &connections{Listener: listener, max: most, open: map[*connection]struct{}{}}
}

// Accept returns the next connection within the bound and closes those beyond it.
func (c *connections) Accept() (net.Conn, error) {
	for {
		raw, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if accepted := c.add(raw); accepted != nil {
			return accepted, nil
		}
		_ = raw.Close() // nothing was said on it
	}
}

func (c *connections) add(raw net.Conn) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.open) >= c.max {
		c.refused++
		return nil
	}
	accepted := &connection{Conn: raw, owner: c}
	c.open[accepted] = struct{}{}
	return accepted
}

// Close closes the connection.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// closeAll closes every connection and takes no more.
func (c *connections) closeAll() {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = map[*connection]struct{}{}
	c.mu.Unlock()
	for accepted := range open {
		_ = accepted.Conn.Close() // whatever it says, the connection is over
	}
}

// count returns the open connections and those turned away so far.
func (c *connections) count() (open, refused uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.open)), c.refused
}
