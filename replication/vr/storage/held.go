package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
)

// fullChunkBytes is what every chunk but the last takes of a file.
const fullChunkBytes = chunkHeaderBytes + chunkBytesMax

var errNotFull = errors.New("a chunk that is not full, and not the last")

// HoldCheckpoint opens the newest checkpoint for others, and finds out its identity.
func (d *Disk) HoldCheckpoint() (vr.HeldCheckpoint, error) {
	reader, err := d.openNewest()
	if err != nil {
		return nil, err
	}
	h := &heldFile{reader: reader, file: reader.source, identity: vr.CheckpointIdentity{Meta: reader.meta}}
	if err := h.examine(); err != nil {
		return nil, errors.Join(reader.explain(reader.meta.Op, err), reader.Close())
	}
	return h, nil
}

// heldFile is a checkpoint's file that others are given.
type heldFile struct {
	reader   *checkpointReader
	file     *os.File
	identity vr.CheckpointIdentity
	bytes    uint64
	chunks   uint64
	close    sync.Once
}

// examine finds out how many chunks there are, and their digest.
func (h *heldFile) examine() error {
	status, err := h.file.Stat()
	if err != nil {
		return err
	}
	size := status.Size() - headerBytes(h.identity.Meta) - checkpointEndBytes
	if size < 0 {
		return errShort
	}
	h.chunks = uint64((size + fullChunkBytes - 1) / fullChunkBytes)
	h.bytes = uint64(size) - h.chunks*chunkHeaderBytes
	if err := h.checkEnd(status.Size()); err != nil {
		return err
	}
	sums, header := sha256.New(), make([]byte, chunkHeaderBytes)
	for index := range h.chunks {
		if err := h.readAt(header, index); err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(header) != h.length(index) || uint64(binary.LittleEndian.Uint32(header[4:])) != index {
			return fmt.Errorf("chunk %d: %w", index, errNotFull)
		}
		_, _ = sums.Write(header[8:]) // a hash never fails
	}
	sums.Sum(h.identity.Digest[:0])
	return nil
}

// checkEnd reads how many chunks and bytes there should be.
func (h *heldFile) checkEnd(size int64) error {
	end := make([]byte, checkpointEndBytes)
	if _, err := h.file.ReadAt(end, size-checkpointEndBytes); err != nil {
		return err
	}
	if err := checkSum(end, checkpointEndBytes); err != nil {
		return err
	}
	if uint64(binary.LittleEndian.Uint32(end[4:])) != h.chunks || binary.LittleEndian.Uint64(end[8:]) != h.bytes {
		return fmt.Errorf("its end says %d chunks and %d bytes: %w", binary.LittleEndian.Uint32(end[4:]), binary.LittleEndian.Uint64(end[8:]), errNotFull)
	}
	return nil
}

// length is how many bytes a chunk has by the size of the file.
func (h *heldFile) length(index uint64) uint32 {
	return uint32(min(h.bytes-index*chunkBytesMax, chunkBytesMax))
}

func (h *heldFile) readAt(data []byte, index uint64) error {
	_, err := h.file.ReadAt(data, headerBytes(h.identity.Meta)+int64(index)*fullChunkBytes)
	if errors.Is(err, io.EOF) {
		return errShort
	}
	return err
}

// Identity says which checkpoint it is.
func (h *heldFile) Identity() vr.CheckpointIdentity { return h.identity }

// Bytes is the length of the state.
func (h *heldFile) Bytes() uint64 { return h.bytes }

// Chunk reads one and verifies it.
func (h *heldFile) Chunk(index uint64) (replication.Chunk, error) {
	if index >= h.chunks {
		return replication.Chunk{}, io.EOF
	}
	data := make([]byte, chunkHeaderBytes+h.length(index))
	if err := h.readAt(data, index); err != nil {
		return replication.Chunk{}, h.reader.explain(h.identity.Meta.Op, err)
	}
	chunk := replication.Chunk{Index: index, Checksum: binary.LittleEndian.Uint32(data[8:]), Data: data[chunkHeaderBytes:]}
	if binary.LittleEndian.Uint32(data) != h.length(index) || uint64(binary.LittleEndian.Uint32(data[4:])) != index ||
		chunk.Checksum != chunkSum(uint32(index), chunk.Data) {
		return replication.Chunk{}, h.reader.explain(h.identity.Meta.Op, fmt.Errorf("chunk %d: %w", index, errChecksum))
	}
	return chunk, nil
}

// Close lets the file go.
func (h *heldFile) Close() (err error) {
	h.close.Do(func() { err = h.reader.Close() })
	return err
}
