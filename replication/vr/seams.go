package vr

import (
	"context"
	"errors"
	"io"

	"github.com/viewline/viewline/replication/vr/core"
)

// Transport carries a group's messages between its replicas. Messages may be lost, repeated, reordered and
// late; they may not be changed unnoticed.
type Transport interface {
	// Send hands a message on and returns at once; it drops the message when its bounded queue is full. The
	// payload must not be changed afterwards.
	Send(to core.ReplicaID, payload []byte)

	// Receive sets the function that gets every message for this replica, possibly from many goroutines; it
	// must not block. The payload is the receiver's own: nobody changes it afterwards. nil stops the delivery
	// and returns when no call is under way.
	Receive(deliver func(from core.ReplicaID, payload []byte))

	// ServeCheckpoints sets the function that opens the newest durable checkpoint for a peer, with the bytes
	// that describe it. nil stops the service.
	ServeCheckpoints(open func(from core.ReplicaID, atLeast core.OpNumber) (header []byte, body io.ReadCloser, err error))

	// FetchCheckpoint asks a peer for its newest checkpoint, of at least that op-number. The body ends with
	// io.EOF only when every byte that the peer sent has arrived unchanged, and with an error when ctx ends.
	FetchCheckpoint(ctx context.Context, from core.ReplicaID, atLeast core.OpNumber) (header []byte, body io.ReadCloser, err error)
}

// Loaded is what a replica's storage held when it was opened.
type Loaded struct {
	HardState core.HardState
	// Checkpoint is the newest durable one; the zero value is the empty state.
	Checkpoint core.CheckpointMeta
	// Entries are all retained ones, without a gap; the first may lie below the checkpoint.
	Entries []core.Entry
	// Fresh: nothing was ever written, so this replica has acknowledged nothing.
	Fresh bool
	// Clean: nothing that was written is missing. Whoever wrote last ended with MarkClean, or every Write had been
	// durable when it returned. It is reported once: when Load has returned, the disk does not say so any more.
	Clean bool
	// Damage is what does not verify and other replicas have; nil: nothing. All else is what is sound without it, and
	// the disk was left exactly as it was found.
	Damage []Damage
}

// Damage is a part of a log or a checkpoint that does not hold what was written. Which operations it concerns is known.
type Damage struct {
	File string
	// First and Last are the operations whose entries are lost by it; of a checkpoint, those that made its state.
	First, Last core.OpNumber
	// Err is an ErrDamaged that says what was found.
	Err error
}

// Batch is one atomic and durable change of a replica's storage; see core.Ready.
type Batch struct {
	HardState     *core.HardState
	Truncate      bool
	TruncateAbove core.OpNumber
	Entries       []core.Entry
	TruncateBelow core.OpNumber
	// Replace, when set, is what the log begins above: Entries take the place of all that is stored of it, damage
	// included, and of every checkpoint but the newest that is sound.
	Replace *core.CheckpointMeta
	// Sync: the change, and every one before it, must have reached the disk when Write returns.
	Sync bool
}

// ErrNoSpace is what an error of a checkpoint is when the disk is full. It concerns this checkpoint alone: it is
// dropped and may be tried again, and the log goes on.
var ErrNoSpace = errors.New("vr: no space left for a checkpoint")

// Storage keeps one replica's log, hard state and checkpoints. Load and Write are called from one goroutine;
// the checkpoint methods may be called beside them. Any error is final, and the replica stops, but for an ErrNoSpace
// of CreateCheckpoint and of the writer that it returns.
type Storage interface {
	// Load returns everything that is stored, once it is durable: a process that was killed may have written it
	// and not synced it, and what Load returns is promised again. It verifies all of it, the checkpoint too. Damage
	// of log entries or of the checkpoint is in Loaded, and is found again by every Load until a Batch with Replace
	// is durable. Any other damage is an ErrDamaged that names the file.
	Load() (Loaded, error)

	// Write keeps a batch, whole or not at all. When it returns, a batch with Sync or with another view-number or
	// last-normal view is durable, with all before it; one without may be lost in a crash, with all after it.
	Write(batch Batch) error

	// CreateCheckpoint starts a new checkpoint. It exists once its writer's Commit has returned nil.
	CreateCheckpoint(meta core.CheckpointMeta) (CheckpointWriter, error)

	// OpenCheckpoint opens the newest durable checkpoint; ErrNoCheckpoint when there is none. Reading it to
	// io.EOF verifies its checksums; damage is an ErrDamaged.
	OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error)

	// Durability is the one that its Writes keep. A replica is not opened over a storage that keeps less than it
	// promises.
	Durability() core.Durability

	// Syncs is the number of times the disk was asked to make something durable.
	Syncs() uint64

	// MarkClean makes durable everything that was written, and then a mark that nothing is missing: the next Load
	// is Clean. It belongs to the goroutine of Write, after the last Write and the last checkpoint. A replica that
	// failed, or that lacks something which it acknowledged in an earlier life (it is recovering), must not call it.
	MarkClean() error

	// Close releases the files and leaves no mark. Closing twice is harmless.
	Close() error
}

// CheckpointWriter receives the bytes of one checkpoint.
type CheckpointWriter interface {
	io.Writer
	// Commit makes the checkpoint durable and the newest, and removes the one before it.
	Commit() error
	// Abort drops it; harmless after Commit.
	Abort() error
}
