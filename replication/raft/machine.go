package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// stateVersion is the first byte of a snapshot's state; the members follow, after their length in 4 bytes in little-endian,
// and then the state machine's own bytes.
const stateVersion = 2

// outcome is what the machine tells who proposed a command.
type outcome struct {
	value []byte
	// stale: it stands under another term than the one it was proposed in, and so has no effect.
	stale bool
	// failed is why it may not have been applied here.
	failed error
	// began: it began an epoch.
	began bool
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
	applied            atomic.Uint64 // everything up to this index has come that is to come
	sinceEvery, sinceB uint64        // what was applied since the last snapshot; of the library's goroutine

	// members are those of the newest epoch that is applied; changed is told of each.
	members atomic.Pointer[membership]
	changed func()
	// configuration is the library's newest that is committed, as far as is known here; nil: none is.
	configuration atomic.Pointer[hraft.Configuration]
	// restoring is the index of the snapshot that is being restored, and its configuration.
	restoring func() (uint64, *hraft.Configuration)
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
		} else {
			results[begin] = m.other(logs[begin])
		}
		begin = end
	}
	if len(logs) > 0 && m.brokenBy() == nil {
		raise(&m.applied, logs[len(logs)-1].Index)
	}
	if m.sinceEvery >= m.every || m.sinceB >= m.bytes {
		m.sinceEvery, m.sinceB = 0, 0
		m.due()
	}
	return results
}

// isCommand: the entry is an operation, and of the view that it stands in.
func isCommand(log *hraft.Log) bool {
	return log.Type == hraft.LogCommand && inItsView(log) && log.Extensions[0] == extensionOperation
}

// other applies an entry that is no operation, or has no effect.
func (m *machine) other(log *hraft.Log) any {
	switch {
	case log.Type == hraft.LogConfiguration:
		if configuration, err := decodeConfiguration(log.Data); err == nil {
			m.configured(configuration)
		}
		return nil
	case log.Type != hraft.LogCommand:
		return nil
	case m.brokenBy() != nil:
		return outcome{failed: m.brokenBy()}
	case inItsView(log) && log.Extensions[0] == extensionMembers:
		return m.begin(log)
	default:
		return outcome{stale: true}
	}
}

// configured notes a configuration that is committed. The first one of a log says who the group began with.
func (m *machine) configured(configuration hraft.Configuration) {
	m.configuration.Store(&configuration)
	if !m.members.Load().known() {
		m.members.Store(firstOf(configuration))
	}
	m.changed()
}

// begin begins an epoch, if it is the one after the present: every replica decides that alike.
func (m *machine) begin(log *hraft.Log) any {
	next, err := decodeMembership(log.Data)
	if err != nil || next.Epoch != m.members.Load().Epoch+1 {
		return outcome{stale: true}
	}
	next.index, next.term = log.Index, log.Term
	m.members.Store(next)
	m.counters.epochsEntered.Add(1)
	m.changed()
	return outcome{began: true}
}

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
	m.counters.checkpointsBegun.Add(1)
	inner, err := m.inner.Snapshot()
	if err != nil {
		return nil, m.broken(fmt.Errorf("%w: snapshot: %w", errStateMachine, err))
	}
	m.sinceEvery, m.sinceB = 0, 0
	return &captured{machine: m, inner: inner, members: m.members.Load()}, nil
}

// captured is a state that is to be written.
type captured struct {
	machine *machine
	inner   replication.Snapshot
	members *membership
}

// Persist writes it. An error of the state machine ends the replica; one of the disk is the disk's affair.
func (c *captured) Persist(to hraft.SnapshotSink) error {
	members := c.members.encode()
	head := binary.LittleEndian.AppendUint32([]byte{stateVersion}, uint32(len(members)))
	_, err := to.Write(append(head, members...))
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
	members, err := readMembers(from)
	if err != nil {
		return m.broken(fmt.Errorf("%w: %w", ErrDamaged, err))
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
	m.members.Store(members)
	index, configuration := m.restoring()
	m.configuration.Store(configuration)
	raise(&m.applied, index)
	m.changed()
	return nil
}

// readMembers reads what a snapshot's state begins with.
func readMembers(from io.Reader) (*membership, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, fmt.Errorf("a state of nothing: %w", err)
	}
	length := binary.LittleEndian.Uint32(head[1:])
	if head[0] != stateVersion || length > membersBytesMax {
		return nil, fmt.Errorf("a state of version %d", head[0])
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(from, data); err != nil {
		return nil, fmt.Errorf("the members of a state: %w", err)
	}
	return decodeMembership(data)
}
