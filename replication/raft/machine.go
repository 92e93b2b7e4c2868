package raft

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// stateVersion is the first byte of a snapshot's state; the state machine's own bytes follow.
const stateVersion = 1

// outcome is what the machine tells who proposed a command.
type outcome struct {
	value []byte
	// stale: it stands under another term than the one it was proposed in, and so has no effect.
	stale bool
	// failed is why it may not have been applied here.
	failed error
}

// machine is the hraft.FSM of a state machine. When that breaks its contract nothing more is applied.
type machine struct {
	inner    replication.StateMachine
	counters *counters
	fail     func(error)
	// due is told that enough was applied for a snapshot.
	due                func()
	every, bytes       uint64
	failed             atomic.Pointer[error]
	applied            atomic.Uint64 // index of the last entry that came
	sinceEvery, sinceB uint64        // what was applied since the last snapshot; of the library's goroutine
}

var _ hraft.BatchingFSM = (*machine)(nil)

// broken ends the replica, and everything that comes after is not applied.
func (m *machine) broken(err error) error {
	m.failed.CompareAndSwap(nil, &err)
	m.fail(err)
	return err
}

// brokenBy is why nothing is applied any more, or nil.
func (m *machine) brokenBy() error {
	if why := m.failed.Load(); why != nil {
		return *why
	}
	return nil
}

// Apply applies one entry.
func (m *machine) Apply(log *hraft.Log) any { return m.ApplyBatch([]*hraft.Log{log})[0] }

// ApplyBatch applies what is committed: runs of commands without a gap between them.
func (m *machine) ApplyBatch(logs []*hraft.Log) []any {
	results := make([]any, len(logs))
	for begin := 0; begin < len(logs); {
		end := begin + 1
		if isCommand(logs[begin]) {
			for end < len(logs) && isCommand(logs[end]) && logs[end].Index == logs[end-1].Index+1 {
				end++
			}
			m.run(logs[begin:end], results[begin:end])
		} else if logs[begin].Type == hraft.LogCommand {
			results[begin] = outcome{stale: true, failed: m.brokenBy()}
		}
		begin = end
	}
	if len(logs) > 0 && m.brokenBy() == nil {
		m.applied.Store(logs[len(logs)-1].Index)
	}
	if m.sinceEvery >= m.every || m.sinceB >= m.bytes {
		m.sinceEvery, m.sinceB = 0, 0
		m.due()
	}
	return results
}

// isCommand: the entry is an operation, and of the view that it stands in.
func isCommand(log *hraft.Log) bool { return log.Type == hraft.LogCommand && inItsView(log) }

// run applies one run of commands.
func (m *machine) run(logs []*hraft.Log, results []any) {
	if err := m.brokenBy(); err != nil {
		for i := range results {
			results[i] = outcome{failed: err}
		}
		return
	}
	operations := make([][]byte, len(logs))
	for i, log := range logs {
		operations[i] = log.Data
		m.sinceB += uint64(len(log.Data))
	}
	m.sinceEvery += uint64(len(logs))
	values := m.inner.Apply(replication.OpNumber(logs[0].Index), operations)
	if len(values) != len(operations) {
		err := m.broken(fmt.Errorf("%w: %d results for %d operations", errStateMachine, len(values), len(operations)))
		for i := range results {
			results[i] = outcome{failed: err}
		}
		return
	}
	for i, value := range values {
		results[i] = outcome{value: value}
	}
	m.counters.operationsApplied.Add(uint64(len(logs)))
}

// Snapshot captures the state.
func (m *machine) Snapshot() (hraft.FSMSnapshot, error) {
	if err := m.brokenBy(); err != nil {
		return nil, err
	}
	inner, err := m.inner.Snapshot()
	if err != nil {
		return nil, m.broken(fmt.Errorf("%w: snapshot: %w", errStateMachine, err))
	}
	m.sinceEvery, m.sinceB = 0, 0
	return &captured{machine: m, inner: inner}, nil
}

// captured is a state that is to be written.
type captured struct {
	machine *machine
	inner   replication.Snapshot
}

// Persist writes it. An error of the state machine ends the replica; one of the disk is the disk's affair.
func (c *captured) Persist(to hraft.SnapshotSink) error {
	_, err := to.Write([]byte{stateVersion})
	if err == nil {
		_, err = c.inner.WriteTo(to)
	}
	k, ours := to.(*sink)
	switch {
	case err == nil:
		if err = to.Close(); err == nil && ours {
			c.machine.counters.checkpoints.Add(1)
			c.machine.counters.checkpointBytes.Add(uint64(k.meta.Size))
		}
		return err
	case ours && k.broken == nil:
		err = c.machine.broken(fmt.Errorf("%w: write the state: %w", errStateMachine, err))
	}
	return errors.Join(err, to.Cancel())
}

// Release lets the state go.
func (c *captured) Release() { c.inner.Release() }

// Restore replaces the state. After an error the machine is of no use.
func (m *machine) Restore(from io.ReadCloser) (err error) {
	if err := m.brokenBy(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	var version [1]byte
	if _, err := io.ReadFull(from, version[:]); err != nil || version[0] != stateVersion {
		return m.broken(fmt.Errorf("%w: a state of version %d (%w)", ErrDamaged, version[0], err))
	}
	if err := m.inner.Restore(from); err != nil {
		return m.broken(fmt.Errorf("raft: restore the state: %w", err))
	}
	// The end of the stream is where its checksums are complete.
	if rest, err := io.Copy(io.Discard, from); err != nil {
		return m.broken(fmt.Errorf("raft: restore the state: %w", err))
	} else if rest > 0 {
		return m.broken(fmt.Errorf("%w: Restore left %d bytes of the state", errStateMachine, rest))
	}
	return nil
}
