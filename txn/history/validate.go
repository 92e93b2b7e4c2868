package history

import "github.com/viewline/viewline/txn"

// obstacle is why an attempt cannot prepare: the rule that forbids it, every object for which it does, and
// the first transaction in the way, as far as known. The zero obstacle forbids nothing.
type obstacle struct {
	reason txn.Reason
	oids   []string
	other  txn.Attempt
}

// weight orders the reasons of one validation. What sends the caller back to run its function again weighs
// more than what a new timestamp would heal, since the new attempt would meet it again.
func weight(reason txn.Reason) int {
	switch reason {
	case txn.StaleRead:
		return 4
	case txn.ConflictWithPrepared:
		return 3
	case txn.NeedsNewerTimestamp:
		return 2
	case txn.ReadByLater:
		return 1
	default:
		return 0
	}
}

// add notes one more finding; only those of the weightiest reason are kept.
func (o *obstacle) add(reason txn.Reason, oid string, other txn.Attempt) {
	switch {
	case weight(reason) < weight(o.reason):
	case reason == o.reason:
		if o.oids[len(o.oids)-1] != oid {
			o.oids = append(o.oids, oid)
		}
	default:
		*o = obstacle{reason: reason, oids: []string{oid}, other: other}
	}
}

// validation is one attempt held against what is known: in Apply against the replicated state alone, so that
// every replica finds the same; in pre-validation against the primary's front as well.
type validation struct {
	state *State
	front *Front // nil in Apply
	txn   *txn.Transaction
	found obstacle
}

// validate runs steps 2 to 4 of a PrepareTxn.
func (s *State) validate(t *txn.Transaction, front *Front) obstacle {
	if s.tooOld(t.TS) {
		return obstacle{reason: txn.TooOld}
	}
	v := validation{state: s, front: front, txn: t}
	if other, taken := v.sameTimestamp(); taken {
		return obstacle{reason: txn.NeedsNewerTimestamp, other: other}
	}
	for i := range t.Reads {
		v.checkRead(&t.Reads[i])
	}
	if s.omits(RuleStampOfWrites) {
		for i := range t.Reads {
			v.checkStamps(t.Reads[i].OID)
		}
	}
	for i := range t.Writes {
		v.checkWrite(t.Writes[i].OID)
	}
	return v.found
}

// tooOld is step 2: what was decided or read at or below these timestamps may be forgotten.
func (s *State) tooOld(ts txn.Timestamp) bool {
	return ts <= s.threshold && !s.omits(RuleThreshold) || ts <= s.floor && !s.omits(RuleFloor)
}

// sameTimestamp finds another transaction with this one's timestamp. The coordinator never issues a
// timestamp twice; if one comes twice all the same, the order of the two would be undefined.
func (v *validation) sameTimestamp() (txn.Attempt, bool) {
	if v.state.omits(RuleUniqueTimestamp) {
		return txn.Attempt{}, false
	}
	ts := v.txn.TS
	if m := firstOther(v.state.line.byTS, "", ts, ts, &v.txn.ID); m != nil {
		return m.txn.Attempt, true
	}
	if v.front != nil {
		if m := firstOther(v.front.inFlight.byTS, "", ts, ts, &v.txn.ID); m != nil {
			return m.txn.Attempt, true
		}
	}
	other, found := v.state.decisions.committedAt(ts)
	return other, found && other.ID != v.txn.ID
}

// checkRead is step 3 for one element of the ROS.
func (v *validation) checkRead(read *txn.ReadEntry) {
	s, t := v.state, v.txn
	if read.Version == 0 && s.omits(RuleAbsent) {
		return
	}
	if read.Version >= t.TS && !s.omits(RuleNeedsNewer) { // 3a
		v.found.add(txn.NeedsNewerTimestamp, read.OID, txn.Attempt{})
	}
	if stale, writer := s.stale(read, t.TS); stale { // 3b
		v.found.add(txn.StaleRead, read.OID, writer)
	}
	if !s.omits(RuleConflictWithPrepared) { // 3c
		if m := v.writerUpTo(read.OID, t.TS); m != nil {
			v.found.add(txn.ConflictWithPrepared, read.OID, m.txn.Attempt)
		}
	}
}

