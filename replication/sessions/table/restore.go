package table

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Errors of Restore.
var (
	// ErrCheckpoint: the bytes are no table's, are damaged, or contradict themselves.
	ErrCheckpoint = errors.New("sessions: bad checkpoint")
	// ErrOtherOptions: the table was written with other bounds. A group keeps its bounds for life, since
	// replicas with different ones would come to different results.
	ErrOtherOptions = errors.New("sessions: the checkpoint has other bounds")
)

// Restore reads what Frozen.WriteTo wrote and leaves the reader behind it. It believes nothing: it takes no more
// memory than the options allow, and what it returns keeps every rule of a table.
func Restore(options Options, r *bufio.Reader) (*Table, error) {
	d := &decoder{from: r}
	t, count, err := d.header(options)
	if err != nil {
		return nil, err
	}
	for range count {
		s, err := d.session(t)
		if err != nil {
			return nil, err
		}
		t.add(s)
		if s.bytes > 0 {
			t.replying.push(s)
			t.bytes += s.bytes
		}
	}
	sum := d.sum
	end, err := d.read(4)
	if err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(end) != sum {
		return nil, fmt.Errorf("%w: the checksum differs", ErrCheckpoint)
	}
	return t, nil
}

// decoder reads parts of a checkpoint and sums them.
type decoder struct {
	from    *bufio.Reader
	sum     uint32
	scratch [headerBytes]byte
}

// read returns the next bytes, at most headerBytes of them, valid until the next read.
func (d *decoder) read(n int) ([]byte, error) {
	data := d.scratch[:n]
	return data, d.fill(data)
}

func (d *decoder) fill(data []byte) error {
	if _, err := io.ReadFull(d.from, data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrCheckpoint)
	} else if err != nil {
		return fmt.Errorf("sessions: restore: %w", err)
	}
	d.sum = crc32.Update(d.sum, crc32.MakeTable(crc32.Castagnoli), data)
	return nil
}

func (d *decoder) header(options Options) (t *Table, count uint32, err error) {
	data, err := d.read(headerBytes)
	if err != nil {
		return nil, 0, err
	}
	get := binary.LittleEndian
	if string(data[:8]) != checkpointMagic {
		return nil, 0, fmt.Errorf("%w: it does not begin like one", ErrCheckpoint)
	}
	if version := get.Uint32(data[8:]); version != checkpointVersion {
		return nil, 0, fmt.Errorf("%w: version %d, not %d", ErrCheckpoint, version, checkpointVersion)
	}
	t = New(options)
	for _, bound := range []struct {
		name        string
		want, there uint64
	}{
		{"SessionsMax", uint64(t.options.SessionsMax), uint64(get.Uint32(data[12:]))},
		{"WindowMax", uint64(t.options.WindowMax), uint64(get.Uint32(data[16:]))},
		{"SessionReplyBytesMax", uint64(t.options.SessionReplyBytesMax), get.Uint64(data[20:])},
		{"ReplyBytesMax", uint64(t.options.ReplyBytesMax), get.Uint64(data[28:])},
	} {
		if bound.want != bound.there {
			return nil, 0, fmt.Errorf("%w: %s %d there, %d here", ErrOtherOptions, bound.name, bound.there, bound.want)
		}
	}
	t.applied, count = get.Uint64(data[36:]), get.Uint32(data[44:])
	if uint64(count) > uint64(t.options.SessionsMax) {
		return nil, 0, fmt.Errorf("%w: %d sessions, above %d", ErrCheckpoint, count, t.options.SessionsMax)
	}
	return t, count, nil
}

func (d *decoder) session(t *Table) (*session, error) {
	data, err := d.read(sessionBytes)
	if err != nil {
		return nil, err
	}
	get := binary.LittleEndian
	s := &session{id: get.Uint64(data), nonce: get.Uint64(data[8:]), used: get.Uint64(data[16:]), base: get.Uint64(data[24:])}
	s.low = s.base
	count := get.Uint32(data[32:])
	last := uint64(0)
	if t.used.newest != nil {
		last = t.used.newest.used
	}
	switch {
	case s.id == 0 || s.id > s.used || s.used > t.applied || s.base == 0:
		return nil, fmt.Errorf("%w: session %d, used at %d of %d, window from %d", ErrCheckpoint, s.id, s.used, t.applied, s.base)
	case s.used <= last:
		return nil, fmt.Errorf("%w: session %d, used at %d, comes after one used at %d", ErrCheckpoint, s.id, s.used, last)
	case t.sessions[s.id] != nil:
		return nil, fmt.Errorf("%w: session %d twice", ErrCheckpoint, s.id)
	case uint64(count) > uint64(t.options.WindowMax):
		return nil, fmt.Errorf("%w: session %d has %d requests in a window of %d", ErrCheckpoint, s.id, count, t.options.WindowMax)
	}
	next := uint64(0)
	for range count {
		if next, err = d.slot(t, s, next); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// slot reads one request's state and returns the offset after its own.
func (d *decoder) slot(t *Table, s *session, atLeast uint64) (uint64, error) {
	data, err := d.read(slotBytes)
	if err != nil {
		return 0, err
	}
	get := binary.LittleEndian
	offset, op, length := uint64(get.Uint32(data)), get.Uint64(data[4:]), uint64(get.Uint32(data[12:]))
	number := s.base + offset
	if offset < atLeast || offset >= uint64(t.options.WindowMax) || number < s.base || op <= s.id || op > s.used {
		return 0, fmt.Errorf("%w: request %d of session %d, executed at %d", ErrCheckpoint, number, s.id, op)
	}
	var reply []byte
	if length != notKept {
		room := min(t.options.SessionReplyBytesMax-s.bytes, t.options.ReplyBytesMax-t.bytes-s.bytes)
		if length+resultHeaderBytes > uint64(room) {
			return 0, fmt.Errorf("%w: replies of session %d are longer than agreed", ErrCheckpoint, s.id)
		}
		reply = numbered(StatusExecuted, op, int(length))[:resultHeaderBytes+length]
		if err := d.fill(reply[resultHeaderBytes:]); err != nil {
			return 0, err
		}
		s.bytes += len(reply)
	}
	*s.change(number) = slot{op: op, reply: reply}
	return offset + 1, nil
}
