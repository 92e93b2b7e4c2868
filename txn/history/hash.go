package history

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/viewline/viewline/txn"
)

// Hash covers the whole replicated state: equal on all replicas at an equal op-number. It reads everything;
// Snapshot().Hash() gives the same beside later Applies.
func (s *State) Hash() [sha256.Size]byte {
	c := s.contents()
	return c.hash()
}

// Hash is what the State's Hash was when the snapshot was taken.
func (snap *Snapshot) Hash() [sha256.Size]byte { return snap.contents.hash() }

func (c *contents) hash() [sha256.Size]byte {
	d := digest{hash: sha256.New()}
	// The digest takes every record and cannot fail.
	_ = c.each(func(r Record) error {
		d.record(r)
		return nil
	})
	return [sha256.Size]byte(d.hash.Sum(nil))
}

// digest hashes records in a form in which no two differ only by where their fields end.
type digest struct {
	hash   hash.Hash
	buffer []byte
}

func (d *digest) record(r Record) {
	d.buffer = d.buffer[:0]
	switch r := r.(type) {
	case Header:
		d.header(r)
	case Object:
		d.object(r)
	case Prepared:
		d.numbers('P', uint64(r.Op))
		d.transaction(r.Txn)
	case Decision:
		d.numbers('D', uint64(r.Status), uint64(r.Reason), uint64(r.Op), flag(r.Ended), flag(r.Closed))
		d.attempt(r.Attempt)
		d.shards(r.Participants)
	case ReadStamp:
		d.numbers('R', uint64(r.TS))
		d.text(r.OID)
	}
	d.hash.Write(d.buffer)
}

func (d *digest) header(h Header) {
	d.numbers('H', uint64(h.Shard), uint64(h.Applied), h.LeadNumber, h.LeadView, uint64(h.Floor), uint64(h.Threshold),
		uint64(h.VersionHorizon), uint64(h.RecordHorizon), uint64(h.ReadStampLow), flag(h.Owned), h.MapVersion,
		h.InvariantBreaks, uint64(len(h.Slots)))
	for _, slot := range h.Slots {
		d.numbers(uint64(slot))
	}
}

func (d *digest) object(o Object) {
	d.numbers('O', uint64(len(o.Versions)))
	d.text(o.OID)
	for _, v := range o.Versions {
		d.numbers(uint64(v.TS), uint64(v.Installed), uint64(v.Kind))
		d.text(string(v.Value))
	}
}

func (d *digest) transaction(t *txn.Transaction) {
	d.attempt(t.Attempt)
	d.shards(t.Participants)
	d.numbers(t.MapVersion, uint64(len(t.Reads)), uint64(len(t.Writes)))
	for _, r := range t.Reads {
		d.numbers(uint64(r.Version), uint64(r.At), uint64(r.Shard))
		d.text(r.OID)
	}
	for _, w := range t.Writes {
		d.numbers(uint64(w.Kind))
		d.text(w.OID)
		d.text(string(w.Value))
	}
}

func (d *digest) attempt(a txn.Attempt) {
	d.buffer = append(d.buffer, a.ID.Clerk[:]...)
	d.numbers(a.ID.Sequence, uint64(a.ID.Home), uint64(a.Number), uint64(a.TS))
}

func (d *digest) shards(shards []txn.ShardID) {
	d.numbers(uint64(len(shards)))
	for _, shard := range shards {
		d.numbers(uint64(shard))
	}
}

func (d *digest) numbers(numbers ...uint64) {
	for _, n := range numbers {
		d.buffer = binary.BigEndian.AppendUint64(d.buffer, n)
	}
}

func (d *digest) text(s string) {
	d.numbers(uint64(len(s)))
	d.buffer = append(d.buffer, s...)
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
