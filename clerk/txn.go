package clerk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// Txn is an update transaction. Its reads are not yet known to be consistent with each other: they are when
// it has committed. It belongs to one goroutine.
type Txn struct {
	clerk  *Clerk
	began  time.Time
	reads  map[string]readValue
	writes map[string]txn.WriteEntry
	keys   int // different oids in reads and writes
	bytes  int // of oids and values in writes
	done   bool
}

type readValue struct {
	entry   txn.ReadEntry
	present bool
	value   []byte
}

// Value is what GetMulti found for one object.
type Value struct {
	Present bool
	// Bytes must not be changed.
	Bytes []byte
}

// Begin starts a transaction for a caller that drives it by hand; Update does more and is what most want. It
// ends with Commit or Abort.
func (c *Clerk) Begin() *Txn {
	return &Txn{clerk: c, began: time.Now(), reads: map[string]readValue{}, writes: map[string]txn.WriteEntry{}}
}

// Get returns an object's value, the transaction's own write if there is one. ErrNotFound when it has none;
// a *txn.LimitError for a bad oid. The value must not be changed.
func (t *Txn) Get(ctx context.Context, oid string) ([]byte, error) {
	values, err := t.GetMulti(ctx, oid)
	if err != nil {
		return nil, err
	}
	if !values[0].Present {
		return nil, fmt.Errorf("%w: %.100q", ErrNotFound, oid)
	}
	return values[0].Bytes, nil
}

// GetMulti reads several objects at once, from all shards beside each other, and returns their values in the
// order of the oids. A *txn.LimitError for a bad oid, for more than 10,000 different ones in the transaction, and when
// one shard would have to answer with more than 16 MiB: ask in parts then.
func (t *Txn) GetMulti(ctx context.Context, oids ...string) ([]Value, error) {
	if t.done {
		return nil, ErrTxnDone
	}
	var missing []string
	for _, oid := range oids {
		if err := txn.CheckOID(oid); err != nil {
			return nil, err
		}
		_, written := t.writes[oid]
		_, read := t.reads[oid]
		if !written && !read {
			missing = append(missing, oid)
		}
	}
	if err := t.fetch(ctx, missing); err != nil {
		return nil, err
	}
	values := make([]Value, len(oids))
	for i, oid := range oids {
		if write, written := t.writes[oid]; written {
			values[i] = Value{Present: write.Kind == txn.Put, Bytes: write.Value}
		} else {
			values[i] = Value{Present: t.reads[oid].present, Bytes: t.reads[oid].value}
		}
	}
	return values, nil
}

func (t *Txn) fetch(ctx context.Context, oids []string) error {
	if len(oids) == 0 {
		return nil
	}
	slices.Sort(oids)
	oids = slices.Compact(oids)
	if err := t.checkKeys(len(oids)); err != nil {
		return err
	}
	return t.clerk.readAll(ctx, oids, func(part []string) *pb.Request {
		return &pb.Request{Body: &pb.Request_Read{Read: &pb.ReadRequest{Mode: pb.ReadMode_READ_MODE_UPDATE, Oids: oidBytes(part)}}}
	}, func(shard txn.ShardID, part []string, response *pb.Response) error {
		values := response.GetRead().GetValues()
		if len(values) != len(part) {
			return fmt.Errorf("%w: %d values for %d objects", ErrRefused, len(values), len(part))
		}
		t.keys += len(part)
		for i, value := range values {
			t.reads[part[i]] = readValue{
				entry: txn.ReadEntry{
					OID: part[i], Version: txn.Timestamp(value.GetVersion()), At: txn.OpNumber(response.GetRead().GetAt()), Shard: shard,
				},
				present: value.GetPresent(), value: value.GetValue(),
			}
		}
		return nil
	})
}

// Put writes an object when the transaction commits; an object that was not read before may be written all
// the same. The value must not be changed afterwards. A *txn.LimitError when oid, value or transaction would
// be too large.
func (t *Txn) Put(oid string, value []byte) error {
	if err := txn.CheckValue(value); err != nil {
		return err
	}
	return t.write(txn.WriteEntry{OID: oid, Kind: txn.Put, Value: value})
}

// Delete removes an object when the transaction commits; deleting what is absent is no error.
func (t *Txn) Delete(oid string) error {
	return t.write(txn.WriteEntry{OID: oid, Kind: txn.Delete})
}

func (t *Txn) write(entry txn.WriteEntry) error {
	if t.done {
		return ErrTxnDone
	}
	if err := txn.CheckOID(entry.OID); err != nil {
		return err
	}
	old, replaces := t.writes[entry.OID]
	_, read := t.reads[entry.OID]
	if !replaces && !read {
		if err := t.checkKeys(1); err != nil {
			return err
		}
	}
	size := t.bytes + len(entry.OID) + len(entry.Value)
	if replaces {
		size -= len(old.OID) + len(old.Value)
	}
	if size > txn.TxnBytesMax {
		return &txn.LimitError{Name: "bytes of a transaction", Limit: txn.TxnBytesMax, Actual: uint64(size)}
	}
	if !replaces && !read {
		t.keys++
	}
	t.bytes = size
	t.writes[entry.OID] = entry
	return nil
}

func (t *Txn) checkKeys(more int) error {
	if t.keys+more > txn.KeysMax {
		return &txn.LimitError{Name: "keys of a transaction", Limit: txn.KeysMax, Actual: uint64(t.keys + more)}
	}
	return nil
}

// Abort gives the transaction up. Nothing of it was sent anywhere, so nothing can remain.
func (t *Txn) Abort() { t.done = true }

// sets gives the read and write sets, ascending by oid.
func (t *Txn) sets() ([]txn.ReadEntry, []txn.WriteEntry, error) {
	reads := make([]txn.ReadEntry, 0, len(t.reads))
	for _, read := range t.reads {
		reads = append(reads, read.entry)
	}
	slices.SortFunc(reads, func(a, b txn.ReadEntry) int { return strings.Compare(a.OID, b.OID) })
	writes := make([]txn.WriteEntry, 0, len(t.writes))
	for _, write := range t.writes {
		writes = append(writes, write)
	}
	slices.SortFunc(writes, func(a, b txn.WriteEntry) int { return strings.Compare(a.OID, b.OID) })
	return reads, writes, wire.CheckSize(reads, writes)
}

func oidBytes(oids []string) [][]byte {
	result := make([][]byte, len(oids))
	for i, oid := range oids {
		result[i] = []byte(oid)
	}
	return result
}

// seen tells what the reads found, for the hooks.
func (t *Txn) seen(reads []txn.ReadEntry) []Read {
	found := make([]Read, len(reads))
	for i, entry := range reads {
		read := t.reads[entry.OID]
		found[i] = Read{OID: entry.OID, Version: entry.Version, Value: Value{Present: read.present, Bytes: read.value}}
	}
	return found
}
