package vr

import (
	"sync/atomic"

	"github.com/viewline/viewline/internal/latency"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// counters are totals since Open. The fsyncs are the storage's. Nothing here takes a lock or allocates until
// somebody asks.
type counters struct {
	sent, received               kindCounts
	refused                      refusals
	messagesDropped              atomic.Uint64
	viewChanges                  [viewChangeReasons]atomic.Uint64
	entriesPersisted             atomic.Uint64
	durableWrites                latency.Distribution
	operationsApplied, overloads atomic.Uint64
	// Checkpoints of this replica's own state, those fetched from others, and those that others fetched here.
	checkpointsBegun, checkpoints, checkpointBytes   atomic.Uint64
	fetchesBegun, fetches, fetchesFailed, fetchBytes atomic.Uint64
	serves, serveBytes                               atomic.Uint64
	// What became of the fetches on the way: gone on with, given up for a newer one, chunks refused; and how far the one
	// is that is under way, 0 of 0 when none is.
	fetchResumes, fetchesReplaced, chunksRefused atomic.Uint64
	fetchDone, fetchTotal                        atomic.Uint64
	// Transfers of log entries: state transfers as far as they need no checkpoint.
	transfersBegun, transfersEnded, transferEntries atomic.Uint64
	// handovers are those that this replica was asked for, by outcome; 0: refused.
	handovers [core.HandoverUnknown + 1]atomic.Uint64
	// reconfigurations are those that this replica was asked for, by outcome; 0: refused. epochsEntered are by whatever way.
	reconfigurations [core.ReconfigurationUnknown + 1]atomic.Uint64
	epochsEntered    atomic.Uint64
	// damages are the damaged parts that were found in the storage, repairs the recoveries from them that are over.
	damages, repairs atomic.Uint64
	// forced is how often an operator had it start from what it had, over all its lives.
	forced atomic.Uint64
	// Reads that were answered, by a lease and by a round, and leases granted to primaries.
	readsByLease, readsByRound, leasesGranted atomic.Uint64
	// Stale reads that were answered by what was known already, answered after waiting, and given up.
	staleAtOnce, staleWaited, staleTooOld atomic.Uint64
	// commitHeard is the largest commit-number heard of.
	commitHeard atomic.Uint64
}

// all are the totals of Status.
func (c *counters) all() map[string]uint64 {
	sent, bytesSent := c.sent.total()
	received, bytesReceived := c.received.total()
	viewChanges := uint64(0)
	for reason := range c.viewChanges {
		viewChanges += c.viewChanges[reason].Load()
	}
	return map[string]uint64{
		"messages_sent":                sent,
		"messages_received":            received,
		"bytes_sent":                   bytesSent,
		"bytes_received":               bytesReceived,
		"messages_refused":             c.refused.total(),
		"messages_dropped":             c.messagesDropped.Load(),
		"view_changes":                 viewChanges,
		"entries_persisted":            c.entriesPersisted.Load(),
		"operations_applied":           c.operationsApplied.Load(),
		"checkpoints":                  c.checkpoints.Load(),
		"checkpoint_fetches":           c.fetches.Load(),
		"checkpoint_fetch_resumes":     c.fetchResumes.Load(),
		"checkpoint_fetch_done_bytes":  c.fetchDone.Load(),
		"checkpoint_fetch_total_bytes": c.fetchTotal.Load(),
		"overloads":                    c.overloads.Load(),
		"damages":                      c.damages.Load(),
		"repairs":                      c.repairs.Load(),
		"forced":                       c.forced.Load(),
	}
}

// Measure implements replication.Measurer.
func (r *Replica) Measure() replication.Measures {
	c := &r.counters
	values := c.all()
	values["fsyncs"] = r.options.Storage.Syncs()
	for _, count := range []struct {
		name  string
		value *atomic.Uint64
	}{
		{"checkpoints_begun", &c.checkpointsBegun},
		{"checkpoint_bytes", &c.checkpointBytes},
		{"checkpoint_fetches_begun", &c.fetchesBegun},
		{"checkpoint_fetches_failed", &c.fetchesFailed},
		{"checkpoint_fetch_bytes", &c.fetchBytes},
		{"checkpoint_fetches_replaced", &c.fetchesReplaced},
		{"checkpoint_chunks_refused", &c.chunksRefused},
		{"checkpoint_serves", &c.serves},
		{"checkpoint_serve_bytes", &c.serveBytes},
		{"transfers_begun", &c.transfersBegun},
		{"transfers_ended", &c.transfersEnded},
		{"transfer_entries", &c.transferEntries},
		{"reads.lease", &c.readsByLease},
		{"reads.round", &c.readsByRound},
		{"leases_granted", &c.leasesGranted},
		{"stale_reads.at_once", &c.staleAtOnce},
		{"stale_reads.waited", &c.staleWaited},
		{"stale_reads.too_old", &c.staleTooOld},
		{"epochs_entered", &c.epochsEntered},
	} {
		values[count.name] = count.value.Load()
	}
	for reason := range viewChangeReasons {
		values["view_changes."+reason.String()] = c.viewChanges[reason].Load()
	}
	for outcome := range c.handovers {
		values["handovers."+handoverLabel(core.HandoverOutcome(outcome))] = c.handovers[outcome].Load()
	}
	for outcome := range c.reconfigurations {
		values["reconfigurations."+reconfigurationLabel(core.ReconfigurationOutcome(outcome))] = c.reconfigurations[outcome].Load()
	}
	c.sent.describe(values, "sent")
	c.received.describe(values, "received")
	c.refused.describe(values)
	r.mailbox.describe(values)
	values["checkpoints_held"] = uint64(r.serving.count())
	r.mu.Lock()
	applied, transferring, lease := uint64(r.status.Applied), r.status.Transferring, r.lease
	values["epoch"], values["learners"] = uint64(r.status.Epoch), uint64(r.status.Learners)
	r.mu.Unlock()
	heard := max(c.commitHeard.Load(), applied)
	values["commit_heard"], values["lag"] = heard, heard-applied
	if age, known := r.age(); known {
		values["state_age_milliseconds"] = uint64(age.Milliseconds())
	}
	values["transferring"], values["lease"] = oneIf(transferring), oneIf(lease)
	return replication.Measures{Values: values, Histograms: map[string]replication.Histogram{"durable_write_seconds": c.durableWrites.Histogram()}}
}

func oneIf(so bool) uint64 {
	if so {
		return 1
	}
	return 0
}

// countReads counts so many reads that were answered together.
func (c *counters) countReads(answer core.Read, count int) {
	switch {
	case answer.Lease:
		c.readsByLease.Add(uint64(count))
	case answer.OK:
		c.readsByRound.Add(uint64(count))
	}
}

func (c *counters) countGrant(m *core.Message) {
	if m.Kind == core.KindCommitOK && m.Lease > 0 {
		c.leasesGranted.Add(1)
	}
}

// describe adds what waits. Operations and reads count until they are answered.
func (m *mailbox) describe(values map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	values["queue_operations"], values["queue_operation_bytes"] = uint64(m.operations), uint64(m.operationBytes)
	values["queue_reads"], values["queue_stale_reads"] = uint64(m.reads), uint64(m.stale)
	values["queue_messages"], values["queue_message_bytes"] = uint64(len(m.work.messages)), uint64(m.messageBytes)
}

// lastKind is the last kind of message that is known here.
const lastKind = core.KindNewCommitted

// kindCounts count messages and their bytes by kind; 0 stands for what is not known, which the core refuses.
type kindCounts [lastKind + 1]struct{ messages, bytes atomic.Uint64 }

func (c *kindCounts) add(kind core.Kind, bytes int) {
	if kind > lastKind {
		kind = 0
	}
	c[kind].messages.Add(1)
	c[kind].bytes.Add(uint64(bytes))
}

func (c *kindCounts) total() (messages, bytes uint64) {
	for kind := range c {
		messages += c[kind].messages.Load()
		bytes += c[kind].bytes.Load()
	}
	return messages, bytes
}

func (c *kindCounts) describe(values map[string]uint64, direction string) {
	for kind := range c {
		name := "unknown"
		if kind > 0 {
			name = core.Kind(kind).String()
		}
		values["messages_"+direction+"."+name] = c[kind].messages.Load()
		values["bytes_"+direction+"."+name] = c[kind].bytes.Load()
	}
}

// viewChangeReason is why a replica went to a later view.
type viewChangeReason uint8

const (
	// primaryLost: a majority had lost the primary, or the view change that they were in led nowhere.
	primaryLost viewChangeReason = iota
	// higherView: another replica was in that view already.
	higherView
	// ownRestart: the replica was its old view's primary when it stopped, and never goes on in that view.
	ownRestart
	// overtaken: a checkpoint from another replica had other operations than this primary's log.
	overtaken
	// handedOver: this primary left its view to hand its role over.
	handedOver
	// firstView: there was none before.
	firstView
	// newEpoch: an epoch has begun, in a view of its own.
	newEpoch
	viewChangeReasons
)

// String returns the reason as a label.
func (r viewChangeReason) String() string {
	return [viewChangeReasons]string{
		primaryLost: "primary_lost", higherView: "higher_view", ownRestart: "restart", overtaken: "overtaken", handedOver: "handover",
		firstView: "first_view", newEpoch: "epoch",
	}[r]
}

// whyStepped is why a message that was handled may have brought a later view.
func whyStepped(kind core.Kind) viewChangeReason {
	if kind == core.KindProbeOK {
		return primaryLost // it made a majority
	}
	return higherView
}
