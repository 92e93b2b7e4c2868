package shardserver

import (
	"strings"
	"sync"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// Describe adds what the shard knows to the status of its replica: whether it serves, its counters, and, if asked
// for, the hash of its state at `applied`, unless the state is too large for that. The hash reads the whole state,
// beside the service, one caller at a time.
func (s *Server) Describe(status *pb.ReplicaStatus, stateHash bool) {
	s.mu.Lock()
	_, serving := s.serving()
	_, owned := s.state.Owned()
	sizes := s.state.Counters()
	inFlight, waiting := s.front.InFlight(), s.front.Waiting()
	leadNumber := s.state.LeadNumber()
	oldest := s.oldestPrepared(time.Now())
	threshold, versionHorizon, recordHorizon := s.state.Threshold(), s.state.VersionHorizon(), s.state.RecordHorizon()
	applied, snapshot := s.state.Applied(), (*history.Snapshot)(nil)
	if stateHash && sizes.Versions <= s.options.HashVersionsMax {
		snapshot = s.state.Snapshot()
	}
	s.mu.Unlock()

	status.Serving = serving && owned
	status.Applied = uint64(applied)
	if snapshot != nil {
		status.StateHash = s.hashes.of(snapshot)
	}
	if status.Counters == nil {
		status.Counters = map[string]uint64{}
	}
	for name, value := range map[string]uint64{
		"versions":         uint64(sizes.Versions),
		"prepared":         uint64(sizes.Prepared),
		"decisions":        uint64(sizes.Decisions),
		"unended":          uint64(sizes.Unended),
		"read_stamps":      uint64(sizes.ReadStamps),
		"invariant_breaks": sizes.InvariantBreaks,
		"in_flight":        uint64(inFlight),
		"waiting":          uint64(waiting),
		"lead_number":      leadNumber,
		"threshold":        uint64(threshold),
		"version_horizon":  uint64(versionHorizon),
		"record_horizon":   uint64(recordHorizon),
		"bytes_under_way":  uint64(max(0, s.underWay.Load())),
	} {
		status.Counters[name] = value
	}
	status.Counters["oldest_prepared_milliseconds"] = oldest
	s.counts.describe(status.Counters)
}

// oldestPrepared is how long ago the oldest of the prepared transactions got its timestamp, in milliseconds; 0 when
// none is prepared: the coordinator's clock, which made it, against this machine's. Called with mu held.
func (s *Server) oldestPrepared(now time.Time) (age uint64) {
	s.state.Prepared(func(first history.Prepared) bool {
		age = uint64(max(now.UnixMilli()-int64(first.Txn.TS.Millis()), 0))
		return false
	})
	return age
}

// hashes remembers the last hash of a state.
type hashes struct {
	mu      sync.Mutex
	applied txn.OpNumber
	hash    []byte
}

func (h *hashes) of(snapshot *history.Snapshot) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hash == nil || h.applied != snapshot.Applied() {
		hash := snapshot.Hash()
		h.applied, h.hash = snapshot.Applied(), hash[:]
	}
	return h.hash
}

// reasonName turns REASON_TOO_OLD into too_old.
func reasonName(name string) string { return strings.ToLower(strings.TrimPrefix(name, "REASON_")) }
