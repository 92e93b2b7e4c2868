package history

import (
	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// State is a shard's replicated state. It belongs to one goroutine; the methods that only read may run
// beside each other, but not beside Apply or Snapshot.
type State struct {
	options Options
	applied txn.OpNumber

	leadNumber uint64
	leadView   uint64
	floor      txn.Timestamp
	threshold  txn.Timestamp

	owned      bool
	mapVersion uint64
	slots      []uint16
	served     [txn.SlotCount]bool // the same as slots, for looking up

	line       line // the history line: prepared, undecided
	decisions  decisionTable
	versions   versionStore
	readStamps stampTable // rstamp

	invariantBreaks uint64

	changed  bool          // by the operation being applied
	front    *Front        // told of what leaves the line; nil on a backup
	departed []txn.Attempt // off the line by the operation being applied; kept only for a front
}

// New returns the empty state of a shard that owns no slots yet. The error is an ErrOptions.
func New(options Options) (*State, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	return &State{
		options: options, line: newLine(), decisions: newDecisionTable(options.Omit),
		versions: newVersionStore(options.Omit), readStamps: newStampTable(options.ReadStampsMax),
	}, nil
}

func (s *State) omits(rule omit.Rule) bool { return s.options.Omit.Has(rule) }

// Read returns the newest committed version of an object.
func (s *State) Read(oid string) Value {
	newest, _ := s.versions.at(oid, txn.Timestamp(^uint64(0)))
	return newest.read()
}

// ReadAt returns an object as of a timestamp, or ErrSnapshotTooOld. It looks at committed versions only: the
// caller has waited for whatever may still commit at or below ts (Front.BlockersAt).
func (s *State) ReadAt(oid string, ts txn.Timestamp) (Value, error) {
	if ts < s.versions.horizon && !s.omits(RuleSnapshotHorizon) {
		return Value{}, ErrSnapshotTooOld
	}
	newest, _ := s.versions.at(oid, ts)
	return newest.read(), nil
}

// Owns reports whether the shard serves the object's slot. What it serves is replicated: the coordinator's
// map is advice, the shard's own log decides.
func (s *State) Owns(oid string) bool {
	slot := s.options.SlotOf(oid)
	return slot < txn.SlotCount && s.served[slot]
}

// Owned reports whether the shard has been given its slots, and by which map.
func (s *State) Owned() (mapVersion uint64, owned bool) { return s.mapVersion, s.owned }

// Applied returns the number of the last operation applied.
func (s *State) Applied() txn.OpNumber { return s.applied }

// LeadNumber returns the number of the last Lead that took effect, 0 before the first.
func (s *State) LeadNumber() uint64 { return s.leadNumber }

// LeadView returns the view of that Lead.
func (s *State) LeadView() uint64 { return s.leadView }

// Floor returns the largest floor that a Lead has set.
func (s *State) Floor() txn.Timestamp { return s.floor }

// Threshold returns the timestamp at or below which nothing may prepare, the floor apart.
func (s *State) Threshold() txn.Timestamp { return s.threshold }

// VersionHorizon returns the timestamp below which snapshots cannot be read any more.
func (s *State) VersionHorizon() txn.Timestamp { return s.versions.horizon }

// RecordHorizon returns the timestamp at or below which decisions may be forgotten.
func (s *State) RecordHorizon() txn.Timestamp { return s.decisions.horizon }

// Prepared calls fn for the transactions on the history line by ascending timestamp until it returns false.
func (s *State) Prepared(fn func(Prepared) bool) {
	s.line.byTS.Scan(func(e entry) bool { return fn(Prepared{Txn: e.member.txn, Op: e.member.op}) })
}

// IsPrepared reports whether this very attempt is on the history line.
func (s *State) IsPrepared(attempt txn.Attempt) bool {
	known := s.decisions.get(attempt.ID)
	return known != nil && known.prepared != nil && known.prepared.txn.Attempt == attempt
}

// Unended returns at most limit commits of several participants without END, ascending by timestamp: those that come
// after an attempt in that order, which need not be one of them; after the zero Attempt come all.
func (s *State) Unended(after txn.Attempt, limit int) []Unended {
	var unended []Unended
	from := decidedAt{ts: after.TS, id: after.ID}
	s.decisions.unended.Ascend(from, func(place decidedAt) bool {
		if place == from {
			return true
		}
		if len(unended) >= limit {
			return false
		}
		known := s.decisions.get(place.id)
		unended = append(unended, Unended{Attempt: known.attempt(place.id), Participants: known.participants})
		return true
	})
	return unended
}

// NewestUnended returns the largest timestamp of a commit that Unended would name, or zero.
func (s *State) NewestUnended() txn.Timestamp {
	newest, _ := s.decisions.unended.Max()
	return newest.ts
}

// Counters returns the sizes of the state's collections.
func (s *State) Counters() Counters {
	return Counters{
		Versions: s.versions.all.Len(), Prepared: s.line.len(), Decisions: s.decisions.byID.Len(),
		Unended: s.decisions.unended.Len(), ReadStamps: s.readStamps.byOID.Len(), InvariantBreaks: s.invariantBreaks,
	}
}
