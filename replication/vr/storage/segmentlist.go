package storage

import (
	"encoding/binary"
	"errors"

	"github.com/viewline/viewline/replication/vr/core"
)

const (
	segmentListBytes = 32 // without the segments
	segmentBytes     = 32
)

// segmentList is the record of replica.db that says which files the log consists of, and how far each of them counts.
// What is not in it is not in the log: a file that is not named, and in a file that is, what lies behind its end.
type segmentList struct {
	// base is the operation below the first one kept, with its hash.
	base     core.OpNumber
	baseHash core.Hash
	// next is the id of the next segment to be made; ids are not used twice.
	next uint64
	// open: the last segment is written to. It has at least what is said of it here, all of which is durable, and
	// whatever batches follow. All others have exactly that.
	open     bool
	segments []segment
}

// segment is what the list says of one file. It has an entry: a segment is made when there is something to write to it.
type segment struct {
	id       uint64
	end      uint64 // the file's bytes that count; batches end there
	last     core.OpNumber
	lastHash core.Hash
}

// extent is what the list vouches for.
func (l *segmentList) extent() extent {
	e := extent{base: l.base, baseHash: l.baseHash, last: l.base, lastHash: l.baseHash}
	if n := len(l.segments); n > 0 {
		e.last, e.lastHash = l.segments[n-1].last, l.segments[n-1].lastHash
	}
	return e
}

// first is the first operation of the n-th segment.
func (l *segmentList) first(n int) core.OpNumber {
	if n == 0 {
		return l.base + 1
	}
	return l.segments[n-1].last + 1
}

// truncateBelow returns the list without the segments that hold nothing at keep or above. The one that is written to
// stays.
func (l *segmentList) truncateBelow(keep core.OpNumber) segmentList {
	kept, n := *l, 0
	for n < len(l.segments) && l.segments[n].last < keep && (n+1 < len(l.segments) || !l.open) {
		kept.base, kept.baseHash = l.segments[n].last, l.segments[n].lastHash
		n++
	}
	kept.segments = append([]segment(nil), l.segments[n:]...)
	return kept
}

func encodeSegmentList(l *segmentList) []byte {
	data := make([]byte, 0, segmentListBytes+len(l.segments)*segmentBytes)
	data = binary.LittleEndian.AppendUint64(data, uint64(l.base))
	data = binary.LittleEndian.AppendUint64(data, uint64(l.baseHash))
	data = binary.LittleEndian.AppendUint64(data, l.next)
	open := uint32(0)
	if l.open {
		open = 1
	}
	data = binary.LittleEndian.AppendUint32(data, open)
	for _, s := range l.segments {
		data = binary.LittleEndian.AppendUint64(data, s.id)
		data = binary.LittleEndian.AppendUint64(data, s.end)
		data = binary.LittleEndian.AppendUint64(data, uint64(s.last))
		data = binary.LittleEndian.AppendUint64(data, uint64(s.lastHash))
	}
	return appendSum(data)
}

func decodeSegmentList(data []byte) (l segmentList, err error) {
	if len(data) < segmentListBytes || (len(data)-segmentListBytes)%segmentBytes != 0 {
		return l, errLength
	}
	if err := checkSum(data, len(data)); err != nil {
		return l, err
	}
	open := binary.LittleEndian.Uint32(data[24:])
	l = segmentList{
		base: core.OpNumber(binary.LittleEndian.Uint64(data)), baseHash: core.Hash(binary.LittleEndian.Uint64(data[8:])),
		next: binary.LittleEndian.Uint64(data[16:]), open: open == 1,
	}
	for data = data[28 : len(data)-4]; len(data) > 0; data = data[segmentBytes:] {
		l.segments = append(l.segments, segment{
			id: binary.LittleEndian.Uint64(data), end: binary.LittleEndian.Uint64(data[8:]),
			last:     core.OpNumber(binary.LittleEndian.Uint64(data[16:])),
			lastHash: core.Hash(binary.LittleEndian.Uint64(data[24:])),
		})
	}
	if open > 1 {
		return l, errors.New("neither open nor closed")
	}
	return l, l.check()
}

// check refuses what no writer makes.
func (l *segmentList) check() error {
	if l.open && len(l.segments) == 0 {
		return errors.New("no segment is the one that is written to")
	}
	last, id := l.base, uint64(0)
	for n, s := range l.segments {
		switch {
		case n > 0 && s.id <= id || s.id >= l.next:
			return errors.New("the segments are out of order")
		case s.last <= last:
			return errors.New("a segment has no entries")
		case s.end < sectorBytes || s.end%sectorBytes != 0:
			return errors.New("a segment ends within a sector")
		}
		last, id = s.last, s.id
	}
	return nil
}
