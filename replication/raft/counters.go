package raft

import (
	"strings"
	"sync/atomic"

	"github.com/viewline/viewline/internal/latency"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// counters are totals since Open, by the names that the other backend has for the same. The fsyncs are the storage's. Nothing
// here takes a lock or allocates until somebody asks.
type counters struct {
	sent, received                   kindCounts
	refusedMalformed, refusedLife    atomic.Uint64
	messagesDropped                  atomic.Uint64
	viewChanges                      [viewChangeReasons]atomic.Uint64
	entriesPersisted                 atomic.Uint64
	durableWrites                    latency.Distribution
	operationsApplied, overloads     atomic.Uint64
	epochsEntered                    atomic.Uint64
	reconfigurations                 [changeOutcomes]atomic.Uint64
	handovers                        [outcomes]atomic.Uint64
	checkpointsBegun, checkpoints    atomic.Uint64
	checkpointBytes                  atomic.Uint64
	serves, serveBytes               atomic.Uint64
	fetchesBegun, fetches            atomic.Uint64
	fetchesFailed, fetchBytes        atomic.Uint64
	fetchDone, fetchTotal            atomic.Uint64 // of the one that is under way; 0 of 0 when none is
	readsByRound                     atomic.Uint64
	staleAtOnce, staleWaited         atomic.Uint64
	staleTooOld                      atomic.Uint64
	termHeard, commitHeard, lastTerm atomic.Uint64 // the largest ones
	asked                            atomic.Bool   // the leader has asked for an election that is not begun yet
}

// changeOutcome is how a change of the members or a handover ended that this replica was asked for.
type changeOutcome uint8

const (
	outcomeRefused changeOutcome = iota
	outcomeDone
	outcomeOvertaken
	outcomeUnknown
	changeOutcomes
	// These are of handovers only.
	outcomeBehind = iota - 1
	outcomeCancelled
	outcomes
)

// String returns the outcome as a label.
func (o changeOutcome) String() string {
	return [outcomes]string{"refused", "done", "overtaken", "unknown", "behind", "cancelled"}[o]
}

// viewChangeReason is why a replica went to a later term.
type viewChangeReason uint8

const (
	// primaryLost: it stands for election.
	primaryLost viewChangeReason = iota
	// higherView: another replica was in that term already.
	higherView
	// handedOver: it stands because the leader has asked it to.
	handedOver
	// firstView: there was none before.
	firstView
	viewChangeReasons
)

// String returns the reason as a label.
func (r viewChangeReason) String() string {
	return [viewChangeReasons]string{"primary_lost", "higher_view", "handover", "first_view"}[r]
}

// entersTerm is told of each term that the library keeps.
func (c *counters) entersTerm(term uint64) {
	before := c.lastTerm.Swap(term)
	reason := primaryLost
	switch {
	case term <= before:
		return
	case before <= 1: // 1 is where the log begins
		reason = firstView
	case term <= c.termHeard.Load():
		reason = higherView
	case c.asked.Load():
		reason = handedOver
	}
	c.asked.Store(false)
	c.viewChanges[reason].Add(1)
}

// hears notes what a message tells of terms and commits. A pre-vote names a term that nobody is in.
func (c *counters) hears(m *pb.RaftMessage) {
	switch m.GetKind() {
	case pb.RaftKind_RAFT_KIND_PRE_VOTE, pb.RaftKind_RAFT_KIND_ASK, pb.RaftKind_RAFT_KIND_READ:
	case pb.RaftKind_RAFT_KIND_TIMEOUT_NOW:
		c.asked.Store(!m.GetAnswer())
	default:
		raise(&c.termHeard, m.GetTerm())
		raise(&c.commitHeard, m.GetCommit())
	}
}

func raise(largest *atomic.Uint64, value uint64) {
	for before := largest.Load(); before < value && !largest.CompareAndSwap(before, value); before = largest.Load() {
	}
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
		"messages_refused":             c.refusedMalformed.Load() + c.refusedLife.Load(),
		"messages_dropped":             c.messagesDropped.Load(),
		"view_changes":                 viewChanges,
		"entries_persisted":            c.entriesPersisted.Load(),
		"operations_applied":           c.operationsApplied.Load(),
		"checkpoints":                  c.checkpoints.Load(),
		"checkpoint_fetches":           c.fetches.Load(),
		"checkpoint_fetch_done_bytes":  c.fetchDone.Load(),
		"checkpoint_fetch_total_bytes": c.fetchTotal.Load(),
		"overloads":                    c.overloads.Load(),
	}
}

