package raft

import (
	"maps"
	"slices"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"
)

// heardMax bounds the peers of whom it is kept when they were heard; newcomersMax those who ask to become members.
const (
	heardMax     = 4 * membersMax
	newcomersMax = 16
)

// hearing is when others were heard, who asks to become a member, and how far the logs of followers go.
type hearing struct {
	mu       sync.Mutex // guards what follows
	heard    map[peer]time.Time
	asked    map[peer]time.Time
	progress map[hraft.ServerID]progress
}

// progress is how far a follower's log agrees with that of its leader of a term.
type progress struct{ term, match uint64 }

func newHearing() *hearing {
	return &hearing{heard: map[peer]time.Time{}, asked: map[peer]time.Time{}, progress: map[hraft.ServerID]progress{}}
}

// note: a peer was heard just now.
func (h *hearing) note(from peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard[from] = time.Now()
	if len(h.heard) > heardMax {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(h.heard)), func(a, b peer) int { return h.heard[a].Compare(h.heard[b]) })
		delete(h.heard, oldest)
	}
}

// within reports whether a peer was heard within so long.
func (h *hearing) within(p peer, limit time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ever := h.heard[p]
	return ever && time.Since(at) < limit
}

// ask notes that a peer asks to become a member. Of one id the latest life counts.
func (h *hearing) ask(from peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.asked {
		if p.id == from.id && p.incarnation > from.incarnation {
			return
		}
	}
	maps.DeleteFunc(h.asked, func(p peer, _ time.Time) bool { return p.id == from.id && p != from })
	if _, there := h.asked[from]; there || len(h.asked) < newcomersMax {
		h.asked[from] = time.Now()
	}
}

// newcomers are those who have asked within so long, ascending; who has not is forgotten.
func (h *hearing) newcomers(limit time.Duration, admits func(peer) bool) []peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.asked, func(p peer, at time.Time) bool { return time.Since(at) >= limit || !admits(p) })
	return slices.SortedFunc(maps.Keys(h.asked), func(a, b peer) int { return int(a.id) - int(b.id) })
}

// askers is how many ask to become members.
func (h *hearing) askers() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return uint64(len(h.asked))
}

// agreed: a follower's log agrees with its leader's up to an index.
func (h *hearing) agreed(id hraft.ServerID, term, index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch before := h.progress[id]; {
	case term > before.term:
		h.progress[id] = progress{term, index}
	case term == before.term:
		h.progress[id] = progress{term, max(index, before.match)}
	}
}

// match is how far the log of a follower agrees with that of this leader of a term.
func (h *hearing) match(id hraft.ServerID, term uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.progress[id]; p.term == term {
		return p.match
	}
	return 0
}

// forgetBut forgets the progress of those who are followers no more.
func (h *hearing) forgetBut(servers []hraft.Server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.progress, func(id hraft.ServerID, _ progress) bool {
		return !slices.ContainsFunc(servers, func(server hraft.Server) bool { return server.ID == id })
	})
}
