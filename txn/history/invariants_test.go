package history

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// check holds a state against every invariant that its parts declare. Slow, for tests.
func check(t testing.TB, s *State) {
	t.Helper()
	checkLine(t, s)
	checkVersions(t, s)
	checkDecisions(t, s)
	checkStamps(t, &s.readStamps)
	require.LessOrEqual(t, s.versions.horizon, s.threshold)
	require.LessOrEqual(t, s.decisions.horizon, s.threshold)
	require.LessOrEqual(t, s.line.len(), s.options.PreparedMax)
	require.LessOrEqual(t, s.decisions.byID.Len(), s.options.DecisionsMax)
	require.Equal(t, !s.owned, s.slots == nil)
	require.Empty(t, s.departed)
}

func checkLine(t testing.TB, s *State) {
	t.Helper()
	writes, reads := 0, 0
	s.line.byTS.Scan(func(e entry) bool {
		m := e.member
		writes, reads = writes+len(m.txn.Writes), reads+len(m.txn.Reads)
		require.True(t, s.IsPrepared(m.txn.Attempt), "%v is on the line and not remembered", m.txn.Attempt)
		require.Greater(t, m.txn.TS, s.versions.horizon, "folded over a prepared transaction")
		for _, w := range m.txn.Writes {
			_, ok := s.line.writers.Get(entry{oid: w.OID, ts: m.txn.TS, member: m})
			require.True(t, ok)
		}
		for _, r := range m.txn.Reads {
			_, ok := s.line.readers.Get(entry{oid: r.OID, ts: m.txn.TS, member: m})
			require.True(t, ok)
		}
		return true
	})
	require.Equal(t, writes, s.line.writers.Len())
	require.Equal(t, reads, s.line.readers.Len())
}

func checkVersions(t testing.TB, s *State) {
	t.Helper()
	recent := 0
	var last version
	s.versions.all.Scan(func(v version) bool {
		require.NotNil(t, v.write)
		if v.ts > s.versions.horizon {
			recent++
			_, ok := s.versions.recent.Get(stamp{oid: v.oid, ts: v.ts})
			require.True(t, ok, "version %d of %q would never be folded", v.ts, v.oid)
		} else {
			require.Equal(t, txn.Put, v.kind, "a tombstone below the horizon")
			require.False(t, last.oid == v.oid && last.ts <= s.versions.horizon, "two versions below the horizon")
		}
		require.LessOrEqual(t, v.installed, s.applied)
		last = v
		return true
	})
	require.Equal(t, recent, s.versions.recent.Len())
}

func checkDecisions(t testing.TB, s *State) {
	t.Helper()
	byTS, unended, prepared := 0, 0, 0
	d := &s.decisions
	d.byID.Scan(func(m memoryOf) bool {
		place := decidedAt{ts: m.ts, id: m.id}
		require.True(t, m.number != 0 || m.prepared != nil, "nothing is remembered of %v", m.id)
		require.False(t, m.committed() && m.prepared != nil)
		if m.prepared != nil {
			prepared++
			require.Equal(t, m.id, m.prepared.txn.ID)
			require.NotEqual(t, m.number, m.prepared.txn.Number)
			_, ok := s.line.byTS.Get(entry{ts: m.prepared.txn.TS, member: m.prepared})
			require.True(t, ok, "%v is prepared and not on the line", m.prepared.txn.Attempt)
		}
		if m.number == 0 {
			return true
		}
		require.Contains(t, []txn.Status{txn.StatusCommitted, txn.StatusAborted}, m.status)
		require.True(t, m.ts > d.horizon || m.outlivesHorizon(d.omit), "%v should be forgotten", m.id)
		_, ok := d.byTS.Get(place)
		require.Equal(t, m.ts > d.horizon, ok)
		_, ok = d.unended.Get(place)
		require.Equal(t, m.outlivesHorizon(d.omit), ok)
		if m.ts > d.horizon {
			byTS++
		}
		if ok {
			unended++
		}
		return true
	})
	require.Equal(t, prepared, s.line.len())
	require.Equal(t, byTS, d.byTS.Len())
	require.Equal(t, unended, d.unended.Len())
}

func checkStamps(t testing.TB, table *stampTable) {
	t.Helper()
	require.LessOrEqual(t, table.byOID.Len(), table.max)
	require.Equal(t, table.byOID.Len(), table.byTS.Len())
	table.byOID.Scan(func(r stamp) bool {
		require.Greater(t, r.ts, table.low)
		_, ok := table.byTS.Get(r)
		require.True(t, ok)
		return true
	})
}

// checkFront holds a front against its invariants.
func checkFront(t testing.TB, f *Front) {
	t.Helper()
	checkStamps(t, &f.snapStamps)
	copies, listed := 0, 0
	for attempt, members := range f.copies {
		require.NotEmpty(t, members, "%v", attempt)
		copies += len(members)
	}
	require.Equal(t, copies, f.inFlight.len())
	require.LessOrEqual(t, copies, f.options.InFlightMax)
	for blocker, waiters := range f.waits.byBlocker {
		require.True(t, f.isUndecided(blocker), "%v is decided, and %d wait for it", blocker, len(waiters))
		require.NotEmpty(t, waiters)
		for id, w := range waiters {
			listed++
			require.Same(t, w, f.waits.byID[id])
			require.False(t, w.released)
		}
	}
	require.Len(t, f.waits.byID, listed+len(f.waits.released))
	require.LessOrEqual(t, len(f.waits.byID), f.options.WaitsMax)
}
