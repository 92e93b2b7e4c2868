package shardserver

import (
	"context"
	"time"

	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// quietPart is the part of a lag that threshold or horizon of a quiet shard may fall behind further before an
// operation is logged for it.
const quietPart = 8

// advancer raises the threshold and the horizons of the shard behind the coordinator's timestamps, in small
// steps while there is traffic, so that no single step has much to collect, and seldom while there is none.
type advancer struct {
	server *Server
	lead   *lead
	last   txn.OpNumber // what was applied after the last advance
}

func (a *advancer) advance() {
	s := a.server
	// What the coordinator is known to have reached lies at most a little ahead of what it has handed out, and
	// every lag is far longer.
	now := max(a.lead.floor, s.options.Router.Bound())
	target := history.Advance{
		Lead:           a.lead.number,
		Threshold:      behind(now, s.options.ThresholdLag),
		VersionHorizon: behind(now, s.options.VersionHorizonLag),
		RecordHorizon:  behind(now, s.options.RecordHorizonLag),
	}
	if !a.worthIt(target) {
		return
	}
	if _, err := s.propose(a.lead.ctx, a.lead.view, advanceOperation(target)); err != nil {
		if a.lead.ctx.Err() == nil {
			s.options.Logger.Warn("threshold and horizons stay behind", "shard", s.options.Shard, "error", err)
		}
		return
	}
	s.mu.Lock()
	a.last = s.state.Applied()
	s.mu.Unlock()
}

func (a *advancer) worthIt(target history.Advance) bool {
	s := a.server
	s.mu.Lock()
	defer s.mu.Unlock()
	traffic := s.state.Applied() != a.last
	for _, mark := range []struct {
		now, then txn.Timestamp
		lag       time.Duration
	}{
		{s.state.Threshold(), target.Threshold, s.options.ThresholdLag},
		{s.state.VersionHorizon(), target.VersionHorizon, s.options.VersionHorizonLag},
		{s.state.RecordHorizon(), target.RecordHorizon, s.options.RecordHorizonLag},
	} {
		step := mark.lag / quietPart
		if traffic {
			step = min(step, s.options.AdvanceInterval)
		}
		if behind(mark.then, step) > mark.now {
			return true
		}
	}
	return false
}

// behind returns the timestamp that lies so much earlier, or zero.
func behind(ts txn.Timestamp, lag time.Duration) txn.Timestamp {
	return ts.Before(uint64(lag.Milliseconds()))
}

// fetchTimestamp asks the coordinator for a timestamp.
func (s *Server) fetchTimestamp(ctx context.Context) (txn.Timestamp, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.CallTimeout)
	defer cancel()
	return s.options.Router.Timestamp(ctx)
}
