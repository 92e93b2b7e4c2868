package history

import (
	"errors"
	"fmt"
	"io"

	"github.com/viewline/viewline/txn"
)

// Restore builds a state from the records of a Snapshot. next returns them in their order and then io.EOF.
// An error is an ErrCheckpoint, an ErrOptions or next's own. What the records point to must not be changed
// afterwards.
func Restore(options Options, next func() (Record, error)) (*State, error) {
	s, err := New(options)
	if err != nil {
		return nil, err
	}
	r := restoring{state: s}
	for {
		record, err := next()
		if errors.Is(err, io.EOF) {
			return s, r.finish()
		}
		if err != nil {
			return nil, err
		}
		if err := r.take(record); err != nil {
			return nil, err
		}
		r.taken++
	}
}

// restoring holds each record against what is there already: what comes out is a state that Apply could have
// come to, or an error.
type restoring struct {
	state *State
	taken int
	stage int // of the last record: records come stage by stage

	lastVersion version
	lastTS      txn.Timestamp // of the last Prepared
	lastID      txn.TxnID     // of the last Decision
	lastOID     string        // of the last ReadStamp
	decisions   int
}

func damaged(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrCheckpoint, fmt.Sprintf(format, arguments...))
}

func (r *restoring) take(record Record) error {
	if _, isHeader := record.(Header); isHeader != (r.taken == 0) {
		return damaged("the header is not the first record, or not the only one")
	}
	switch record := record.(type) {
	case Header:
		return r.header(record)
	case Object:
		return r.inStage(1, func() error { return r.object(record) })
	case Prepared:
		return r.inStage(2, func() error { return r.prepared(record) })
	case Decision:
		return r.inStage(3, func() error { return r.decision(record) })
	case ReadStamp:
		return r.inStage(4, func() error { return r.readStamp(record) })
	default:
		return damaged("a record of type %T", record)
	}
}

func (r *restoring) inStage(stage int, take func() error) error {
	if stage < r.stage {
		return damaged("record %d comes too late for its kind", r.taken)
	}
	r.stage = stage
	return take()
}

func (r *restoring) finish() error {
	if r.taken == 0 {
		return damaged("no header")
	}
	return nil
}

func (r *restoring) header(h Header) error {
	s := r.state
	switch {
	case h.Shard != s.options.Shard:
		return damaged("it is shard %d's, not shard %d's", h.Shard, s.options.Shard)
	case !slotsAscend(h.Slots) || !h.Owned && len(h.Slots) > 0:
		return damaged("slots that a shard cannot own")
	case max(h.VersionHorizon, h.RecordHorizon) > h.Threshold && s.options.Omit == 0:
		return damaged("a horizon above the threshold %d: %d and %d", h.Threshold, h.VersionHorizon, h.RecordHorizon)
	}
	s.applied, s.leadNumber, s.leadView = h.Applied, h.LeadNumber, h.LeadView
	s.floor, s.threshold = h.Floor, h.Threshold
	s.versions.horizon, s.decisions.horizon, s.readStamps.low = h.VersionHorizon, h.RecordHorizon, h.ReadStampLow
	s.invariantBreaks = h.InvariantBreaks
	if h.Owned {
		s.setSlots(h.MapVersion, h.Slots)
	}
	return nil
}

func (r *restoring) object(o Object) error {
	if txn.CheckOID(o.OID) != nil || len(o.Versions) == 0 {
		return damaged("an object without a name or without versions")
	}
	for _, v := range o.Versions {
		next := version{oid: o.OID, ts: v.TS, write: &write{installed: v.Installed, kind: v.Kind, value: v.Value}}
		if r.lastVersion.write != nil && !versionLess(r.lastVersion, next) {
			return damaged("the versions are not in order at %q", o.OID)
		}
		if v.Kind != txn.Put && v.Kind != txn.Delete || v.Installed > r.state.applied || v.TS == 0 {
			return damaged("a version of %q @%d has kind %d and was installed at %d", o.OID, v.TS, v.Kind, v.Installed)
		}
		if r.unfolded(next) {
			return damaged("a version of %q @%d that was folded away", o.OID, v.TS)
		}
		r.lastVersion = next
		r.state.versions.install(next.oid, next.ts, next.write)
	}
	return nil
}

// unfolded reports whether a version cannot be there because of the version horizon: no tombstone is left at or
// below it, and one version at most.
func (r *restoring) unfolded(v version) bool {
	horizon, last := r.state.versions.horizon, r.lastVersion
	if v.ts > horizon || r.state.options.Omit != 0 {
		return false
	}
	return v.kind == txn.Delete || last.write != nil && last.oid == v.oid && last.ts <= horizon
}

func (r *restoring) prepared(p Prepared) error {
	s := r.state
	if !s.wellFormedTxn(p.Txn) || p.Op > s.applied {
		return damaged("a prepared transaction that cannot be")
	}
	if p.Txn.TS <= s.versions.horizon && s.options.Omit == 0 {
		return damaged("%v is prepared below the version horizon %d", p.Txn.Attempt, s.versions.horizon)
	}
	if p.Txn.TS < r.lastTS || s.decisions.get(p.Txn.ID) != nil {
		return damaged("the prepared transactions are not in order at %v", p.Txn.Attempt)
	}
	r.lastTS = p.Txn.TS
	m := &member{txn: p.Txn, op: p.Op}
	s.line.add(m)
	s.decisions.set(p.Txn.ID, memory{prepared: m})
	return nil
}

func (r *restoring) decision(d Decision) error {
	s, id := r.state, d.Attempt.ID
	if !wellFormed(d.Attempt) || d.Op > s.applied || r.decisions > 0 && r.lastID.Compare(id) >= 0 {
		return damaged("the decisions are not in order at %v", d.Attempt)
	}
	r.decisions++
	r.lastID = id
	next := memory{
		number: d.Attempt.Number, ts: d.Attempt.TS, status: d.Status, reason: d.Reason, op: d.Op,
		participants: abbreviate(d.Participants), ended: d.Ended, closed: d.Closed,
	}
	if known := s.decisions.get(id); known != nil {
		next.prepared = known.prepared
	}
	switch {
	case d.Status == txn.StatusPrepared && d.Closed && next.prepared != nil:
		next.forgetDecision()
	case d.Status == txn.StatusAborted && (next.prepared == nil || next.prepared.txn.Number < d.Attempt.Number):
	case d.Status == txn.StatusCommitted && next.prepared == nil:
	default:
		return damaged("a decision that cannot be: %v %v", d.Attempt, d.Status)
	}
	s.decisions.set(id, next)
	if kept := s.decisions.get(id); kept == nil || kept.number != next.number {
		return damaged("a decision below the record horizon: %v", d.Attempt)
	}
	return nil
}

func (r *restoring) readStamp(stamp ReadStamp) error {
	table := &r.state.readStamps
	if stamp.OID <= r.lastOID || stamp.TS <= table.low || table.byOID.Len() >= table.max {
		return damaged("a read stamp out of order: %q at %d", stamp.OID, stamp.TS)
	}
	r.lastOID = stamp.OID
	table.raise(stamp.OID, stamp.TS)
	return nil
}
