package history

import (
	"github.com/tidwall/btree"

	"github.com/viewline/viewline/txn"
)

// Snapshot is a state at one point. It may be read by any one goroutine beside later Applies.
type Snapshot struct{ contents contents }

// contents is what a checkpoint holds, and what the hash covers. Everything else that a State has is derived
// from it.
type contents struct {
	header     Header
	versions   *btree.BTreeG[version]
	line       *btree.BTreeG[entry]
	decisions  *btree.BTreeG[memoryOf]
	readStamps *btree.BTreeG[stamp]
}

func (s *State) contents() contents {
	return contents{
		header: Header{
			Shard: s.options.Shard, Applied: s.applied, LeadNumber: s.leadNumber, LeadView: s.leadView,
			Floor: s.floor, Threshold: s.threshold, VersionHorizon: s.versions.horizon,
			RecordHorizon: s.decisions.horizon, ReadStampLow: s.readStamps.low, Owned: s.owned,
			MapVersion: s.mapVersion, Slots: s.slots, InvariantBreaks: s.invariantBreaks,
		},
		versions: s.versions.all, line: s.line.byTS, decisions: s.decisions.byID, readStamps: s.readStamps.byOID,
	}
}

// Snapshot captures the state at this point. It costs next to nothing: the trees are shared, and later
// Applies copy what they change. Not to be called beside anything else.
func (s *State) Snapshot() *Snapshot {
	c := s.contents()
	c.versions, c.line = c.versions.Copy(), c.line.Copy()
	c.decisions, c.readStamps = c.decisions.Copy(), c.readStamps.Copy()
	return &Snapshot{contents: c}
}

// Applied returns the op-number at which the snapshot was taken.
func (snap *Snapshot) Applied() txn.OpNumber { return snap.contents.header.Applied }

// Each calls fn for every record, in the order that Record describes, until fn returns an error, which Each
// returns.
func (snap *Snapshot) Each(fn func(Record) error) error { return snap.contents.each(fn) }

func (c *contents) each(fn func(Record) error) error {
	if err := fn(c.header); err != nil {
		return err
	}
	if err := c.eachObject(fn); err != nil {
		return err
	}
	return c.eachOther(fn)
}

// eachObject tells the versions object by object, an object of many versions in several records.
func (c *contents) eachObject(fn func(Record) error) error {
	var object Object
	var size int
	var err error
	flush := func() bool {
		if len(object.Versions) > 0 {
			err = fn(object)
		}
		object, size = Object{}, 0
		return err == nil
	}
	c.versions.Scan(func(v version) bool {
		full := len(object.Versions) >= ObjectRecordVersionsMax || size+len(v.value) > ObjectRecordBytesMax
		if (full || object.OID != v.oid) && !flush() {
			return false
		}
		object.OID = v.oid
		object.Versions = append(object.Versions, Version{TS: v.ts, Installed: v.installed, Kind: v.kind, Value: v.value})
		size += len(v.value)
		return true
	})
	if err == nil {
		flush()
	}
	return err
}

func (c *contents) eachOther(fn func(Record) error) error {
	var err error
	c.line.Scan(func(e entry) bool {
		err = fn(Prepared{Txn: e.member.txn, Op: e.member.op})
		return err == nil
	})
	if err != nil {
		return err
	}
	c.decisions.Scan(func(m memoryOf) bool {
		if decision, worth := m.decision(c.header.Shard); worth {
			err = fn(decision)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	c.readStamps.Scan(func(r stamp) bool {
		err = fn(ReadStamp{OID: r.oid, TS: r.ts})
		return err == nil
	})
	return err
}

// decision tells what is remembered of a transaction apart from what its Prepared record tells; it reports
// false if that is all.
func (m memoryOf) decision(shard txn.ShardID) (Decision, bool) {
	switch {
	case m.number != 0:
		d := Decision{
			Attempt: m.attempt(m.id), Status: m.status, Reason: m.reason, Op: m.op, Participants: m.participants,
			Ended: m.ended, Closed: m.closed,
		}
		if d.Participants == nil && m.committed() {
			d.Participants = []txn.ShardID{shard}
		}
		return d, true
	case m.closed:
		return Decision{Attempt: m.prepared.txn.Attempt, Status: txn.StatusPrepared, Op: m.prepared.op, Closed: true}, true
	default:
		return Decision{}, false
	}
}
