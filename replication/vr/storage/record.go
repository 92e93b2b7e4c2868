package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/viewline/viewline/replication/vr/core"
)

// The versions of what this package writes, and the oldest that it reads; docs/FORMATS.md describes them. In
// version 1 of a log in bbolt there is no mark, and before version 3 no membership and no RECONFIGURATION; version 4 is
// that of a log in segments. A checkpoint without a membership is one of version 1.
const (
	boltLogVersionOldest    = 1
	boltLogVersionMarked    = 2
	boltLogVersion          = 3
	segmentLogVersion       = 4
	newestVersion           = segmentLogVersion
	checkpointVersion       = 2
	checkpointVersionOldest = 1
)

const (
	markBytes        = 12
	entryHeaderBytes = 32
	hardStateBytes   = 28
	extentBytes      = 36
	formatBytes      = 16
	formatMagic      = "viewline"
	// reconfigurationBit is what the view of a RECONFIGURATION has beside it.
	reconfigurationBit = 1 << 63
)

// castagnoli is CRC-32C's table; never changed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Findings of the decoders.
var (
	errShort    = errors.New("too short")
	errLength   = errors.New("wrong length")
	errChecksum = errors.New("checksum does not match")
	errMagic    = errors.New("not a viewline file")
)

// extent is where the log begins and ends. It is stored beside the log, so that a log that has lost its
// head or its tail, whole and well formed otherwise, does not pass for a shorter one.
type extent struct {
	// base is the operation below the first one kept, with its hash; zero below operation 1.
	base     core.OpNumber
	baseHash core.Hash
	// last is the last operation kept; base when the log is empty.
	last     core.OpNumber
	lastHash core.Hash
}

// join lets a log that begins right above a checkpoint begin with its hash: what was removed may have been of
// a branch that the checkpoint, which is of committed operations, shows to be dead.
func (e *extent) join(checkpoint core.CheckpointMeta) {
	if e.base == 0 || e.base != checkpoint.Op {
		return
	}
	e.baseHash = checkpoint.Hash
	if e.last == e.base {
		e.lastHash = checkpoint.Hash
	}
}

// extend moves the end over entries that follow it.
func (e *extent) extend(entries []core.Entry) {
	if len(entries) > 0 {
		e.last, e.lastHash = entries[len(entries)-1].Op, entries[len(entries)-1].Hash
	}
}

// appendEntry appends an entry's bytes: op, view and kind, hash, length, checksum over all of it, payload.
func appendEntry(buffer []byte, entry *core.Entry) []byte {
	start, view := len(buffer), uint64(entry.View)
	if entry.Kind == core.EntryReconfiguration {
		view |= reconfigurationBit
	}
	buffer = binary.LittleEndian.AppendUint64(buffer, uint64(entry.Op))
	buffer = binary.LittleEndian.AppendUint64(buffer, view)
	buffer = binary.LittleEndian.AppendUint64(buffer, uint64(entry.Hash))
	buffer = binary.LittleEndian.AppendUint32(buffer, uint32(len(entry.Payload)))
	sum := crc32.Update(crc32.Checksum(buffer[start:], castagnoli), castagnoli, entry.Payload)
	buffer = binary.LittleEndian.AppendUint32(buffer, sum)
	return append(buffer, entry.Payload...)
}

// decodeEntry takes one entry off data. The payload shares data's memory.
func decodeEntry(data []byte) (core.Entry, []byte, error) {
	if len(data) < entryHeaderBytes {
		return core.Entry{}, nil, errShort
	}
	length := uint64(binary.LittleEndian.Uint32(data[24:]))
	if length > uint64(len(data)-entryHeaderBytes) {
		return core.Entry{}, nil, errShort
	}
	end := entryHeaderBytes + int(length)
	payload := data[entryHeaderBytes:end:end]
	sum := crc32.Update(crc32.Checksum(data[:28], castagnoli), castagnoli, payload)
	if sum != binary.LittleEndian.Uint32(data[28:]) {
		return core.Entry{}, nil, errChecksum
	}
	entry := core.Entry{
		Op:      core.OpNumber(binary.LittleEndian.Uint64(data)),
		View:    core.ViewNumber(binary.LittleEndian.Uint64(data[8:])),
		Hash:    core.Hash(binary.LittleEndian.Uint64(data[16:])),
		Payload: payload,
	}
	if entry.View&reconfigurationBit != 0 {
		entry.View, entry.Kind = entry.View&^reconfigurationBit, core.EntryReconfiguration
	}
	return entry, data[end:], nil
}

// decodeRun takes all entries off the value of one key, which is the op-number of the first.
func decodeRun(key, value []byte, entries []core.Entry) ([]core.Entry, error) {
	if len(key) != 8 {
		return entries, fmt.Errorf("key: %w", errLength)
	}
	if len(value) == 0 {
		return entries, errShort
	}
	return decodeEntries(value, core.OpNumber(binary.BigEndian.Uint64(key)), entries)
}