// describe adds what Status does not have.
func (c *counters) describe(values map[string]uint64) {
	for _, count := range []struct {
		name  string
		value *atomic.Uint64
	}{
		{"messages_refused.malformed", &c.refusedMalformed},
		{"messages_refused.stale_incarnation", &c.refusedLife},
		{"checkpoints_begun", &c.checkpointsBegun},
		{"checkpoint_bytes", &c.checkpointBytes},
		{"checkpoint_serves", &c.serves},
		{"checkpoint_serve_bytes", &c.serveBytes},
		{"checkpoint_fetches_begun", &c.fetchesBegun},
		{"checkpoint_fetches_failed", &c.fetchesFailed},
		{"checkpoint_fetch_bytes", &c.fetchBytes},
		{"reads.round", &c.readsByRound},
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
	for outcome := range changeOutcomes {
		values["reconfigurations."+outcome.String()] = c.reconfigurations[outcome].Load()
	}
	for outcome := range changeOutcome(outcomes) {
		values["handovers."+outcome.String()] = c.handovers[outcome].Load()
	}
	c.sent.describe(values, "sent")
	c.received.describe(values, "received")
}

// Measure implements replication.Measurer.
func (r *Replica) Measure() replication.Measures {
	c := &r.counters
	values := c.all()
	c.describe(values)
	values["fsyncs"] = r.options.Storage.Syncs()
	values["queue_operations"], values["queue_operation_bytes"] = r.queue.load()
	values["queue_reads"], values["queue_stale_reads"] = r.rounds.load(), r.stale.load()
	messages, bytes := r.rpc.requests.load()
	heartbeats, more := r.rpc.heartbeats.load()
	values["queue_messages"], values["queue_message_bytes"] = messages+heartbeats, bytes+more
	values["epoch"], values["learners"] = r.Membership().Epoch, r.rpc.hearing.askers()
	applied := r.raft.AppliedIndex()
	heard := max(c.commitHeard.Load(), r.raft.CommitIndex(), applied)
	values["commit_heard"], values["lag"] = heard, heard-applied
	return replication.Measures{Values: values, Histograms: map[string]replication.Histogram{"durable_write_seconds": c.durableWrites.Histogram()}}
}

// kinds are those of messages, from 0 for what is not known.
const kinds = pb.RaftKind_RAFT_KIND_READ + 1

// kindCounts count messages and their bytes by kind, calls and their answers.
type kindCounts [kinds]struct{ calls, answers counted }

type counted struct{ messages, bytes atomic.Uint64 }

func (c *kindCounts) add(m *pb.RaftMessage, bytes int) {
	kind := m.GetKind()
	if kind < 0 || kind >= kinds {
		kind = 0
	}
	of := &c[kind].calls
	if m.GetAnswer() {
		of = &c[kind].answers
	}
	of.messages.Add(1)
	of.bytes.Add(uint64(bytes))
}

func (c *kindCounts) total() (messages, bytes uint64) {
	for kind := range c {
		for _, of := range []*counted{&c[kind].calls, &c[kind].answers} {
			messages += of.messages.Load()
			bytes += of.bytes.Load()
		}
	}
	return messages, bytes
}

func (c *kindCounts) describe(values map[string]uint64, direction string) {
	for kind := range c {
		name := "unknown"
		if kind > 0 {
			name = strings.TrimPrefix(pb.RaftKind(kind).String(), "RAFT_KIND_")
		}
		values["messages_"+direction+"."+name] = c[kind].calls.messages.Load()
		values["bytes_"+direction+"."+name] = c[kind].calls.bytes.Load()
		values["messages_"+direction+"."+name+"_ANSWER"] = c[kind].answers.messages.Load()
		values["bytes_"+direction+"."+name+"_ANSWER"] = c[kind].answers.bytes.Load()
	}
}
