package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

const (
	checkpointMagic       = "viewckpt"
	checkpointHeaderBytes = 40
	chunkHeaderBytes      = 12
	checkpointEndBytes    = 28
	// chunkBytesMax is how much of a checkpoint one checksum covers, and how much is buffered.
	chunkBytesMax = 256 << 10
	// syncBytes is how much of a checkpoint may be written and not synced. The fsync of a whole large file makes
	// the log's own wait behind it, longer than backups wait for their primary.
	syncBytes = 8 << 20
)

// encodeCheckpointHeader: magic, version, op, view, hash, checksum.
func encodeCheckpointHeader(meta core.CheckpointMeta) []byte {
	data := append(make([]byte, 0, checkpointHeaderBytes), checkpointMagic...)
	data = binary.LittleEndian.AppendUint32(data, formatVersion)
	data = binary.LittleEndian.AppendUint64(data, uint64(meta.Op))
	data = binary.LittleEndian.AppendUint64(data, uint64(meta.View))
	data = binary.LittleEndian.AppendUint64(data, uint64(meta.Hash))
	return appendSum(data)
}

// encodeChunkHeader: length, index, checksum over both and the bytes.
func encodeChunkHeader(index uint32, data []byte) []byte {
	header := binary.LittleEndian.AppendUint32(make([]byte, 0, chunkHeaderBytes), uint32(len(data)))
	header = binary.LittleEndian.AppendUint32(header, index)
	return binary.LittleEndian.AppendUint32(header, crc32.Update(crc32.Checksum(header, castagnoli), castagnoli, data))
}

// encodeCheckpointEnd: length 0, number of chunks, bytes of state, checksum over the file so far, checksum of
// this record.
func encodeCheckpointEnd(chunks uint32, bytes uint64, whole uint32) []byte {
	data := binary.LittleEndian.AppendUint32(make([]byte, 0, checkpointEndBytes), 0)
	data = binary.LittleEndian.AppendUint32(data, chunks)
	data = binary.LittleEndian.AppendUint64(data, bytes)
	data = binary.LittleEndian.AppendUint32(data, whole)
	data = binary.LittleEndian.AppendUint32(data, formatVersion)
	return appendSum(data)
}

// checkpointWriter writes one checkpoint file under a temporary name.
type checkpointWriter struct {
	disk   *Disk
	meta   core.CheckpointMeta
	path   string
	file   *os.File
	chunk  []byte
	chunks uint32
	bytes  uint64
	synced uint64 // of bytes
	whole  uint32
	err    error // the first error, which every later call repeats
	done   bool
}

// CreateCheckpoint starts a checkpoint file. ErrGap when the newest one is of a later operation.
func (d *Disk) CreateCheckpoint(meta core.CheckpointMeta) (vr.CheckpointWriter, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	if newest := d.newest(); meta.Op < newest.Op || meta.Op == 0 {
		return nil, fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, meta.Op, newest.Op)
	}
	path := filepath.Join(d.directory, checkpointName(meta.Op))
	file, err := os.CreateTemp(d.directory, checkpointName(meta.Op)+".*"+temporaryName)
	if err != nil {
		return nil, d.fail(fmt.Errorf("storage: checkpoint: %w", err))
	}
	w := &checkpointWriter{disk: d, meta: meta, path: path, file: file, chunk: make([]byte, 0, chunkBytesMax)}
	if w.put(encodeCheckpointHeader(meta)); w.err != nil {
		return nil, errors.Join(w.err, w.Abort())
	}
	return w, nil
}

// Write buffers and writes bytes of the state. An error is final for the checkpoint, and for the storage.
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
	if len(w.chunk) == 0 {
		return
	}
	w.put(encodeChunkHeader(w.chunks, w.chunk))
	w.put(w.chunk)
	w.chunks++
	w.bytes += uint64(len(w.chunk))
	w.chunk = w.chunk[:0]
	if w.bytes-w.synced >= syncBytes {
		w.sync()
	}
}

func (w *checkpointWriter) sync() {
	if w.err != nil {
		return
	}
	w.synced = w.bytes
	w.disk.syncs.Add(1)
	if err := w.file.Sync(); err != nil {
		w.err = w.disk.fail(fmt.Errorf("storage: checkpoint: %w", err))
	}
}

func (w *checkpointWriter) put(data []byte) {
	if w.err != nil {
		return
	}
	w.whole = crc32.Update(w.whole, castagnoli, data)
	if _, err := w.file.Write(data); err != nil {
		w.err = w.disk.fail(fmt.Errorf("storage: checkpoint: %w", err))
	}
}

// Commit makes the checkpoint durable under its name: file, name, directory, in this order. Then it removes
// older ones.
func (w *checkpointWriter) Commit() error {
	if w.done {
		return fmt.Errorf("storage: checkpoint of operation %d: %w", w.meta.Op, os.ErrClosed)
	}
	w.flushChunk()
	w.put(encodeCheckpointEnd(w.chunks, w.bytes, w.whole))
	if w.err != nil {
		return errors.Join(w.err, w.Abort())
	}
	err := w.publish()
	if err != nil && !errors.Is(err, ErrGap) && !errors.Is(err, ErrClosed) {
		err = w.disk.fail(err)
	}
	return errors.Join(err, w.Abort())
}

func (w *checkpointWriter) publish() error {
	w.disk.syncs.Add(1)
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("storage: checkpoint: %w", err)
	}
	temporary := w.file.Name()
	w.done = true
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("storage: checkpoint: %w", err)
	}
	d := w.disk
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.usable(); errors.Is(err, ErrClosed) {
		return errors.Join(err, os.Remove(temporary))
	}
	if newest := d.newest(); w.meta.Op < newest.Op {
		return errors.Join(fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, w.meta.Op, newest.Op),
			os.Remove(temporary))
	}
	if err := os.Rename(temporary, w.path); err != nil {
		return fmt.Errorf("storage: checkpoint: %w", err)
	}
	d.syncs.Add(1)
	if err := syncDirectory(d.directory); err != nil {
		return err
	}
	d.mu.Lock()
	d.checkpoint = w.meta
	d.mu.Unlock()
	return removeOlder(d.directory, w.meta.Op)
}

// Abort drops the checkpoint.
func (w *checkpointWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	if err := errors.Join(w.file.Close(), os.Remove(w.file.Name())); err != nil {
		return fmt.Errorf("storage: checkpoint: %w", err)
	}
	return nil
}
