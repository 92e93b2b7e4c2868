package raft

import (
	"errors"
	"sync/atomic"

	"github.com/viewline/viewline/replication"
)

// counters are totals since Open, by the names that the other backend has for the same.
type counters struct {
	messagesSent, bytesSent, messagesReceived, bytesReceived      atomic.Uint64
	messagesRefused, messagesDropped                              atomic.Uint64
	elections, operationsApplied, overloads                       atomic.Uint64
	epochsEntered, reconfigurationsRefused                        atomic.Uint64
	reconfigurationsDone, reconfigurationsUnknown                 atomic.Uint64
	checkpoints, checkpointBytes                                  atomic.Uint64
	checkpointServes, checkpointServeBytes                        atomic.Uint64
	fetchesBegun, fetches, fetchesFailed, fetchBytes, readsRounds atomic.Uint64
}

// all are the totals of Status.
func (c *counters) all() map[string]uint64 {
	values := map[string]uint64{}
	for _, count := range []struct {
		name  string
		value *atomic.Uint64
	}{
		{"messages_sent", &c.messagesSent},
		{"messages_received", &c.messagesReceived},
		{"bytes_sent", &c.bytesSent},
		{"bytes_received", &c.bytesReceived},
		{"messages_refused", &c.messagesRefused},
		{"messages_dropped", &c.messagesDropped},
		{"view_changes", &c.elections},
		{"operations_applied", &c.operationsApplied},
		{"overloads", &c.overloads},
		{"checkpoints", &c.checkpoints},
		{"checkpoint_bytes", &c.checkpointBytes},
		{"checkpoint_serves", &c.checkpointServes},
		{"checkpoint_serve_bytes", &c.checkpointServeBytes},
		{"checkpoint_fetches_begun", &c.fetchesBegun},
		{"checkpoint_fetches", &c.fetches},
		{"checkpoint_fetches_failed", &c.fetchesFailed},
		{"checkpoint_fetch_bytes", &c.fetchBytes},
		{"reads.round", &c.readsRounds},
		{"epochs_entered", &c.epochsEntered},
		{"reconfigurations.refused", &c.reconfigurationsRefused},
		{"reconfigurations.done", &c.reconfigurationsDone},
		{"reconfigurations.unknown", &c.reconfigurationsUnknown},
	} {
		values[count.name] = count.value.Load()
	}
	return values
}

// reconfigured counts how a change of the members ended.
func (c *counters) reconfigured(err error) {
	switch {
	case err == nil:
		c.reconfigurationsDone.Add(1)
	case errors.Is(err, replication.ErrOutcomeUnknown):
		c.reconfigurationsUnknown.Add(1)
	default:
		c.reconfigurationsRefused.Add(1)
	}
}
