package core

// A primary need not wait for its own disk: an operation is committed when f+1 replicas have it on theirs, whoever they are.
// So what a primary only appends may be written behind its back, while the next operations are on their way to the
// backups, and counts when it is durable (docs/DIVERGENCE.md). A replica that crashes before that lacks what it had as a
// primary and nobody counted; it never goes on in that view, as always. Whatever else a replica is to write or to promise
// waits for all that is written behind.

// deferral is a Ready that was deferred: its entries, by the number that Defer gave it.
type deferral struct {
	number uint64
	first  OpNumber
}

// deferrable reports whether a Ready may be deferred: nothing in it promises anything but a primary's own entries.
func (r *Replica) deferrable(ready *Ready, promised bool) bool {
	if r.primary == nil || !ready.MustSync || promised || len(ready.Entries) == 0 || ready.Truncate || ready.TruncateBelow > 0 || ready.Replace != nil {
		return false
	}
	return !hasPromise(ready.Messages)
}

// hasPromise reports whether a message waits for the disk.
func hasPromise(messages []Outgoing) bool {
	for i := range messages {
		if !messages[i].BeforePersist {
			return true
		}
	}
	return false
}

// Defer is Advance for a Ready that is Deferrable: storage has been given its entries, and keeps them after everything that
// it was given before and before everything that it is given later. The entries stay storage's until they are durable.
// Durable tells of that, by the number that Defer returns, which is larger each time.
func (r *Replica) Defer() uint64 {
	if !r.ready || r.failure != nil {
		return r.deferrals
	}
	r.deferrals++
	r.deferred = append(r.deferred, deferral{number: r.deferrals, first: r.log.unstable})
	r.advance()
	return r.deferrals
}

// Durable says that the Readies up to this number are durable which were deferred. What is known already changes nothing.
func (r *Replica) Durable(number uint64) {
	done := 0
	for done < len(r.deferred) && r.deferred[done].number <= number {
		done++
	}
	if done == 0 || r.failure != nil {
		return
	}
	r.deferred = r.deferred[done:]
	if r.primary != nil {
		r.primary.durable = r.durableTo()
		r.countAcknowledged()
	}
	r.settleStale()
	r.advanceHandover()
	r.checkInvariants()
}

// durableTo is up to where storage certainly has this log, as it is here.
func (r *Replica) durableTo() OpNumber {
	op := r.log.persisted
	if r.log.unstable <= op {
		op = r.log.unstable - 1
	}
	if len(r.deferred) > 0 && !r.config.Omit.Has(RuleOwnLogDurable) {
		op = min(op, r.deferred[0].first-1)
	}
	return op
}
