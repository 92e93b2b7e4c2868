package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// ErrChunk is what an error is of a chunk that is not the next or fails its checksum, or of chunks that are not together
// what they should be. Only the sender is to blame.
var ErrChunk = errors.New("vr: not a chunk of this checkpoint")

var errChecksum = errors.New("checksum mismatch")

// Identity says which checkpoint it is, to the byte: two with the same one are made of the same chunks. (Replicas in the
// same state need not write the same bytes.)
type Identity struct {
	Meta core.CheckpointMeta
	// Digest is the SHA-256 of the checksums of all chunks, each as four little-endian bytes.
	Digest [sha256.Size]byte
}

// DigestOf is the digest of chunks with these checksums.
func DigestOf(checksums []uint32) [sha256.Size]byte {
	var data []byte
	for _, sum := range checksums {
		data = binary.LittleEndian.AppendUint32(data, sum)
	}
	return sha256.Sum256(data)
}

// Checksum is that of a chunk: over its length, its index and its bytes.
func Checksum(index uint32, data []byte) uint32 {
	var header [8]byte
	binary.LittleEndian.PutUint32(header[:], uint32(len(data)))
	binary.LittleEndian.PutUint32(header[4:], index)
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(header[:], table), table, data)
}

// Received is how much of a checkpoint is here, and how its chunks are cut: each but the last has ChunkBytes.
type Received struct {
	Chunks, Bytes         uint64
	ChunkBytes, ChunksMax uint64
}

// Chunk is one that has come.
type Chunk struct {
	Index    uint64
	Checksum uint32
	Data     []byte
}

// Check refuses what is not the next chunk.
func (r Received) Check(chunk Chunk, omitted omit.Set) error {
	size := uint64(len(chunk.Data))
	switch {
	case chunk.Index != r.Chunks || r.Chunks > r.ChunksMax:
		return fmt.Errorf("%w: chunk %d came, chunk %d is the next", ErrChunk, chunk.Index, r.Chunks)
	case size == 0 || size > r.ChunkBytes || r.Bytes%r.ChunkBytes != 0:
		return fmt.Errorf("%w: chunk %d has %d bytes, after %d", ErrChunk, chunk.Index, size, r.Bytes)
	case Checksum(uint32(chunk.Index), chunk.Data) != chunk.Checksum && !omitted.Has(RuleChunkChecksum):
		return fmt.Errorf("%w: chunk %d: %w", ErrChunk, chunk.Index, errChecksum)
	}
	return nil
}

// Whole refuses chunks with this digest of their checksums as those of a checkpoint.
func (r Received) Whole(identity *Identity, digest [sha256.Size]byte, omitted omit.Set) error {
	if digest != identity.Digest && !omitted.Has(RuleSameCheckpoint) {
		return fmt.Errorf("%w: the digest of %d chunks is %x, not %x", ErrChunk, r.Chunks, digest, identity.Digest)
	}
	return nil
}
