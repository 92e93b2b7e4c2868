package transport

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
)

// addressBytesMax bounds an address that a handshake names.
const addressBytesMax = 255

// strangersMax bounds the replicas of one group that are heard and were not told of: newcomers, and members of an epoch
// that this node does not know yet.
const strangersMax = 64

// ways are how the other replicas of a group are reached. Frames are taken from whoever can be answered: from those whom
// Reach has named, and from strangers, who have named an address in their handshake, as long as the stream of that
// handshake stands.
type ways struct {
	// contacts are those whom Reach has named, or the configuration before; their addresses, "" where none is known.
	contacts  map[uint32]string
	strangers map[uint32]*stranger
}

// stranger is somebody who is heard and was not named.
type stranger struct {
	address string // of the newest handshake
	streams int    // that stand
}

// checkAddress refuses what nobody can be reached by over the network. It takes whatever else is good for a member's
// configured address, a port by its name and this machine by none.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || len(address) > addressBytesMax || host == "unix" || strings.Contains(address, "/") || port == "" || port == "0" {
		return fmt.Errorf("%w: not HOST:PORT: %.64q", ErrOptions, address)
	}
	return nil
}

// Reach says who is to be reached from here on, with their addresses, and takes the place of what it said before and of
// the configuration. Where an address is "", the configured one counts, or the one that the replica itself names in its
// handshake; a detour counts before all. The way to anybody else is closed; a stranger who is answered gets a new one.
func (g *Group) Reach(addresses map[uint32]string) {
	contacts := make(map[uint32]string, len(addresses))
	for replica, address := range addresses {
		if address == "" {
			address = g.configured[replica]
		}
		if replica != g.local.Replica {
			contacts[replica] = g.detour(replica, address)
		}
	}
	g.waysMu.Lock()
	defer g.waysMu.Unlock()
	g.ways.contacts = contacts
	before, after := *g.peers.Load(), map[uint32]*peer{}
	for replica, address := range contacts {
		if address != "" {
			g.open(after, replica, address)
		}
	}
	g.peers.Store(&after)
	for _, p := range before {
		g.transport.release(p) // not the last use of one that is in both
	}
}

// detour is where a replica is reached whose address is that one.
func (g *Group) detour(replica uint32, address string) string {
	if elsewhere := g.local.Detours[replica]; elsewhere != "" {
		return elsewhere
	}
	return address
}

// open adds the way to a replica, unless there can be none.
func (g *Group) open(ways map[uint32]*peer, replica uint32, address string) {
	p, err := g.transport.acquire(address)
	if errors.Is(err, ErrClosed) {
		return
	}
	if err != nil {
		g.transport.notices.warn("no way to a replica", "address", address, "group", g.local.Group, "replica", replica, "error", err)
		return
	}
	ways[replica] = p
}

// way is how a replica is reached; nil: it is not. A stranger gets his when something is to be said to him.
func (g *Group) way(replica uint32) *peer {
	if p := (*g.peers.Load())[replica]; p != nil {
		return p
	}
	g.waysMu.Lock()
	defer g.waysMu.Unlock()
	s := g.ways.strangers[replica]
	if p := (*g.peers.Load())[replica]; p != nil || s == nil {
		return p
	}
	after := maps.Clone(*g.peers.Load())
	g.open(after, replica, g.detour(replica, s.address))
	g.peers.Store(&after)
	return after[replica]
}

// knows reports whether frames are taken from a replica, which speaks on the caller's stream.
func (g *Group) knows(from *caller, replica uint32) bool {
	switch {
	case (*g.peers.Load())[replica] != nil, from.met[meeting{g, replica}]:
		return true
	case from.address == "" || replica == g.local.Replica || replica == 0:
		return false
	}
	g.waysMu.Lock()
	defer g.waysMu.Unlock()
	s := g.ways.strangers[replica]
	if s == nil {
		if len(g.ways.strangers) >= strangersMax {
			return false
		}
		s = &stranger{}
		g.ways.strangers[replica] = s
	}
	s.address = from.address
	s.streams++
	from.met[meeting{g, replica}] = true
	return true
}

// hears reports whether a replica is reached, or a stranger who is heard.
func (g *Group) hears(replica uint32) bool {
	if (*g.peers.Load())[replica] != nil {
		return true
	}
	g.waysMu.Lock()
	defer g.waysMu.Unlock()
	return g.ways.strangers[replica] != nil
}

// meeting is a stranger who was met on a stream.
type meeting struct {
	group   *Group
	replica uint32
}

// part forgets the strangers of a stream that has ended, and closes the ways to them.
func (from *caller) part() {
	for m := range from.met {
		m.group.forget(m.replica)
	}
}

func (g *Group) forget(replica uint32) {
	g.waysMu.Lock()
	defer g.waysMu.Unlock()
	s := g.ways.strangers[replica]
	if s.streams--; s.streams > 0 {
		return
	}
	delete(g.ways.strangers, replica)
	p := (*g.peers.Load())[replica]
	if g.ways.contacts[replica] != "" || p == nil {
		return
	}
	after := maps.Clone(*g.peers.Load())
	delete(after, replica)
	g.peers.Store(&after)
	g.transport.release(p)
}
