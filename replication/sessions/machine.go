package sessions

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// Machine is a state machine that executes each request of a session once. It takes the operations that a Client
// makes, and nothing else: any other operation has no effect and a result that says so.
type Machine struct {
	inner   replication.StateMachine
	options Options
	execute table.Execute
	table   *table.Table // belongs to whom Apply belongs to

	mu     sync.Mutex // guards counts
	counts table.Counts
}

var _ replication.StateMachine = (*Machine)(nil)

// New wraps a state machine, which is in its first state. The error is an ErrOptions.
func New(inner replication.StateMachine, options Options) (*Machine, error) {
	if inner == nil {
		return nil, fmt.Errorf("%w: no state machine", ErrOptions)
	}
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Machine{
		inner: inner, options: options, table: table.New(options.table()),
		execute: func(first uint64, operations [][]byte) [][]byte {
			return inner.Apply(replication.OpNumber(first), operations)
		},
	}, nil
}

// Apply executes those of the operations that are fresh requests and answers the others. When a contract is broken
// (op-numbers that do not rise, a machine that answers another number of operations than it was given) it returns
// no results, now and always, which stops the backend.
func (m *Machine) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	results, err := m.table.Apply(uint64(first), operations, m.execute)
	if err != nil {
		m.options.Logger.Error("the client-table stops", "first op", uint64(first), "operations", len(operations), "error", err)
	}
	m.publish()
	return results
}

// publish lets Counters see the counts.
func (m *Machine) publish() {
	counts := m.table.Counts()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts = counts
}

// Snapshot captures the table and the machine behind it.
func (m *Machine) Snapshot() (replication.Snapshot, error) {
	inner, err := m.inner.Snapshot()
	if err != nil {
		return nil, err
	}
	return &snapshot{table: m.table.Freeze(), inner: inner}, nil
}

// Restore reads what a snapshot wrote, to its end. Its own errors are ErrCheckpoint, ErrOtherOptions and those of
// the reader.
func (m *Machine) Restore(r io.Reader) error {
	buffered := bufio.NewReader(r)
	restored, err := table.Restore(m.options.table(), buffered)
	if err != nil {
		return err
	}
	if err := m.inner.Restore(buffered); err != nil {
		return err
	}
	// Whoever reads the checkpoint cannot see what is left in the buffer.
	switch _, err := buffered.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: the machine left bytes of its own", ErrCheckpoint)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("sessions: restore: %w", err)
	}
	m.table = restored
	m.publish()
	return nil
}

// Counters are totals since the machine was made or restored, and what the table holds now. Any goroutine may ask.
func (m *Machine) Counters() map[string]uint64 {
	m.mu.Lock()
	counts := m.counts
	m.mu.Unlock()
	return map[string]uint64{
		"requests_executed":          counts.Executed,
		"requests_repeated":          counts.Repeated,
		"requests_refused_dropped":   counts.RefusedDropped,
		"requests_refused_below":     counts.RefusedBelow,
		"requests_refused_above":     counts.RefusedAbove,
		"requests_refused_malformed": counts.RefusedMalformed,
		"sessions_registered":        counts.Registered,
		"sessions_dropped":           counts.SessionsDropped,
		"replies_dropped":            counts.RepliesDropped,
		"sessions":                   counts.Sessions,
		"reply_bytes":                counts.ReplyBytes,
	}
}

// snapshot is the table, then whatever the machine behind it writes.
type snapshot struct {
	table *table.Frozen
	inner replication.Snapshot
}

func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	written, err := s.table.WriteTo(w)
	if err != nil {
		return written, fmt.Errorf("sessions: checkpoint: %w", err)
	}
	rest, err := s.inner.WriteTo(w)
	return written + rest, err
}

func (s *snapshot) Release() { s.inner.Release() }
