package replicationtest

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication"
)

// journal is a state machine that remembers its operations in their order.
type journal struct {
	// complain is told when op-numbers do not rise.
	complain func(format string, arguments ...any)

	mu         sync.Mutex // guards what follows: tests look on
	operations []string
	counts     map[string]int
	hash       uint64               // of the operations in their order
	padding    int                  // bytes that a checkpoint is longer
	last       replication.OpNumber // that was applied; 0: not known
	restores   int
}

func newJournal(complain func(format string, arguments ...any)) *journal {
	return &journal{complain: complain, counts: map[string]int{}}
}

// Apply notes operations, and answers with each of them.
func (j *journal) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	if first <= j.last || len(operations) == 0 {
		j.complain("the state machine gets %d operations from %d after %d", len(operations), first, j.last)
	}
	j.last = first + replication.OpNumber(len(operations)) - 1
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		j.note(string(operation))
		results[i] = operation
	}
	return results
}

func (j *journal) note(operation string) {
	j.operations = append(j.operations, operation)
	j.counts[operation]++
	sum := fnv.New64a()
	_, _ = sum.Write(binary.BigEndian.AppendUint64(nil, j.hash))
	_, _ = io.WriteString(sum, operation)
	j.hash = sum.Sum64()
}

// state is how many operations were applied, and a hash of which they were, in their order.
func (j *journal) state() (applied, hash uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.operations)), j.hash
}

// times is how often an operation was applied.
func (j *journal) times(operation []byte) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts[string(operation)]
}

// all are the operations in their order.
func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.operations)
}

// restored is how often the state came from a checkpoint.
func (j *journal) restored() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.restores
}

// pad makes later checkpoints longer.
func (j *journal) pad(bytes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.padding = bytes
}

// written is the padding, then the operations, each with its length before it.
type written []byte

// Snapshot captures the operations.
func (j *journal) Snapshot() (replication.Snapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	data := append(binary.AppendUvarint(nil, uint64(j.padding)), make([]byte, j.padding)...)
	for _, operation := range j.operations {
		data = append(binary.AppendUvarint(data, uint64(len(operation))), operation...)
	}
	return written(data), nil
}

// WriteTo writes them.
func (s written) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s)
	return int64(n), err
}

// Release has nothing to let go.
func (written) Release() {}

// Restore replaces the operations.
func (j *journal) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var parts []string
	for len(data) > 0 {
		n, width := binary.Uvarint(data)
		if width <= 0 || n > uint64(len(data)-width) {
			return io.ErrUnexpectedEOF
		}
		parts, data = append(parts, string(data[width:width+int(n)])), data[width+int(n):]
	}
	if len(parts) == 0 {
		return io.ErrUnexpectedEOF
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.padding, j.operations, j.counts, j.hash, j.last = len(parts[0]), nil, map[string]int{}, 0, 0
	for _, operation := range parts[1:] {
		j.note(operation)
	}
	j.restores++
	return nil
}
