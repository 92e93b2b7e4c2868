package sessions

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/viewline/viewline/replication"
)

// counter remembers what was executed how often; an operation is 8 bytes that name it. It can break its contract.
type counter struct {
	times                           map[uint64]int
	calls                           int
	short, failSnapshot, leaveBytes bool
}

func newCounter() *counter { return &counter{times: map[uint64]int{}} }

func named(id uint64) []byte { return binary.LittleEndian.AppendUint64(nil, id) }

func (c *counter) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	c.calls++
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		c.times[binary.LittleEndian.Uint64(operation)]++
		results[i] = operation
	}
	if c.short {
		return results[1:]
	}
	return results
}

// counterSnapshot is what was executed, ascending, each as often as it was.
type counterSnapshot struct {
	data     []byte
	released *int
}

func (c *counter) Snapshot() (replication.Snapshot, error) {
	if c.failSnapshot {
		return nil, errors.New("no snapshot today")
	}
	var ids []uint64
	for id, times := range c.times {
		ids = append(ids, slices.Repeat([]uint64{id}, times)...)
	}
	slices.Sort(ids)
	var data []byte
	for _, id := range ids {
		data = append(data, named(id)...)
	}
	return &counterSnapshot{data: data, released: new(int)}, nil
}

func (s *counterSnapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s.data)
	return int64(n), err
}

func (s *counterSnapshot) Release() { *s.released++ }

func (c *counter) Restore(r io.Reader) error {
	if c.leaveBytes {
		_, err := io.ReadFull(r, make([]byte, 4))
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(data)%8 != 0 {
		return io.ErrUnexpectedEOF
	}
	c.times = map[uint64]int{}
	for chunk := range slices.Chunk(bytes.Clone(data), 8) {
		c.times[binary.LittleEndian.Uint64(chunk)]++
	}
	return nil
}