// decodeEntries adds all entries of data, the first of which is next.
func decodeEntries(data []byte, next core.OpNumber, entries []core.Entry) ([]core.Entry, error) {
	for len(data) > 0 {
		entry, rest, err := decodeEntry(data)
		if err != nil {
			return entries, err
		}
		if entry.Op != next {
			return entries, fmt.Errorf("operation %d where %d belongs", entry.Op, next)
		}
		entries, data = append(entries, entry), rest
		next++
	}
	return entries, nil
}

// runKey is the key of the run that begins at op: big-endian, so that bbolt keeps runs in their order.
func runKey(op core.OpNumber) []byte { return binary.BigEndian.AppendUint64(nil, uint64(op)) }

func encodeHardState(state core.HardState) []byte {
	data := binary.LittleEndian.AppendUint64(make([]byte, 0, hardStateBytes), uint64(state.View))
	data = binary.LittleEndian.AppendUint64(data, uint64(state.LastNormalView))
	data = binary.LittleEndian.AppendUint64(data, uint64(state.Commit))
	return appendSum(data)
}

func decodeHardState(data []byte) (core.HardState, error) {
	if err := checkSum(data, hardStateBytes); err != nil {
		return core.HardState{}, err
	}
	return core.HardState{
		View:           core.ViewNumber(binary.LittleEndian.Uint64(data)),
		LastNormalView: core.ViewNumber(binary.LittleEndian.Uint64(data[8:])),
		Commit:         core.OpNumber(binary.LittleEndian.Uint64(data[16:])),
	}, nil
}

// encodeMembership: the core's own bytes, checksum.
func encodeMembership(membership core.EncodedMembership) []byte { return appendSum([]byte(membership)) }

func decodeMembership(data []byte) (core.EncodedMembership, error) {
	if len(data) < 4 {
		return "", errShort
	}
	if err := checkSum(data, len(data)); err != nil {
		return "", err
	}
	membership := core.EncodedMembership(data[:len(data)-4])
	_, err := membership.Decode()
	return membership, err
}

func encodeExtent(e extent) []byte {
	data := binary.LittleEndian.AppendUint64(make([]byte, 0, extentBytes), uint64(e.base))
	data = binary.LittleEndian.AppendUint64(data, uint64(e.baseHash))
	data = binary.LittleEndian.AppendUint64(data, uint64(e.last))
	data = binary.LittleEndian.AppendUint64(data, uint64(e.lastHash))
	return appendSum(data)
}

func decodeExtent(data []byte) (extent, error) {
	if err := checkSum(data, extentBytes); err != nil {
		return extent{}, err
	}
	e := extent{
		base:     core.OpNumber(binary.LittleEndian.Uint64(data)),
		baseHash: core.Hash(binary.LittleEndian.Uint64(data[8:])),
		last:     core.OpNumber(binary.LittleEndian.Uint64(data[16:])),
		lastHash: core.Hash(binary.LittleEndian.Uint64(data[24:])),
	}
	if e.last < e.base {
		return extent{}, errors.New("the log ends before it begins")
	}
	return e, nil
}

func encodeMark(m mark) []byte {
	data := binary.LittleEndian.AppendUint32(make([]byte, 0, markBytes), uint32(m.durability))
	return appendSum(binary.LittleEndian.AppendUint32(data, uint32(m.life)))
}

func decodeMark(data []byte) (mark, error) {
	if err := checkSum(data, markBytes); err != nil {
		return mark{}, err
	}
	durability, stage := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
	if durability >= uint32(durabilities) || stage >= uint32(lives) {
		return mark{}, fmt.Errorf("durability %d, life %d", durability, stage)
	}
	return mark{durability: Durability(durability), life: life(stage)}, nil
}

func encodeFormat(version uint32) []byte {
	data := append(make([]byte, 0, formatBytes), formatMagic...)
	return appendSum(binary.LittleEndian.AppendUint32(data, version))
}

// decodeFormat returns the version. The record's own shape is the same in every version.
func decodeFormat(data []byte) (uint32, error) {
	if err := checkSum(data, formatBytes); err != nil {
		return 0, err
	}
	if string(data[:len(formatMagic)]) != formatMagic {
		return 0, errMagic
	}
	return binary.LittleEndian.Uint32(data[len(formatMagic):]), nil
}

func appendSum(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// checkSum verifies a record of a fixed length that ends with the checksum of the rest.
func checkSum(data []byte, length int) error {
	if len(data) != length {
		return errLength
	}
	body := data[:length-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[length-4:]) {
		return errChecksum
	}
	return nil
}
