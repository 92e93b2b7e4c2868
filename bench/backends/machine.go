package backends

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication"
)

// headerBytes is what an operation has before its value: the register, the proposer, and the proposer's own number.
const headerBytes = 16

var errState = errors.New("backends: malformed state")

// encodeOperation makes an operation. Replicas keep it: each is made anew.
func encodeOperation(register, proposer uint32, number uint64, value []byte) []byte {
	operation := make([]byte, headerBytes+len(value))
	binary.LittleEndian.PutUint32(operation, register)
	binary.LittleEndian.PutUint32(operation[4:], proposer)
	binary.LittleEndian.PutUint64(operation[8:], number)
	copy(operation[headerBytes:], value)
	return operation
}

// State is a replica's state in short.
type State struct {
	// Operations were applied; Hash is over all of them in their order.
	Operations uint64 `json:"operations"`
	Hash       uint32 `json:"hash"`
	// Repeated are those that came again, or before an earlier one of the same proposer; Malformed made no sense.
	Repeated  uint64 `json:"repeated"`
	Malformed uint64 `json:"malformed"`
}

// registers is the state machine: each operation puts a value into a register.
type registers struct {
	table *crc32.Table

	mu     sync.Mutex // guards what follows: who measures looks on
	state  State
	last   map[uint32]uint64 // the newest number of each proposer
	values map[uint32][]byte // never changed, only replaced
}

func newRegisters() *registers {
	return &registers{table: crc32.MakeTable(crc32.Castagnoli), last: map[uint32]uint64{}, values: map[uint32][]byte{}}
}

// Apply puts values into registers, and answers each with how many operations there were.
func (r *registers) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	results, answers := make([][]byte, len(operations)), make([]byte, 8*len(operations))
	for i, operation := range operations {
		r.apply(operation)
		results[i] = answers[8*i : 8*i+8 : 8*i+8]
		binary.LittleEndian.PutUint64(results[i], r.state.Operations)
	}
	return results
}

// apply needs mu.
func (r *registers) apply(operation []byte) {
	r.state.Operations++
	r.state.Hash = crc32.Update(r.state.Hash, r.table, operation)
	if len(operation) < headerBytes {
		r.state.Malformed++
		return
	}
	proposer, number := binary.LittleEndian.Uint32(operation[4:]), binary.LittleEndian.Uint64(operation[8:])
	if number <= r.last[proposer] {
		r.state.Repeated++
	}
	r.last[proposer] = number
	// A copy: the operation is a part of a message, which would be kept whole.
	r.values[binary.LittleEndian.Uint32(operation)] = bytes.Clone(operation[headerBytes:])
}

func (r *registers) now() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// captured is a state between two Applies.
type captured struct {
	state  State
	last   map[uint32]uint64
	values map[uint32][]byte
}

// Snapshot captures the state.
func (r *registers) Snapshot() (replication.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &captured{state: r.state, last: maps.Clone(r.last), values: maps.Clone(r.values)}, nil
}

// WriteTo writes the state, the same bytes for the same state.
func (c *captured) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	write := func(data []byte) error {
		n, err := w.Write(data)
		total += int64(n)
		return err
	}
	head := []uint64{
		c.state.Operations, uint64(c.state.Hash), c.state.Repeated, c.state.Malformed, uint64(len(c.last)), uint64(len(c.values)),
	}
	for _, proposer := range slices.Sorted(maps.Keys(c.last)) {
		head = append(head, uint64(proposer), c.last[proposer])
	}
	var data []byte
	for _, number := range head {
		data = binary.AppendUvarint(data, number)
	}
	if err := write(data); err != nil {
		return total, err
	}
	for _, register := range slices.Sorted(maps.Keys(c.values)) {
		data = binary.AppendUvarint(binary.AppendUvarint(data[:0], uint64(register)), uint64(len(c.values[register])))
		if err := write(append(data, c.values[register]...)); err != nil {
			return total, err
		}
	}
	return total, nil
}

// Release has nothing to let go.
func (*captured) Release() {}

// Restore replaces the state.
func (r *registers) Restore(from io.Reader) error {
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	read := decoder{data: data}
	state := State{Operations: read.number(), Hash: uint32(read.number()), Repeated: read.number(), Malformed: read.number()}
	proposers, count := read.number(), read.number()
	last, values := map[uint32]uint64{}, map[uint32][]byte{}
	for n := uint64(0); n < proposers && !read.failed; n++ {
		proposer := uint32(read.number())
		last[proposer] = read.number()
	}
	for n := uint64(0); n < count && !read.failed; n++ {
		register := uint32(read.number())
		values[register] = bytes.Clone(read.bytes(read.number()))
	}
	if read.failed || len(read.data) > 0 {
		return errState
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.last, r.values = state, last, values
	return nil
}

// decoder reads numbers and bytes until one is not there.
type decoder struct {
	data   []byte
	failed bool
}

func (d *decoder) number() uint64 {
	value, width := binary.Uvarint(d.data)
	if width <= 0 {
		d.failed = true
		return 0
	}
	d.data = d.data[width:]
	return value
}

func (d *decoder) bytes(count uint64) []byte {
	if count > uint64(len(d.data)) {
		d.failed = true
		return nil
	}
	taken := d.data[:count]
	d.data = d.data[count:]
	return taken
}
