package node

import (
	"strings"
	"sync/atomic"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// counters are totals since the start.
type counters struct {
	sessions                     atomic.Uint64 // opened
	requests, frames, framesSent atomic.Uint64
	repeatedAnswers, lostAnswers atomic.Uint64
	// refused counts the node's own refusals by code; codes that are not known here count as the first.
	refused [codesMax]atomic.Uint64
}

const codesMax = 32

func (c *counters) refuse(code pb.Code) {
	if code < 0 || code >= codesMax {
		code = 0
	}
	c.refused[code].Add(1)
}

// Counters returns the node's totals since the start, and what is open now, by name; those of the transport are
// behind "peers_".
func (n *Node) Counters() map[string]uint64 {
	c := &n.counters
	n.mu.Lock()
	open := uint64(len(n.sessions))
	n.mu.Unlock()
	connections, turnedAway := n.listener.count()
	values := map[string]uint64{
		"connections_open":        connections,
		"connections_turned_away": turnedAway,
		"sessions_open":           open,
		"sessions":                c.sessions.Load(),
		"requests":                c.requests.Load(),
		"request_frames":          c.frames.Load(),
		"response_frames":         c.framesSent.Load(),
		"answers_repeated":        c.repeatedAnswers.Load(),
		"answers_lost":            c.lostAnswers.Load(),
		"answer_bytes_waiting":    uint64(n.answers[values].used.Load() + n.answers[verdicts].used.Load()),
	}
	for code := range c.refused {
		if count, known := c.refused[code].Load(), pb.Code_name[int32(code)]; count > 0 || known != "" {
			name := strings.TrimPrefix(pb.Code(code).String(), "CODE_")
			values["refused_"+strings.ToLower(name)] = count
		}
	}
	for name, count := range n.transport.Counters() {
		values["peers_"+name] = count
	}
	return values
}
