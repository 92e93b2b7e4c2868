package vr

import "sync/atomic"

// counters are totals since Open. The fsyncs are the storage's.
type counters struct {
	messagesSent, messagesReceived, bytesSent, bytesReceived atomic.Uint64
	messagesRefused, messagesDropped                         atomic.Uint64
	viewChanges, entriesPersisted, operationsApplied         atomic.Uint64
	checkpoints, checkpointFetches, overloads                atomic.Uint64
}

func (c *counters) all() map[string]uint64 {
	return map[string]uint64{
		"messages_sent":      c.messagesSent.Load(),
		"messages_received":  c.messagesReceived.Load(),
		"bytes_sent":         c.bytesSent.Load(),
		"bytes_received":     c.bytesReceived.Load(),
		"messages_refused":   c.messagesRefused.Load(),
		"messages_dropped":   c.messagesDropped.Load(),
		"view_changes":       c.viewChanges.Load(),
		"entries_persisted":  c.entriesPersisted.Load(),
		"operations_applied": c.operationsApplied.Load(),
		"checkpoints":        c.checkpoints.Load(),
		"checkpoint_fetches": c.checkpointFetches.Load(),
		"overloads":          c.overloads.Load(),
	}
}
