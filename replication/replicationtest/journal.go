package replicationtest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication"
)

// journal is a state machine that remembers its operations in their order. It panics when op-numbers do not rise.
type journal struct {
	mu         sync.Mutex // guards what follows: tests look on
	operations []string
	last       replication.OpNumber
}

// Apply notes operations, and answers with each of them.
func (j *journal) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	if first <= j.last || len(operations) == 0 {
		panic(fmt.Sprintf("%d operations from %d after %d", len(operations), first, j.last))
	}
	j.last = first + replication.OpNumber(len(operations)) - 1
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		j.operations = append(j.operations, string(operation))
		results[i] = operation
	}
	return results
}

// state is how many operations were applied, and a hash of which they were, in their order.
func (j *journal) state() (applied, hash uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	sum := fnv.New64a()
	for _, operation := range j.operations {
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(operation))))
		_, _ = io.WriteString(sum, operation)
	}
	return uint64(len(j.operations)), sum.Sum64()
}

// times is how often an operation was applied.
func (j *journal) times(operation []byte) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, each := range j.operations {
		if each == string(operation) {
			n++
		}
	}
	return n
}

// all are the operations in their order.
func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.operations)
}

// written is the operations, each with its length before it.
type written []byte

// Snapshot captures the operations.
func (j *journal) Snapshot() (replication.Snapshot, error) {
	var data []byte
	for _, operation := range j.all() {
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
	var operations []string
	for len(data) > 0 {
		n, width := binary.Uvarint(data)
		if width <= 0 || n > uint64(len(data)-width) {
			return io.ErrUnexpectedEOF
		}
		operations, data = append(operations, string(data[width:width+int(n)])), data[width+int(n):]
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.operations, j.last = operations, 0
	return nil
}
