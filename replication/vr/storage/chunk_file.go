package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// syncBytes is how much of a checkpoint may be written and not synced. The log's own fsyncs wait behind that of a
// checkpoint for as long as it takes, and a whole large file takes longer than backups wait for their primary.
const syncBytes = 1 << 20

// chunkFile is a checkpoint's file that is being written, chunk by chunk.
type chunkFile struct {
	disk   *Disk
	meta   core.CheckpointMeta
	file   *os.File
	chunks uint32
	bytes  uint64    // of the state
	synced uint64    // of bytes
	whole  uint32    // checksum of everything so far
	digest hash.Hash // of the chunks' checksums
	err    error     // the first error, which every later call repeats
}

func newChunkFile(d *Disk, meta core.CheckpointMeta, file *os.File) chunkFile {
	return chunkFile{disk: d, meta: meta, file: file, digest: sha256.New()}
}

// begin writes the header.
func (f *chunkFile) begin() { f.put(encodeCheckpointHeader(f.meta)) }

// add writes a chunk. Its header is as encodeChunkHeader makes it.
func (f *chunkFile) add(header, data []byte) {
	f.put(header)
	f.put(data)
	f.chunks++
	f.bytes += uint64(len(data))
	_, _ = f.digest.Write(header[8:]) // a hash never fails
	if f.bytes-f.synced >= syncBytes {
		f.sync()
	}
}

// end writes the end and makes everything durable.
func (f *chunkFile) end() {
	f.put(encodeCheckpointEnd(versionOf(f.meta), f.chunks, f.bytes, f.whole))
	f.sync()
}

func (f *chunkFile) sync() {
	if f.err != nil {
		return
	}
	f.synced = f.bytes
	f.disk.syncs.Add(1)
	if err := f.file.Sync(); err != nil {
		f.err = f.disk.failCheckpoint(err)
	}
}

func (f *chunkFile) put(data []byte) {
	if f.err != nil {
		return
	}
	f.whole = crc32.Update(f.whole, castagnoli, data)
	if _, err := f.file.Write(data); err != nil {
		f.err = f.disk.failCheckpoint(err)
	}
}

// publish gives the synced file its name. When it does not come to that, the file goes.
func (f *chunkFile) publish() error {
	before, d := f.file.Name(), f.disk
	if err := f.file.Close(); err != nil {
		return errors.Join(d.failCheckpoint(err), os.Remove(before))
	}
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.usable(); err != nil {
		return errors.Join(err, os.Remove(before))
	}
	if newest := d.newest(); f.meta.Op < newest.Op {
		return errors.Join(fmt.Errorf("%w: a checkpoint of operation %d after one of %d", ErrGap, f.meta.Op, newest.Op),
			os.Remove(before))
	}
	if err := os.Rename(before, filepath.Join(d.directory, checkpointName(f.meta.Op))); err != nil {
		return errors.Join(d.failCheckpoint(err), os.Remove(before))
	}
	d.syncs.Add(1)
	if err := syncDirectory(d.directory); err != nil {
		return d.fail(err) // whether the name is durable is not known, and the log may come to depend on it
	}
	d.mu.Lock()
	d.checkpoint = f.meta
	d.mu.Unlock()
	if err := d.removeOlder(f.meta.Op); err != nil {
		return d.fail(err)
	}
	return nil
}

// drop removes the file. Where the disk is full, the log needs the space at once.
func (f *chunkFile) drop() error {
	remove := f.disk.remove
	if errors.Is(f.err, vr.ErrNoSpace) {
		remove = os.Remove
	}
	if err := errors.Join(f.file.Close(), remove(f.file.Name())); err != nil {
		return fmt.Errorf("storage: checkpoint: %w", err)
	}
	return nil
}
