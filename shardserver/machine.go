package shardserver

import (
	"io"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// machine is the Server as its group sees it.
type machine struct{ server *Server }

// Apply executes operations. What cannot be read as an operation is applied as nothing, which history answers
// and counts.
func (m *machine) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	s := m.server
	decoded := make([]history.Operation, len(operations))
	for i, encoded := range operations {
		operation, err := decodeOperation(encoded)
		if err != nil {
			s.options.Logger.Error("an operation of the log makes no sense", "shard", s.options.Shard,
				"op", uint64(first)+uint64(i), "error", err)
			continue
		}
		decoded[i] = operation
	}
	results := s.apply(txn.OpNumber(first), decoded)
	answers := make([][]byte, len(results))
	for i := range results {
		// A Verdict is numbers and byte strings, all of which can be encoded; nil would say 'nothing known'.
		answers[i], _ = encodeResult(results[i])
	}
	return answers
}

// apply executes a batch in one critical section.
func (s *Server) apply(first txn.OpNumber, operations []history.Operation) []history.Result {
	results, broken := s.applyAll(first, operations)
	if broken > 0 {
		s.options.Logger.Error("the log contradicts what is recorded", "shard", s.options.Shard,
			"first op", uint64(first), "operations", len(operations), "contradictions", broken)
	}
	return results
}

func (s *Server) applyAll(first txn.OpNumber, operations []history.Operation) (results []history.Result, broken uint64) {
	results = make([]history.Result, len(operations))
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.state.Counters().InvariantBreaks
	for i, operation := range operations {
		results[i] = s.state.Apply(first+txn.OpNumber(i), operation)
		s.counts.applied(operation, results[i])
	}
	if s.lead != nil && !s.front.Leading() {
		s.unlead() // another primary's Lead was applied before this replica heard that it does not lead
	}
	s.release()
	return results, s.state.Counters().InvariantBreaks - before
}

// Snapshot captures the state; writing it out runs beside later Applies.
func (m *machine) Snapshot() (replication.Snapshot, error) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	return &snapshot{state: m.server.state.Snapshot()}, nil
}

// Restore replaces the state by a checkpoint's. Whoever waits on the old one is answered that there is no
// primary here.
func (m *machine) Restore(r io.Reader) error {
	s := m.server
	state, err := readCheckpoint(s.historyOptions(), r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlead()
	return s.install(state)
}
