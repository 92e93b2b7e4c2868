package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/viewline/viewline/replication/vr/core"
)

// A segment is a file of a log of kind LogWAL: a header and batches, each of which begins at a sector of its own. So a
// write that is torn touches nothing that was acknowledged before it.
const (
	segmentPrefix      = "segment-"
	segmentMagic       = "viewlog\x00"
	segmentHeaderBytes = 40
	batchHeaderBytes   = 36
	sectorBytes        = 512
	// frameBytesMax is when a batch is divided, though never an entry is.
	frameBytesMax = 64 << 20
)

var (
	errNoBatch = errors.New("no batch of this segment")
	errPadding = errors.New("something is written behind its end")
)

// segmentHeader is the first sector of a segment.
type segmentHeader struct {
	id    uint64 // also in the file's name
	salt  uint64 // of every batch in it; nobody outside knows it
	first core.OpNumber
}

// batchHeader is what stands before the entries of a batch.
type batchHeader struct {
	salt   uint64
	first  core.OpNumber // of its entries, or of the next one when it has none
	commit core.OpNumber // the commit-number when it was written
	count  uint32
	bytes  uint32 // of the entries
}

func segmentName(id uint64) string { return fmt.Sprintf("%s%020d", segmentPrefix, id) }

func segmentID(name string) (uint64, bool) {
	digits, found := strings.CutPrefix(name, segmentPrefix)
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, found && err == nil && segmentName(id) == name
}

// segmentNames lists the segments of a directory, oldest first.
func segmentNames(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, is := segmentID(entry.Name()); is {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func segmentPath(directory string, id uint64) string {
	return filepath.Join(directory, segmentName(id))
}

// encodeSegmentHeader fills a sector: magic, version, id, salt, first op, checksum.
func encodeSegmentHeader(h segmentHeader) []byte {
	data := append(make([]byte, 0, sectorBytes), segmentMagic...)
	data = binary.LittleEndian.AppendUint32(data, segmentLogVersion)
	data = binary.LittleEndian.AppendUint64(data, h.id)
	data = binary.LittleEndian.AppendUint64(data, h.salt)
	data = binary.LittleEndian.AppendUint64(data, uint64(h.first))
	return appendSum(data)[:sectorBytes]
}

func decodeSegmentHeader(data []byte) (h segmentHeader, err error) {
	if len(data) < sectorBytes {
		return h, errShort
	}
	if err := checkSum(data[:segmentHeaderBytes], segmentHeaderBytes); err != nil {
		return h, err
	}
	if !zero(data[segmentHeaderBytes:sectorBytes]) {
		return h, errPadding
	}
	if string(data[:len(segmentMagic)]) != segmentMagic {
		return h, errMagic
	}
	if version := binary.LittleEndian.Uint32(data[8:]); version != segmentLogVersion {
		return h, fmt.Errorf("of format %d", version)
	}
	h.id, h.salt = binary.LittleEndian.Uint64(data[12:]), binary.LittleEndian.Uint64(data[20:])
	h.first = core.OpNumber(binary.LittleEndian.Uint64(data[28:]))
	return h, nil
}

// appendBatch appends a batch of whole sectors: its header, a checksum over header and entries, the entries, zeros.
func appendBatch(buffer []byte, h batchHeader, entries []core.Entry) []byte {
	start := len(buffer)
	buffer = append(buffer, make([]byte, batchHeaderBytes)...)
	for i := range entries {
		buffer = appendEntry(buffer, &entries[i])
	}
	head := buffer[start : start+batchHeaderBytes]
	body := buffer[start+batchHeaderBytes:]
	binary.LittleEndian.PutUint64(head, h.salt)
	binary.LittleEndian.PutUint64(head[8:], uint64(h.first))
	binary.LittleEndian.PutUint64(head[16:], uint64(h.commit))
	binary.LittleEndian.PutUint32(head[24:], uint32(len(entries)))
	binary.LittleEndian.PutUint32(head[28:], uint32(len(body)))
	sum := crc32.Update(crc32.Checksum(head[:32], castagnoli), castagnoli, body)
	binary.LittleEndian.PutUint32(head[32:], sum)
	return append(buffer, make([]byte, roundUp(len(buffer)-start, sectorBytes)-(len(buffer)-start))...)
}

// decodeBatch takes one batch off data and returns how many bytes it has. The entries share data's memory.
func decodeBatch(data []byte, salt uint64) (h batchHeader, entries []core.Entry, size int, err error) {
	if len(data) < batchHeaderBytes {
		return h, nil, 0, errShort
	}
	h = batchHeader{
		salt: binary.LittleEndian.Uint64(data), first: core.OpNumber(binary.LittleEndian.Uint64(data[8:])),
		commit: core.OpNumber(binary.LittleEndian.Uint64(data[16:])),
		count:  binary.LittleEndian.Uint32(data[24:]), bytes: binary.LittleEndian.Uint32(data[28:]),
	}
	if h.salt != salt {
		return h, nil, 0, errNoBatch
	}
	end := batchHeaderBytes + int(h.bytes)
	size = roundUp(end, sectorBytes)
	if size > len(data) {
		return h, nil, 0, errShort
	}
	body := data[batchHeaderBytes:end]
	if crc32.Update(crc32.Checksum(data[:32], castagnoli), castagnoli, body) != binary.LittleEndian.Uint32(data[32:]) {
		return h, nil, 0, errChecksum
	}
	if !zero(data[end:size]) {
		return h, nil, 0, errPadding
	}
	entries = make([]core.Entry, 0, min(h.count, h.bytes/entryHeaderBytes))
	if entries, err = decodeEntries(body, h.first, entries); err == nil && len(entries) != int(h.count) {
		err = fmt.Errorf("%d entries where %d belong", len(entries), h.count)
	}
	return h, entries, size, err
}

// frames divides the entries of a batch: only one that is larger than any message is more than one frame.
func frames(entries []core.Entry) [][]core.Entry {
	var divided [][]core.Entry
	first, size := 0, 0
	for i := range entries {
		more := entryHeaderBytes + len(entries[i].Payload)
		if i > first && size+more > frameBytesMax {
			divided, first, size = append(divided, entries[first:i]), i, 0
		}
		size += more
	}
	return append(divided, entries[first:])
}

// zero: nothing is written there.
func zero(data []byte) bool { return len(bytes.Trim(data, "\x00")) == 0 }

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
