package shardserver

import (
	"errors"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// readKind says what a read promises.
type readKind uint8

const (
	// forUpdate: a committed version, the newest that this primary knows; the transaction validates it later.
	forUpdate readKind = iota + 1
	// latest: linearizable for each of its objects.
	latest
	// asOf: every committed version up to a timestamp, and none of them later.
	asOf
)

// reading is a read on its way. Its steps follow each other; each is taken by whoever ends the one before.
// Those that need the history are functions with mu held that return what to do when mu is free.
type reading struct {
	server *Server
	call   *call
	kind   readKind
	oids   []string
	ts     txn.Timestamp // of an asOf
	// lead is the one under which the read began. Snapshot stamps and in-flight list belong to it, so the read
	// may be answered under no other.
	lead *lead
}

// read serves a ReadRequest.
func (s *Server) read(c *call, request *pb.ReadRequest) {
	oids, err := parseOIDs(request.GetOids())
	if err != nil {
		c.failArgument(err)
		return
	}
	r := &reading{server: s, call: c, oids: oids}
	switch request.GetMode() {
	case pb.ReadMode_READ_MODE_UPDATE:
		s.counts.updateReads.Add(1)
		r.kind = forUpdate
	case pb.ReadMode_READ_MODE_LATEST:
		s.counts.latestReads.Add(1)
		r.kind = latest
	default:
		c.fail(pb.Code_CODE_INVALID_ARGUMENT, "a read has mode %d", request.GetMode())
		return
	}
	r.step(r.begin)
}

// snapshotRead serves a SnapshotRequest.
func (s *Server) snapshotRead(c *call, request *pb.SnapshotRequest) {
	oids, err := parseOIDs(request.GetOids())
	switch {
	case err != nil:
		c.failArgument(err)
		return
	case request.GetTimestamp() == 0:
		c.fail(pb.Code_CODE_INVALID_ARGUMENT, "a snapshot has no timestamp")
		return
	}
	s.counts.snapshotReads.Add(1)
	r := &reading{server: s, call: c, kind: asOf, oids: oids, ts: txn.Timestamp(request.GetTimestamp())}
	s.bounds.check(c, r.ts, func() { r.step(r.begin) })
}

// step takes one step and does what it returns.
func (r *reading) step(take func() func()) {
	r.server.mu.Lock()
	then := take()
	r.server.mu.Unlock()
	then()
}

// begin takes the current lead. A snapshot read raises the snapshot stamps of its objects before it looks at
// anything, so that no transaction at or below its timestamp can pass pre-validation unseen any more.
func (r *reading) begin() func() {
	s := r.server
	lead, serving := s.serving()
	if !serving {
		return r.call.failNotServing
	}
	if refusal := s.refuseUnserved(r.call, r.oids); refusal != nil {
		return refusal
	}
	r.lead = lead
	switch r.kind {
	case forUpdate:
		return r.settle()
	case asOf:
		s.front.RaiseSnapStamps(r.oids, r.ts)
	case latest:
	}
	return r.confirm
}

// confirm has the group confirm that this replica is still its primary now, after the read began and its
// stamps were raised. Once is enough, however long the read waits afterwards: a later primary fetches its floor
// after this round, so whatever it lets prepare lies above the snapshot, and what may still commit below is on the
// lines of this replica already.
func (r *reading) confirm() {
	r.server.replicator.ReadBarrier(r.lead.view, func(err error) {
		switch {
		case err == nil:
			r.step(r.settle)
		case errors.Is(err, replication.ErrOverloaded):
			r.call.failReplication(err)
		default:
			r.call.failNotServing()
		}
	})
}

// settle waits for those who write the objects and may still commit under the read, and reads if there are
// none. Whoever comes later is no concern of the read: it is refused by the snapshot stamps, or began after a
// latest read, or is found by validation.
func (r *reading) settle() func() {
	s := r.server
	if !r.leads() {
		return r.call.failNotServing
	}
	var blockers []txn.Attempt
	if r.kind == asOf {
		blockers = s.front.BlockersAt(r.oids, r.ts)
	} else {
		blockers = s.front.Blockers(r.oids)
	}
	if len(blockers) == 0 {
		return r.finish()
	}
	until := time.Time{}
	if r.kind == forUpdate {
		until = time.Now().Add(s.options.ReadWait)
	}
	if !s.park(r.call, blockers, until, func() { r.step(r.finish) }) {
		return r.call.failWaits
	}
	return func() {}
}

// leads reports whether the lead under which the read began is still the current one.
func (r *reading) leads() bool {
	lead, serving := r.server.serving()
	return serving && lead == r.lead
}

// finish reads, and answers if the lead is still the one under which the read began: looked at in the same
// step as the values.
func (r *reading) finish() func() {
	if !r.leads() {
		return r.call.failNotServing
	}
	state := r.server.state
	values, size := make([]*pb.Value, len(r.oids)), 0
	for i, oid := range r.oids {
		value, err := history.Value{}, error(nil)
		if r.kind == asOf {
			value, err = state.ReadAt(oid, r.ts)
		} else {
			value = state.Read(oid)
		}
		if err != nil {
			return r.failTooOld(err)
		}
		if size += len(value.Value); size > r.server.options.ReplyBytesMax {
			return r.failTooLarge(size)
		}
		values[i] = &pb.Value{Present: value.Present, Value: value.Value, Version: uint64(value.Version)}
	}
	if r.kind == asOf {
		return func() {
			r.call.answer(&pb.Response{Body: &pb.Response_Snapshot{Snapshot: &pb.SnapshotResponse{Values: values}}})
		}
	}
	at := uint64(state.Applied())
	return func() {
		r.call.answer(&pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values, At: at}}})
	}
}

func (r *reading) failTooOld(err error) func() {
	return func() {
		r.server.counts.snapshotsTooOld.Add(1)
		r.call.fail(pb.Code_CODE_SNAPSHOT_TOO_OLD, "timestamp %d: %v", r.ts, err)
	}
}

func (r *reading) failTooLarge(size int) func() {
	limit := uint64(r.server.options.ReplyBytesMax)
	return func() {
		r.call.failArgument(&txn.LimitError{Name: "bytes of a read's values", Limit: limit, Actual: uint64(size)})
	}
}

// refuseUnserved returns how to refuse a request for objects that the shard does not serve, nil if it serves
// them all. Called with mu held.
func (s *Server) refuseUnserved(c *call, oids []string) func() {
	mapVersion, owned := s.state.Owned()
	if !owned {
		return func() { c.fail(pb.Code_CODE_UNAVAILABLE, "shard %d has not been given its slots yet", s.options.Shard) }
	}
	for _, oid := range oids {
		if !s.state.Owns(oid) {
			return func() { c.failWrongShard(oid, mapVersion) }
		}
	}
	return nil
}

// failWrongShard names one object that the shard does not serve, and the map by which it was given its slots.
func (c *call) failWrongShard(oid string, mapVersion uint64) {
	c.server.counts.wrongShard.Add(1)
	c.answerError(&pb.Error{
		Code: pb.Code_CODE_WRONG_SHARD, MapVersion: mapVersion,
		Message: "shard " + c.server.shardName() + " does not serve " + quoted(oid),
	})
}
