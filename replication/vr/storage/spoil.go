package storage

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// Record is a part of what a Memory holds, as the bytes that it has on a disk.
type Record uint8

// The records.
const (
	RecordHardState Record = iota
	RecordExtent
	RecordMark
	RecordEntry
	RecordCheckpoint
)

// memoryName is what damage in a Memory is said to be in.
const memoryName = "memory"

// spoiled is contents as bytes, each entry a run of its own.
type spoiled struct {
	loaded     bool                // all is read, and sound
	damaged    bool                // all is read, and some of it is damage that stays until it is replaced
	small      [RecordEntry][]byte // hard state, extent, mark
	keys, runs [][]byte
	membership core.EncodedMembership
	checkpoint []byte
}

// PowerCut takes back exactly what was not made durable. With LoseSyncs before it, it takes back what was said to be.
func (m *Memory) PowerCut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.spoiled = m.durable, nil
}

// LoseSyncs makes a disk of it that lies: until it is called again with false, nothing that is written becomes
// durable, and Write says that it is.
func (m *Memory) LoseSyncs(lying bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lying = lying
}

// Lies is how often something was said to be durable and was not.
func (m *Memory) Lies() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lies
}

// Copy is what is durable now, in a storage of its own: a backup, which comes back as a directory that is rolled back.
func (m *Memory) Copy() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{current: m.durable, durable: m.durable}
}

// Spoil changes the bytes of one record (of an entry: of operation op) and says whether there was one and it changed.
// The next Load, or the reader of the checkpoint, meets them with the decoders of a disk. It is for the time between
// two processes: what is written before the next Load is not kept.
func (m *Memory) Spoil(record Record, op core.OpNumber, change func(data []byte) []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.spoiled == nil || m.spoiled.loaded {
		m.spoiled = spoil(&m.current)
	}
	data := m.spoiled.find(record, op)
	if data == nil || len(*data) == 0 {
		return false
	}
	before := slices.Clone(*data)
	*data = change(*data)
	return !bytes.Equal(before, *data)
}

// Torn keeps the first bytes of a record: for Spoil.
func Torn(kept int) func([]byte) []byte {
	return func(data []byte) []byte { return data[:min(kept, len(data))] }
}

// Flipped flips one bit of a record: for Spoil.
func Flipped(bit int) func([]byte) []byte {
	return func(data []byte) []byte {
		data[bit/8%len(data)] ^= 1 << (bit % 8)
		return data
	}
}

func spoil(i *contents) *spoiled {
	s := &spoiled{small: [RecordEntry][]byte{
		RecordHardState: encodeHardState(i.hardState), RecordExtent: encodeExtent(i.extent), RecordMark: encodeMark(mark{life: i.life}),
	}, membership: i.hardState.Membership}
	for n := range i.entries {
		s.keys = append(s.keys, runKey(i.entries[n].Op))
		s.runs = append(s.runs, appendEntry(nil, &i.entries[n]))
	}
	if i.checkpoint.Op > 0 {
		s.checkpoint = encodeCheckpoint(i.checkpoint, slices.Collect(slices.Chunk(i.state, chunkBytesMax)))
	}
	return s
}

func (s *spoiled) find(record Record, op core.OpNumber) *[]byte {
	if record < RecordEntry {
		return &s.small[record]
	}
	if record == RecordCheckpoint {
		return &s.checkpoint
	}
	n := slices.IndexFunc(s.keys, func(key []byte) bool { return bytes.Equal(key, runKey(op)) })
	if n < 0 {
		return nil
	}
	return &s.runs[n]
}

// readSpoiled reads everything from the bytes, if some were changed, and finds what is damaged of it.
func (m *Memory) readSpoiled(loaded *vr.Loaded) error {
	s := m.spoiled
	if s == nil || s.loaded {
		return nil
	}
	read, err := s.read()
	if err != nil {
		return err
	}
	var findings []*DamageError
	if s.checkpoint != nil {
		findings = s.verifyCheckpoint(m.current.checkpoint)
	}
	if len(findings) > 0 {
		m.current.checkpoint, m.current.state = core.CheckpointMeta{}, nil
	}
	entries, damage := readLog(memoryName, read.extent, s.all())
	loaded.Checkpoint, loaded.Entries = m.current.checkpoint, entries
	loaded.Damage = describe(salvage(memoryName, read.extent, loaded, append(findings, damage...)))
	if s.damaged = len(loaded.Damage) > 0; !s.damaged {
		read.entries, read.checkpoint, read.state = entries, m.current.checkpoint, m.current.state
		m.current, s.loaded = read, true
	}
	return nil
}

// verifyCheckpoint reads all of it.
func (s *spoiled) verifyCheckpoint(meta core.CheckpointMeta) []*DamageError {
	_, body, err := s.openCheckpoint(meta)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	var damage *DamageError
	if errors.As(err, &damage) {
		return []*DamageError{damagedCheckpoint(damage)}
	}
	return nil
}

func (s *spoiled) read() (i contents, err error) {
	var m mark
	if i.hardState, err = decodeHardState(s.small[RecordHardState]); err != nil {
		return i, damagedRecord(memoryName, keyHardState, err)
	}
	i.hardState.Membership = s.membership
	if i.extent, err = decodeExtent(s.small[RecordExtent]); err != nil {
		return i, damagedRecord(memoryName, keyExtent, err)
	}
	if m, err = decodeMark(s.small[RecordMark]); err != nil {
		return i, damagedRecord(memoryName, keyMark, err)
	}
	i.life = m.life
	return i, nil
}

func (s *spoiled) all() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for n := range s.keys {
			if !yield(s.keys[n], s.runs[n]) {
				return
			}
		}
	}
}

// openCheckpoint reads the bytes as a file's.
func (s *spoiled) openCheckpoint(meta core.CheckpointMeta) (core.CheckpointMeta, io.ReadCloser, error) {
	reader := &checkpointReader{
		decoder: checkpointDecoder{source: bufio.NewReader(bytes.NewReader(s.checkpoint))}, meta: meta, path: memoryName,
		file: io.NopCloser(nil),
	}
	found, err := reader.decoder.header()
	if err == nil && found != meta {
		err = errors.New("its header is of another checkpoint")
	}
	if err != nil {
		return meta, nil, reader.explain(meta.Op, err)
	}
	return meta, reader, nil
}
