package core

// A replica whose log or checkpoint is damaged is one that may have lost what it acknowledged: it recovers (recovery.go).
// What storage has stays as it is until the log that replaces it is whole, whatever comes by a checkpoint meanwhile. So
// a crash in the middle finds the damage again, and not a log that is sound and too short.

// lacksLog reports whether what this replica may have lost is not here again: it recovers, or it is leaving, and fetches
// what those who stay may still need of it.
func (r *Replica) lacksLog() bool {
	return r.status == StatusRecovering || r.status == StatusLeaving && r.behind()
}

// logChanged reports whether storage has to change its log.
func (r *Replica) logChanged() bool {
	if r.renew {
		return !r.lacksLog()
	}
	return r.log.unstable <= r.log.last() || r.log.unstable <= r.log.persisted || r.compacted > 0
}

// changeLog says how storage has to change its log.
func (r *Replica) changeLog(ready *Ready) {
	switch {
	case !r.logChanged():
	case r.renew:
		base := r.log.base
		ready.Replace, ready.Entries = &base, r.log.slice(base.Op+1, r.log.last())
	default:
		ready.TruncateBelow = r.compacted
		if r.log.unstable <= r.log.persisted {
			ready.Truncate, ready.TruncateAbove = true, r.log.unstable-1
		}
		if r.log.unstable <= r.log.last() {
			ready.Entries = r.log.slice(r.log.unstable, r.log.last())
		}
	}
}
