package replication

import "errors"

// ErrCheckpointGone is the answer when the checkpoint that was to be gone on with is not there any more. A newer one is.
var ErrCheckpointGone = errors.New("replication: that checkpoint is not there any more")

// CheckpointRequest says which checkpoint a replica wants from another.
type CheckpointRequest struct {
	// AtLeast is the least op-number that a newest checkpoint has to have. It says nothing about Resume's.
	AtLeast OpNumber
	// Resume is the header of the checkpoint that is wanted and no other, as it came with its beginning; empty: the
	// newest is wanted.
	Resume []byte
	// First is the index of the first chunk that is wanted.
	First uint64
}

// Chunk is a piece of a checkpoint.
type Chunk struct {
	// Index counts from 0.
	Index uint64
	// Checksum is the backend's own, over index and bytes. It was made when the checkpoint was, and is verified where
	// the chunk is kept.
	Checksum uint32
	Data     []byte
}

// ChunkReader gives a checkpoint chunk by chunk. It belongs to one goroutine at a time.
type ChunkReader interface {
	// Next returns the next chunk, which stands until the next call; io.EOF when there is none, and only then.
	Next() (Chunk, error)
	// Close ends the reading, at any point. Closing twice is harmless.
	Close() error
}
