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
	data = binary.LittleEndian.AppendUint32(data, checkpointVersion)
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
	data = binary.LittleEndian.AppendUint32(data, checkpointVersion)
	return appendSum(data)
}

// encodeCheckpoint is a whole checkpoint with these chunks.
func encodeCheckpoint(meta core.CheckpointMeta, chunks [][]byte) []byte {
	data, size := encodeCheckpointHeader(meta), 0
	for i, chunk := range chunks {
		data = append(append(data, encodeChunkHeader(uint32(i), chunk)...), chunk...)
		size += len(chunk)
	}
	return append(data, encodeCheckpointEnd(uint32(len(chunks)), uint64(size), crc32.Checksum(data, castagnoli))...)
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
		return nil, d.failCheckpoint(err)
	}
	w := &checkpointWriter{disk: d, meta: meta, path: path, file: file, chunk: make([]byte, 0, chunkBytesMax)}
	if w.put(encodeCheckpointHeader(meta)); w.err != nil {
		return nil, errors.Join(w.err, w.Abort())
	}
	return w, nil
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
		w.err = w.disk.failCheckpoint(err)
	}
}

func (w *checkpointWriter) put(data []byte) {
	if w.err != nil {
		return
	}
	w.whole = crc32.Update(w.whole, castagnoli, data)
	if _, err := w.file.Write(data); err != nil {
		w.err = w.disk.failCheckpoint(err)
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
	if w.sync(); w.err != nil {
		return errors.Join(w.err, w.Abort())
	}
	return w.publish()
}

// publish gives the synced file its name. When it does not come to that, the file goes.
func (w *checkpointWriter) publish() error {
	w.done = true
	temporary, d := w.file.Name(), w.disk
	if err := w.file.Close(); err != nil {
		return errors.Join(d.failCheckpoint(err), os.Remove(temporary))
	}
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.usable(); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if newest := d.newest(); w.meta.Op < newest.Op {
		return errors.Join(fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, w.meta.Op, newest.Op),
			os.Remove(temporary))
	}
	if err := os.Rename(temporary, w.path); err != nil {
		return errors.Join(d.failCheckpoint(err), os.Remove(temporary))
	}
	d.syncs.Add(1)
	if err := syncDirectory(d.directory); err != nil {
		return d.fail(err) // whether the name is durable is not known, and the log may come to depend on it
	}
	d.mu.Lock()
	d.checkpoint = w.meta
	d.mu.Unlock()
	if err := removeOlder(d.directory, w.meta.Op); err != nil {
		return d.fail(err)
	}
	return nil
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
