package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

const (
	checkpointMagic       = "viewckpt"
	checkpointHeaderBytes = 40
	chunkHeaderBytes      = 12
	checkpointEndBytes    = 28
	// chunkBytesMax is how much of a checkpoint one checksum covers, and how much is buffered.
	chunkBytesMax = 256 << 10
	// chunksMax is more than any checkpoint has, and fits the index.
	chunksMax = 1 << 31
)

// versionOf is the version that a checkpoint is written in.
func versionOf(meta core.CheckpointMeta) uint32 {
	if meta.Membership == "" {
		return checkpointVersionOldest
	}
	return checkpointVersion
}

// headerBytes is the length of a checkpoint's header.
func headerBytes(meta core.CheckpointMeta) int64 {
	if meta.Membership == "" {
		return checkpointHeaderBytes
	}
	return checkpointHeaderBytes + 4 + int64(len(meta.Membership)) + 4
}

// encodeCheckpointHeader: magic, version, op, view, hash, checksum; in version 2 the membership follows: length,
// bytes, checksum over both.
func encodeCheckpointHeader(meta core.CheckpointMeta) []byte {
	data := append(make([]byte, 0, checkpointHeaderBytes), checkpointMagic...)
	data = binary.LittleEndian.AppendUint32(data, versionOf(meta))
	data = binary.LittleEndian.AppendUint64(data, uint64(meta.Op))
	data = binary.LittleEndian.AppendUint64(data, uint64(meta.View))
	data = binary.LittleEndian.AppendUint64(data, uint64(meta.Hash))
	data = appendSum(data)
	if meta.Membership == "" {
		return data
	}
	membership := binary.LittleEndian.AppendUint32(nil, uint32(len(meta.Membership)))
	return append(data, appendSum(append(membership, meta.Membership...))...)
}

// encodeChunkHeader: length, index, checksum over both and the bytes.
func encodeChunkHeader(index uint32, data []byte) []byte {
	header := binary.LittleEndian.AppendUint32(make([]byte, 0, chunkHeaderBytes), uint32(len(data)))
	header = binary.LittleEndian.AppendUint32(header, index)
	return binary.LittleEndian.AppendUint32(header, chunkSum(index, data))
}

// chunkSum is the checksum of a chunk: over its length, its index and its bytes.
func chunkSum(index uint32, data []byte) uint32 { return transfer.Checksum(index, data) }

// encodeCheckpointEnd: length 0, number of chunks, bytes of state, checksum over the file so far, checksum of
// this record.
func encodeCheckpointEnd(version, chunks uint32, bytes uint64, whole uint32) []byte {
	data := binary.LittleEndian.AppendUint32(make([]byte, 0, checkpointEndBytes), 0)
	data = binary.LittleEndian.AppendUint32(data, chunks)
	data = binary.LittleEndian.AppendUint64(data, bytes)
	data = binary.LittleEndian.AppendUint32(data, whole)
	data = binary.LittleEndian.AppendUint32(data, version)
	return appendSum(data)
}

// encodeCheckpoint is a whole checkpoint with these chunks.
func encodeCheckpoint(meta core.CheckpointMeta, chunks [][]byte) []byte {
	data, size := encodeCheckpointHeader(meta), 0
	for i, chunk := range chunks {
		data = append(append(data, encodeChunkHeader(uint32(i), chunk)...), chunk...)
		size += len(chunk)
	}
	return append(data, encodeCheckpointEnd(versionOf(meta), uint32(len(chunks)), uint64(size), crc32.Checksum(data, castagnoli))...)
}

// checkpointWriter writes one checkpoint file under a temporary name.
type checkpointWriter struct {
	chunkFile
	chunk []byte
	done  bool
}

// CreateCheckpoint starts a checkpoint file. ErrGap when the newest one is of a later operation.
func (d *Disk) CreateCheckpoint(meta core.CheckpointMeta) (vr.CheckpointWriter, error) {
	if err := d.joins(meta); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(d.directory, checkpointName(meta.Op)+".*"+temporaryName)
	if err != nil {
		return nil, d.failCheckpoint(err)
	}
	w := &checkpointWriter{chunkFile: newChunkFile(d, meta, file), chunk: make([]byte, 0, chunkBytesMax)}
	if w.begin(); w.err != nil {
		return nil, errors.Join(w.err, w.Abort())
	}
	return w, nil
}

// joins refuses a checkpoint that may not become the newest.
func (d *Disk) joins(meta core.CheckpointMeta) error {
	if err := d.usable(); err != nil {
		return err
	}
	if newest := d.newest(); meta.Op < newest.Op || meta.Op == 0 {
		return fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, meta.Op, newest.Op)
	}
	return nil
}

// failCheckpoint is what an error means that a checkpoint met before it had its name. A full disk costs this checkpoint
// alone, since nothing refers to its file; after any other error the disk is not to be trusted.
func (d *Disk) failCheckpoint(err error) error {
	err = fmt.Errorf("storage: checkpoint: %w", noSpace(err))
	if errors.Is(err, vr.ErrNoSpace) {
		return err
	}
	return d.fail(err)
}

// Write buffers and writes bytes of the state. An error is final for the checkpoint and, unless it is an ErrNoSpace,
// for the storage.
func (w *checkpointWriter) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 && w.err == nil {
		n := min(chunkBytesMax-len(w.chunk), len(data))
		w.chunk = append(w.chunk, data[:n]...)
		data, written = data[n:], written+n
		if len(w.chunk) == chunkBytesMax {
			w.flushChunk()
		}
	}
	return written, w.err
}

func (w *checkpointWriter) flushChunk() {
	if len(w.chunk) > 0 {
		w.add(encodeChunkHeader(w.chunks, w.chunk), w.chunk)
		w.chunk = w.chunk[:0]
	}
}

// Commit makes the checkpoint durable under its name: file, name, directory, in this order. Then it removes
// older ones.
func (w *checkpointWriter) Commit() error {
	if w.done {
		return fmt.Errorf("storage: checkpoint of operation %d: %w", w.meta.Op, os.ErrClosed)
	}
	w.flushChunk()
	if w.end(); w.err != nil {
		return errors.Join(w.err, w.Abort())
	}
	w.done = true
	return w.publish()
}

// Abort drops the checkpoint.
func (w *checkpointWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return w.drop()
}
