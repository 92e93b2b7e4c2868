package storage

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

const partialName = ".partial"

// partial is a part of another replica's checkpoint, in a file whose name says of which: op-number and digest. The file is
// the beginning of the checkpoint's own.
type partial struct {
	identity vr.CheckpointIdentity
	path     string
}

func (d *Disk) partialPath(identity vr.CheckpointIdentity) string {
	return filepath.Join(d.directory, checkpointName(identity.Meta.Op)+"."+hex.EncodeToString(identity.Digest[:])+partialName)
}

// parsePartial reads what a name says.
func parsePartial(name string) (op core.OpNumber, digest []byte, ok bool) {
	name, ok = strings.CutSuffix(name, partialName)
	if !ok {
		return 0, nil, false
	}
	name, text, ok := strings.Cut(name, ".")
	if !ok {
		return 0, nil, false
	}
	op, ok = checkpointOp(name)
	digest, err := hex.DecodeString(text)
	return op, digest, ok && err == nil && len(digest) == len(vr.CheckpointIdentity{}.Digest)
}

// findPartial looks for what an earlier process has left: the newest is gone on with when it is above the newest
// checkpoint, and whatever else there is, is removed.
func (d *Disk) findPartial() error {
	names, err := filepath.Glob(filepath.Join(d.directory, checkpointPrefix+"*"+partialName))
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	slices.Sort(names)
	for _, path := range slices.Backward(names) {
		if d.partial.path == "" {
			d.partial, err = readPartial(path)
		}
		if err == nil && path == d.partial.path && d.partial.identity.Meta.Op > d.checkpoint.Op {
			continue
		}
		if path == d.partial.path {
			d.partial = partial{}
		}
		if err = d.remove(path); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
	}
	return nil
}

// readPartial reads of which checkpoint a file is a part; the zero value when that is not to be found out.
func readPartial(path string) (partial, error) {
	op, digest, ok := parsePartial(filepath.Base(path))
	if !ok {
		return partial{}, nil
	}
	reader, err := openCheckpoint(path, op)
	var damage *DamageError
	var format *FormatError
	if errors.As(err, &damage) || errors.As(err, &format) {
		return partial{}, nil
	} else if err != nil {
		return partial{}, err
	}
	found := partial{identity: vr.CheckpointIdentity{Meta: reader.meta}, path: path}
	copy(found.identity.Digest[:], digest)
	return found, reader.Close()
}

// Unfinished is the checkpoint of which a part is here.
func (d *Disk) Unfinished() (vr.CheckpointIdentity, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.partial.identity, d.partial.path != ""
}

// keepPartial removes the part that is here when it is of a checkpoint that is not above an op-number.
func (d *Disk) keepPartial(op core.OpNumber) error {
	d.mu.Lock()
	old := d.partial
	if old.path == "" || old.identity.Meta.Op > op {
		d.mu.Unlock()
		return nil
	}
	d.partial = partial{}
	d.mu.Unlock()
	if err := d.remove(old.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// ReceiveCheckpoint goes on with a checkpoint of another replica. It reads all that is here of it.
func (d *Disk) ReceiveCheckpoint(identity vr.CheckpointIdentity) (vr.CheckpointReceiver, error) {
	if err := d.joins(identity.Meta); err != nil {
		return nil, err
	}
	if found, ok := d.Unfinished(); ok && found != identity {
		if err := d.keepPartial(found.Meta.Op); err != nil {
			return nil, d.fail(err)
		}
	}
	path := d.partialPath(identity)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, d.failCheckpoint(err)
	}
	d.mu.Lock()
	d.partial = partial{identity: identity, path: path}
	d.mu.Unlock()
	r := &receiverFile{chunkFile: newChunkFile(d, identity.Meta, file), identity: identity}
	if err := r.verify(); err != nil {
		return nil, errors.Join(d.failCheckpoint(err), r.Abort())
	}
	if r.err != nil {
		return nil, errors.Join(r.err, r.Abort())
	}
	return r, nil
}

// receiverFile takes a checkpoint in.
type receiverFile struct {
	chunkFile
	identity vr.CheckpointIdentity
	done     bool
}

// verify reads what is here, chunk by chunk, and cuts off what is not to be used: a power cut leaves what was not synced
// as it likes.
func (r *receiverFile) verify() error {
	decoder, end := checkpointDecoder{source: bufio.NewReaderSize(r.file, chunkBytesMax)}, int64(0)
	if meta, err := decoder.header(); err == nil && meta == r.meta {
		r.whole, end = decoder.whole, headerBytes(meta)
		for decoder.bytes%chunkBytesMax == 0 && decoder.next() == nil {
			r.whole, r.chunks, r.bytes = decoder.whole, decoder.chunks, decoder.bytes
			_, _ = r.digest.Write(binary.LittleEndian.AppendUint32(nil, decoder.sum)) // a hash never fails
			end += chunkHeaderBytes + int64(len(decoder.left))
		}
	}
	if err := r.file.Truncate(end); err != nil {
		return err
	}
	if _, err := r.file.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end == 0 {
		r.begin()
	}
	return nil
}

// Next is the index of the next chunk.
func (r *receiverFile) Next() uint64 { return uint64(r.chunks) }

// Bytes is the length of what is here of the state.
func (r *receiverFile) Bytes() uint64 { return r.bytes }

// Write verifies a chunk and writes it.
func (r *receiverFile) Write(chunk replication.Chunk) error {
	if r.done {
		return fmt.Errorf("storage: checkpoint of operation %d: %w", r.meta.Op, os.ErrClosed)
	}
	if r.err != nil {
		return r.err
	}
	if err := checkChunk(&chunk, uint64(r.chunks), r.bytes); err != nil {
		return err
	}
	r.add(encodeChunkHeader(uint32(chunk.Index), chunk.Data), chunk.Data)
	return r.err
}

// checkChunk refuses what is not the next chunk, after so many and so many bytes of the state.
func checkChunk(chunk *replication.Chunk, next, bytes uint64) error {
	return received(next, bytes).Check(transfer.Chunk{Index: chunk.Index, Checksum: chunk.Checksum, Data: chunk.Data}, 0)
}

func received(chunks, bytes uint64) transfer.Received {
	return transfer.Received{Chunks: chunks, Bytes: bytes, ChunkBytes: chunkBytesMax, ChunksMax: chunksMax}
}

// Commit makes the checkpoint durable under its name, as that of a checkpoint that was made here.
func (r *receiverFile) Commit() error {
	if r.done {
		return fmt.Errorf("storage: checkpoint of operation %d: %w", r.meta.Op, os.ErrClosed)
	}
	if err := received(uint64(r.chunks), r.bytes).Whole(&r.identity, [sha256.Size]byte(r.digest.Sum(nil)), 0); err != nil {
		return errors.Join(err, r.Abort())
	}
	if r.end(); r.err != nil {
		return errors.Join(r.err, r.Abort())
	}
	r.finish()
	return r.publish()
}

// finish forgets the part: it is removed, or a part no longer.
func (r *receiverFile) finish() {
	r.done = true
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	r.disk.partial = partial{}
}

// Keep leaves what is here. What is not synced of it may be lost, and is found out.
func (r *receiverFile) Keep() error {
	if r.done {
		return nil
	}
	r.done = true
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("storage: checkpoint: %w", err)
	}
	return nil
}

// Abort removes it.
func (r *receiverFile) Abort() error {
	if r.done {
		return nil
	}
	r.finish()
	return r.drop()
}