// stale is 3b: with b the newest Put or Delete at or below the version read, no version w, b <= w < ts, may
// lie above the version read, or have been installed after the read. The writer is named if still known.
func (s *State) stale(read *txn.ReadEntry, ts txn.Timestamp) (stale bool, writer txn.Attempt) {
	if (read.Shard != s.options.Shard || read.At > s.applied) && !s.omits(RuleReadHere) {
		return true, txn.Attempt{}
	}
	exists := false
	var unseen txn.Timestamp
	s.versions.each(read.OID, max(ts-1, read.Version), func(w version) bool {
		between := read.Version < w.ts && !s.omits(RuleStaleRead)
		late := w.installed > read.At && !s.omits(RuleInstalledAfter)
		if w.ts < ts && (between || late) {
			unseen = w.ts
		}
		exists = w.ts == read.Version
		return w.ts > read.Version && unseen == 0
	})
	if unseen != 0 {
		writer, _ = s.decisions.committedAt(unseen)
		return true, writer
	}
	return read.Version != 0 && !exists && !s.omits(RuleVersionGone), txn.Attempt{}
}

// checkWrite is step 4 for one element of the MOS.
func (v *validation) checkWrite(oid string) {
	if !v.state.omits(RuleStampOfWrites) { // 4a
		v.checkStamps(oid)
	}
	if v.state.omits(RulePreparedReader) { // 4b
		return
	}
	if m := v.readerFrom(oid, v.txn.TS); m != nil {
		v.found.add(txn.ReadByLater, oid, m.txn.Attempt)
	}
}

// checkStamps is 4a: somebody has read the object at or after this timestamp without seeing the write.
func (v *validation) checkStamps(oid string) {
	s, ts := v.state, v.txn.TS
	below := func(stamp txn.Timestamp) bool {
		return ts < stamp || ts == stamp && !s.omits(RuleStampEqual)
	}
	if stamp := s.readStamps.of(oid); below(stamp) && !s.omits(RuleReadStamp) {
		reader, _ := s.decisions.committedAt(stamp)
		v.found.add(txn.ReadByLater, oid, reader)
		return
	}
	if v.front != nil && below(v.front.snapStamps.of(oid)) && !v.front.omits(RuleSnapStamp) {
		v.found.add(txn.ReadByLater, oid, txn.Attempt{})
	}
}

// writerUpTo finds another transaction, prepared or in flight, that writes oid at or before ts.
func (v *validation) writerUpTo(oid string, ts txn.Timestamp) *member {
	if m := firstOther(v.state.line.writers, oid, 0, ts, v.self()); m != nil || !v.looksInFlight() {
		return m
	}
	return firstOther(v.front.inFlight.writers, oid, 0, ts, &v.txn.ID)
}

// readerFrom finds another transaction, prepared or in flight, that read oid at or after ts.
func (v *validation) readerFrom(oid string, ts txn.Timestamp) *member {
	latest := txn.Timestamp(^uint64(0))
	if m := firstOther(v.state.line.readers, oid, ts, latest, v.self()); m != nil || !v.looksInFlight() {
		return m
	}
	return firstOther(v.front.inFlight.readers, oid, ts, latest, &v.txn.ID)
}

func (v *validation) looksInFlight() bool {
	return v.front != nil && !v.front.omits(RuleInFlight)
}

// self is whose prepared attempts do not count: an older attempt of the same transaction is dead.
func (v *validation) self() *txn.TxnID {
	if v.state.omits(RuleTakeOffOlder) {
		return nil
	}
	return &v.txn.ID
}
