package coordinator

import (
	"fmt"
	"io"

	"github.com/viewline/viewline/replication"
)

// The results of an operation. They say no more than that, since every replica has to give the same one.
var (
	tookEffect = []byte{1}
	noEffect   = []byte{0}
)

// machine is the Server as its group sees it.
type machine struct{ server *Server }

// Apply executes operations. What cannot be read, or comes too late, has no effect and says so.
func (m machine) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	s := m.server
	results := make([][]byte, len(operations))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, bytes := range operations {
		results[i] = noEffect
		operation, err := decodeOperation(bytes)
		if err == nil {
			err = s.state.Apply(operation)
		}
		if err == nil {
			results[i] = tookEffect
			continue
		}
		s.counts.refusedOperations.Add(1)
		s.options.Logger.Debug("an operation had no effect", "op", uint64(first)+uint64(i), "reason", err)
	}
	s.applied = first + replication.OpNumber(len(operations)) - 1
	s.oracle.Raised(s.state.Mark())
	s.primaries.Keep(s.state.Map())
	s.publish()
	return results
}

// Snapshot captures the state. The map is never changed, so nothing is copied.
func (m machine) Snapshot() (replication.Snapshot, error) {
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, err := encodeCheckpoint(s.state.Mark(), s.state.Map(), s.applied)
	if err != nil {
		return nil, fmt.Errorf("coordinator: snapshot: %w", err)
	}
	return &snapshot{bytes: bytes}, nil
}

// Restore replaces the whole state. Every error but the reader's own is an ErrCheckpoint.
func (m machine) Restore(r io.Reader) error {
	bytes, err := io.ReadAll(io.LimitReader(r, checkpointBytesMax+1))
	if err != nil {
		return fmt.Errorf("coordinator: restore: %w", err)
	}
	if len(bytes) > checkpointBytesMax {
		return fmt.Errorf("%w: more than %d bytes", ErrCheckpoint, checkpointBytesMax)
	}
	restored, applied, err := decodeCheckpoint(bytes)
	if err != nil {
		return err
	}
	s := m.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.applied = restored, applied
	s.oracle.Raised(restored.Mark())
	s.primaries.Keep(s.state.Map())
	s.publish()
	return nil
}

// snapshot is a checkpoint's bytes: a few hundred for most clusters.
type snapshot struct{ bytes []byte }

// WriteTo writes the checkpoint.
func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s.bytes)
	if err == nil && n < len(s.bytes) {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

// Release frees nothing: the snapshot holds memory only.
func (s *snapshot) Release() {}
