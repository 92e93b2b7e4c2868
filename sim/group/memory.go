package group

import "github.com/viewline/viewline/replication/vr/core"

// memory is what one run leaves to the next, so that nothing has to be made anew for each seed.
type memory struct {
	events    eventQueue
	hosts     []*host
	believers []*host
	payloads  [][]byte
	bytes     slab[byte]
	entries   slab[core.Entry] // of batches that are not synced
}

// reset takes back what a run had, and its hosts.
func (m *memory) reset(hosts []*host) {
	m.events.reset()
	m.hosts = append(m.hosts, hosts...)
	m.bytes.reset()
	m.entries.reset()
}

// newHost is an empty host, perhaps one of an earlier run.
func (m *memory) newHost() *host {
	last := len(m.hosts) - 1
	if last < 0 {
		return &host{proposals: map[core.OpNumber]operation{}, reads: map[uint64]core.OpNumber{}, stale: map[uint64]staleAsked{}, held: map[uint64]*parcel{}}
	}
	h := m.hosts[last]
	m.hosts = m.hosts[:last]
	clear(h.proposals)
	clear(h.reads)
	clear(h.stale)
	clear(h.held)
	*h = host{proposals: h.proposals, reads: h.reads, stale: h.stale, held: h.held, inbox: h.inbox[:0], lifeState: lifeState{disk: h.disk.emptied()}}
	return h
}

// slab gives out slices that live as long as a run, from memory that the next run uses again.
type slab[T any] struct {
	// room is what is left of the newest piece of memory; whole is that piece.
	room, whole []T
}

// slabMin is how much the first piece of a slab holds.
const slabMin = 1024

// take gives so many values, of which nothing is known.
func (s *slab[T]) take(count int) []T {
	if count > len(s.room) {
		s.whole = make([]T, max(slabMin, 2*len(s.whole), count))
		s.room = s.whole
	}
	taken := s.room[:count:count]
	s.room = s.room[count:]
	return taken
}

// clone copies a slice; nil stays nil.
func (s *slab[T]) clone(values []T) []T {
	if values == nil {
		return nil
	}
	taken := s.take(len(values))
	copy(taken, values)
	return taken
}

// reset takes everything back that was given out.
func (s *slab[T]) reset() { s.room = s.whole }

// cleared is a slice of so many zero values in the memory of another.
func cleared[T any](old []T, count int) []T {
	if count > cap(old) {
		return make([]T, count)
	}
	old = old[:count]
	clear(old)
	return old
}
