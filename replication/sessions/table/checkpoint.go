package table

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
)

const (
	checkpointMagic   = "viewsess"
	checkpointVersion = 1
	// headerBytes, sessionBytes and slotBytes are the lengths of the checkpoint's fixed parts.
	headerBytes  = len(checkpointMagic) + 4 + 4 + 4 + 8 + 8 + 8 + 4
	sessionBytes = 4*8 + 4
	slotBytes    = 4 + 8 + 4
	// notKept stands for the length of a reply that was dropped.
	notKept = 1<<32 - 1
)

// Frozen is a table at a point. It may be written while the table goes on, once, from any goroutine.
type Frozen struct {
	options  Options
	applied  uint64
	sessions []frozenSession // in the order of their last use
}

type frozenSession struct {
	id, nonce, used, base uint64
	slots                 []slot
}

// Freeze captures the table. It copies the rows; what is in the windows is copied when it is changed next.
func (t *Table) Freeze() *Frozen {
	f := &Frozen{options: t.options, applied: t.applied, sessions: make([]frozenSession, 0, len(t.sessions))}
	for s := t.used.oldest; s != nil; s = s.links[byUse].newer {
		s.frozen = !t.omits(RuleFrozen)
		f.sessions = append(f.sessions, frozenSession{id: s.id, nonce: s.nonce, used: s.used, base: s.base, slots: s.slots})
	}
	return f
}

// WriteTo writes the table: equal tables give equal bytes.
func (f *Frozen) WriteTo(w io.Writer) (int64, error) {
	sink := &checksumWriter{to: w}
	buffered := bufio.NewWriter(sink)
	put := binary.LittleEndian
	data := append(make([]byte, 0, 256), checkpointMagic...)
	data = put.AppendUint32(data, checkpointVersion)
	data = put.AppendUint32(data, uint32(f.options.SessionsMax))
	data = put.AppendUint32(data, uint32(f.options.WindowMax))
	data = put.AppendUint64(data, uint64(f.options.SessionReplyBytesMax))
	data = put.AppendUint64(data, uint64(f.options.ReplyBytesMax))
	data = put.AppendUint64(data, f.applied)
	data = put.AppendUint32(data, uint32(len(f.sessions)))
	// A bufio.Writer keeps its first error and returns it from Flush.
	_, _ = buffered.Write(data)
	for i := range f.sessions {
		f.sessions[i].write(buffered, data[:0])
		if sink.err != nil {
			return sink.written, sink.err
		}
	}
	if err := buffered.Flush(); err != nil {
		return sink.written, err
	}
	_, err := sink.Write(put.AppendUint32(data[:0], sink.sum))
	return sink.written, err
}

func (s *frozenSession) write(w *bufio.Writer, data []byte) {
	put := binary.LittleEndian
	count, size := uint32(0), uint64(len(s.slots))
	for i := range s.slots {
		if s.slots[i].op != 0 {
			count++
		}
	}
	for _, number := range [...]uint64{s.id, s.nonce, s.used, s.base} {
		data = put.AppendUint64(data, number)
	}
	_, _ = w.Write(put.AppendUint32(data, count))
	for offset := range size {
		place := &s.slots[(s.base+offset)&(size-1)]
		if place.op == 0 {
			continue
		}
		data = put.AppendUint64(put.AppendUint32(data[:0], uint32(offset)), place.op)
		if place.reply == nil {
			_, _ = w.Write(put.AppendUint32(data, notKept))
			continue
		}
		reply := place.reply[resultHeaderBytes:] // what is before it is in the slot
		_, _ = w.Write(put.AppendUint32(data, uint32(len(reply))))
		_, _ = w.Write(reply)
	}
}

// checksumWriter counts and sums what goes through it.
type checksumWriter struct {
	to      io.Writer
	written int64
	sum     uint32
	err     error
}

func (w *checksumWriter) Write(data []byte) (int, error) {
	n, err := w.to.Write(data)
	w.sum = crc32.Update(w.sum, crc32.MakeTable(crc32.Castagnoli), data[:n])
	w.written += int64(n)
	w.err = err
	return n, err
}
