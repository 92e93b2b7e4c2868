package vr_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication"
)

// journal is a state machine that remembers its operations in their order.
type journal struct {
	mu         sync.Mutex // tests look on; the rest comes from the replica's own goroutine
	operations []string
	padding    int                  // bytes that a checkpoint is longer
	last       replication.OpNumber // that was applied; 0: not known
	gaps       bool                 // op-numbers may be left out: they are reconfigurations
}

func (j *journal) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.gaps && int(first) != len(j.operations)+1 || j.last > 0 && first <= j.last {
		panic(fmt.Sprintf("operation %d after %d", first, max(j.last, replication.OpNumber(len(j.operations)))))
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

// has reports where an operation was applied; 0: nowhere.
func (j *journal) has(operation []byte) replication.OpNumber {
	j.mu.Lock()
	defer j.mu.Unlock()
	return replication.OpNumber(slices.Index(j.operations, string(operation)) + 1)
}

// pad makes later checkpoints longer.
func (j *journal) pad(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.padding = n
}

// journalSnapshot is the padding, then the operations, each with its length before it.
type journalSnapshot []byte

func (j *journal) Snapshot() (replication.Snapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	data := append(binary.AppendUvarint(nil, uint64(j.padding)), make([]byte, j.padding)...)
	for _, operation := range j.operations {
		data = append(binary.AppendUvarint(data, uint64(len(operation))), operation...)
	}
	return journalSnapshot(data), nil
}

func (s journalSnapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s)
	return int64(n), err
}

func (journalSnapshot) Release() {}

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
	j.padding, j.operations, j.last = len(parts[0]), parts[1:], 0
	return nil
}
