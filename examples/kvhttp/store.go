package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/viewline/viewline/replication"
)

// The bounds of a key, which has at least one byte, and of a value, in bytes.
const (
	keyBytesMax   = 4096
	valueBytesMax = 1 << 20
)

var (
	errBounds     = errors.New("kvhttp: a key has 1 to 4,096 bytes, a value at most 1 MiB")
	errCheckpoint = errors.New("kvhttp: not a checkpoint of this store")
	errResult     = errors.New("kvhttp: not a result of this store")
)

// The first byte of an operation; a key with its length follows, and for a put the value.
const (
	operationPut    = 'p'
	operationDelete = 'd'
)

// What an operation's result can be, in one byte.
const (
	resultMalformed byte = iota
	// resultAbsent and resultPresent: done, and whether the key was there before.
	resultAbsent
	resultPresent
)

func encodePut(key string, value []byte) []byte {
	return append(encode(operationPut, key, len(value)), value...)
}

func encodeDelete(key string) []byte { return encode(operationDelete, key, 0) }

func encode(kind byte, key string, room int) []byte {
	operation := make([]byte, 0, 1+binary.MaxVarintLen64+len(key)+room)
	return append(binary.AppendUvarint(append(operation, kind), uint64(len(key))), key...)
}

// decode reads what encode made of a key within its bounds.
func decode(operation []byte) (kind byte, key string, value []byte, ok bool) {
	if len(operation) == 0 {
		return 0, "", nil, false
	}
	kind = operation[0]
	length, width := binary.Uvarint(operation[1:])
	if width <= 0 || length == 0 || length > keyBytesMax || length > uint64(len(operation)-1-width) {
		return 0, "", nil, false
	}
	rest := operation[1+width:]
	key, value = string(rest[:length]), rest[length:]
	ok = kind == operationPut && len(value) <= valueBytesMax || kind == operationDelete && len(value) == 0
	return kind, key, value, ok
}

// store is the state machine. The replica applies, and HTTP handlers read beside it.
type store struct {
	mu     sync.RWMutex // guards values
	values map[string][]byte
}

func newStore() *store { return &store{values: map[string][]byte{}} }

// get returns a value, which nobody changes.
func (s *store) get(key string) (value []byte, found bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found = s.values[key]
	return value, found
}

// Apply executes operations; one that makes no sense changes nothing and says so.
func (s *store) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		results[i] = []byte{s.execute(operation)}
	}
	return results
}

// execute needs mu.
func (s *store) execute(operation []byte) byte {
	kind, key, value, ok := decode(operation)
	if !ok {
		return resultMalformed
	}
	_, present := s.values[key]
	if kind == operationDelete {
		delete(s.values, key)
	} else {
		s.values[key] = value // a part of the log, which nobody changes
	}
	if present {
		return resultPresent
	}
	return resultAbsent
}

// Snapshot copies the map and shares the values.
func (s *store) Snapshot() (replication.Snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return frozen(maps.Clone(s.values)), nil
}

// Restore replaces everything, and reads to the end of what WriteTo wrote.
func (s *store) Restore(r io.Reader) error {
	in := bufio.NewReader(r)
	count, err := binary.ReadUvarint(in)
	if err != nil {
		return fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	values := map[string][]byte{}
	for range count {
		key, err := readBytes(in, keyBytesMax)
		if err != nil {
			return err
		}
		if values[string(key)], err = readBytes(in, valueBytesMax); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = values
	return nil
}

func readBytes(in *bufio.Reader, most uint64) ([]byte, error) {
	length, err := binary.ReadUvarint(in)
	if err == nil && length > most {
		err = fmt.Errorf("%d bytes where at most %d can be", length, most)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	return data, nil
}

// frozen is the snapshot: the number of keys, and each with its value, in order.
type frozen map[string][]byte

func (f frozen) WriteTo(w io.Writer) (written int64, err error) {
	out := bufio.NewWriter(w)
	put := func(data []byte) {
		n, _ := out.Write(data) // Flush says what was wrong
		written += int64(n)
	}
	put(binary.AppendUvarint(nil, uint64(len(f))))
	for _, key := range slices.Sorted(maps.Keys(f)) {
		put(append(binary.AppendUvarint(nil, uint64(len(key))), key...))
		put(binary.AppendUvarint(nil, uint64(len(f[key]))))
		put(f[key])
	}
	return written, out.Flush()
}

func (frozen) Release() {}
