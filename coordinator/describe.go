package coordinator

import (
	"sync/atomic"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// counts are totals since the start.
type counts struct {
	requests, refused, rounds, timestamps, lowMarks, proposals, refusedOperations, leads atomic.Uint64
}

// Describe adds what the coordinator knows to the status of its replica: whether it serves, its counters, and
// the hash of its state at `applied`, which is small enough to be given always.
func (s *Server) Describe(status *pb.ReplicaStatus, _ bool) {
	s.mu.Lock()
	hash := s.state.Hash()
	gauges := map[string]uint64{
		"mark": uint64(s.state.Mark()), "watchers": uint64(s.watchers), "primaries": uint64(len(s.primaries.All())), "map_version": 0, "waiting": 0,
	}
	if current := s.state.Map(); current != nil {
		gauges["map_version"] = current.Version
	}
	status.Serving = false
	if s.lead != nil {
		status.Serving = s.lead.serving
		gauges["waiting"] = uint64(len(s.lead.waiting) + len(s.lead.round))
	}
	status.Applied = uint64(s.applied)
	s.mu.Unlock()
	status.StateHash = hash[:]
	if status.Counters == nil {
		status.Counters = map[string]uint64{}
	}
	for name, value := range gauges {
		status.Counters[name] = value
	}
	for name, total := range map[string]*atomic.Uint64{
		"requests": &s.counts.requests, "refused": &s.counts.refused, "rounds": &s.counts.rounds, "timestamps": &s.counts.timestamps,
		"low_marks": &s.counts.lowMarks, "proposals": &s.counts.proposals, "refused_operations": &s.counts.refusedOperations, "leads": &s.counts.leads,
	} {
		status.Counters[name] = total.Load()
	}
}
