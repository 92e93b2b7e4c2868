package clerk

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// Snapshot reads everything as of one timestamp. It belongs to one goroutine.
type Snapshot struct {
	clerk     *Clerk
	timestamp txn.Timestamp
	reads     []Read // only for Hooks.Viewed
}

// View runs a function that only reads, at one snapshot taken after View was called: it sees everything that
// was acknowledged before, and never conflicts. The function runs once; its error is returned as it is.
func (c *Clerk) View(ctx context.Context, read func(*Snapshot) error) error {
	began := time.Now()
	timestamp, err := c.timestamp(ctx)
	if err != nil {
		return err
	}
	snapshot := &Snapshot{clerk: c, timestamp: timestamp}
	if err := read(snapshot); err != nil {
		return err
	}
	if c.options.Hooks.Viewed != nil {
		c.options.Hooks.Viewed(Viewed{Timestamp: timestamp, Reads: snapshot.reads, Began: began, Answered: time.Now()})
	}
	return nil
}

// Timestamp is the point that the snapshot shows.
func (s *Snapshot) Timestamp() txn.Timestamp { return s.timestamp }

// Get returns an object's value at the snapshot; ErrNotFound when it has none. The value must not be changed.
func (s *Snapshot) Get(ctx context.Context, oid string) ([]byte, error) {
	values, err := s.GetMulti(ctx, oid)
	if err != nil {
		return nil, err
	}
	if !values[0].Present {
		return nil, fmt.Errorf("%w: %.100q", ErrNotFound, oid)
	}
	return values[0].Bytes, nil
}

// GetMulti returns the values of several objects at the snapshot, in the order of the oids. A *txn.LimitError for a bad
// oid, and when one shard would have to read more than 10,000 objects or to answer with more than 16 MiB: the same
// snapshot may be asked in parts.
func (s *Snapshot) GetMulti(ctx context.Context, oids ...string) ([]Value, error) {
	places := make(map[string]int, len(oids))
	different := make([]string, 0, len(oids))
	for _, oid := range oids {
		if err := txn.CheckOID(oid); err != nil {
			return nil, err
		}
		if _, twice := places[oid]; !twice {
			places[oid] = len(different)
			different = append(different, oid)
		}
	}
	found := make([]Value, len(different))
	if err := s.fetch(ctx, different, func(oid string, value Value) { found[places[oid]] = value }); err != nil {
		return nil, err
	}
	values := make([]Value, len(oids))
	for i, oid := range oids {
		values[i] = found[places[oid]]
	}
	return values, nil
}

func (s *Snapshot) fetch(ctx context.Context, oids []string, take func(oid string, value Value)) error {
	return s.clerk.readAll(ctx, oids, func(part []string) *pb.Request {
		return &pb.Request{Body: &pb.Request_Snapshot{Snapshot: &pb.SnapshotRequest{Timestamp: uint64(s.timestamp), Oids: oidBytes(part)}}}
	}, func(shard txn.ShardID, part []string, response *pb.Response) error {
		values := response.GetSnapshot().GetValues()
		if len(values) != len(part) {
			return fmt.Errorf("%w: %d values for %d objects", ErrRefused, len(values), len(part))
		}
		for i, value := range values {
			take(part[i], Value{Present: value.GetPresent(), Bytes: value.GetValue()})
			if s.clerk.options.Hooks.Viewed != nil {
				s.reads = append(s.reads, Read{
					OID: part[i], Version: txn.Timestamp(value.GetVersion()), Value: Value{Present: value.GetPresent(), Bytes: value.GetValue()},
				})
			}
		}
		return nil
	})
}

// Get reads one object, strictly serializably: a View of one key.
func (c *Clerk) Get(ctx context.Context, oid string) ([]byte, error) {
	values, err := c.GetMulti(ctx, oid)
	if err != nil {
		return nil, err
	}
	if !values[0].Present {
		return nil, fmt.Errorf("%w: %.100q", ErrNotFound, oid)
	}
	return values[0].Bytes, nil
}

// GetMulti reads several objects at one snapshot. A snapshot that was overtaken by what the shards still remember
// is replaced by another. What is too much for one answer, as Snapshot.GetMulti says, needs a View.
func (c *Clerk) GetMulti(ctx context.Context, oids ...string) (values []Value, err error) {
	for {
		err = c.View(ctx, func(s *Snapshot) (err error) {
			values, err = s.GetMulti(ctx, oids...)
			return err
		})
		if !errors.Is(err, ErrSnapshotTooOld) || ctx.Err() != nil {
			return values, err
		}
	}
}

// GetLatest reads one object from its shard's primary without a timestamp. It is linearizable for that object,
// but lies outside the strict serializability of everything else: two GetLatest of two objects may see two
// transactions in an order that no transaction sees.
func (c *Clerk) GetLatest(ctx context.Context, oid string) ([]byte, error) {
	if err := txn.CheckOID(oid); err != nil {
		return nil, err
	}
	var found *pb.Value
	err := c.readAll(ctx, []string{oid}, func(part []string) *pb.Request {
		return &pb.Request{Body: &pb.Request_Read{Read: &pb.ReadRequest{Mode: pb.ReadMode_READ_MODE_LATEST, Oids: oidBytes(part)}}}
	}, func(_ txn.ShardID, _ []string, response *pb.Response) error {
		if values := response.GetRead().GetValues(); len(values) == 1 {
			found = values[0]
			return nil
		}
		return fmt.Errorf("%w: no value", ErrRefused)
	})
	if err != nil {
		return nil, err
	}
	if !found.GetPresent() {
		return nil, fmt.Errorf("%w: %.100q", ErrNotFound, oid)
	}
	return found.GetValue(), nil
}
