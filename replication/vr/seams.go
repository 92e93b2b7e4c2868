package vr

import (
	"context"
	"errors"
	"io"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// Transport carries a group's messages between its replicas. Messages may be lost, repeated, reordered and
// late; they may not be changed unnoticed.
type Transport interface {
	// Send hands a message on and returns at once; it drops the message when its bounded queue is full. The
	// payload must not be changed afterwards.
	Send(to core.ReplicaID, payload []byte)

	// Reach says who is to be reached from here on, and takes the place of what it said before: the other members, and
	// for a while those of the epoch before or of the next. Where an Address is "" the transport knows it by its own
	// configuration, or from the replica itself. Messages are received from anybody in the group, and what is sent to
	// somebody else arrives if he can be answered: a newcomer asks before it is a member, and a replica that was away
	// hears first of a new epoch from members whom it does not know. Called from one goroutine at a time; it does not
	// block.
	Reach(members []core.Member)

	// Receive sets the function that gets every message for this replica, possibly from many goroutines; it
	// must not block. The payload is the receiver's own: nobody changes it afterwards. nil stops the delivery
	// and returns when no call is under way.
	Receive(deliver func(from core.ReplicaID, payload []byte))

	// ServeCheckpoints sets the function that opens a durable checkpoint for a peer, from the chunk that it asks for, with
	// the bytes that describe it. nil stops the service.
	ServeCheckpoints(open OpenFunc)

	// FetchCheckpoint asks a peer for a checkpoint. The chunks end with io.EOF only when the peer says that it has sent
	// the last one, and with an error when ctx ends. replication.ErrCheckpointGone when the one to go on with is gone.
	FetchCheckpoint(ctx context.Context, from core.ReplicaID, request replication.CheckpointRequest) (header []byte, chunks replication.ChunkReader, err error)
}

// OpenFunc opens a checkpoint for a peer. Errors are replication.ErrCheckpointGone, an ErrNoCheckpoint and those of the
// storage.
type OpenFunc = func(from core.ReplicaID, request replication.CheckpointRequest) (header []byte, chunks replication.ChunkReader, err error)

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
	// Forced says each time that an operator had this replica start from what it had, one line each.
	Forced []string
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

// Storage keeps one replica's log, hard state and checkpoints. Claim, Load and Write are called from one goroutine;
// the checkpoint methods may be called beside them. Any error is final, and the replica stops, but for an ErrNoSpace
// of CreateCheckpoint, of ReceiveCheckpoint and of what they return, and an ErrChunk.
type Storage interface {
	// Claim comes first: it makes a storage that is nobody's yet the owner's, durably, and tells whether it is the owner's
	// as Owner.Succeeds decides. An *OwnerError leaves everything as it is.
	Claim(owner Owner) error

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

	// HoldCheckpoint opens the newest durable checkpoint for others; ErrNoCheckpoint when there is none. It can be read
	// until it is closed, though newer ones take its place.
	HoldCheckpoint() (HeldCheckpoint, error)

	// Unfinished is the checkpoint of another replica of which a part is here, in an earlier life too; false: none.
	Unfinished() (CheckpointIdentity, bool)

	// ReceiveCheckpoint takes a checkpoint of another replica in. It goes on with what is here of that one, once every
	// chunk of it is verified; what is here of another is removed. One receiver at a time.
	ReceiveCheckpoint(identity CheckpointIdentity) (CheckpointReceiver, error)

	// Durability is the one that its Writes keep. A replica is not opened over a storage that keeps less than it
	// promises.
	Durability() core.Durability

	// Log is what people call the way in which it keeps the log: one word, in status and logs.
	Log() string

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

// CheckpointIdentity says which checkpoint it is, to the byte: two with the same one are made of the same chunks. (Replicas
// in the same state need not write the same bytes.)
type CheckpointIdentity = transfer.Identity

// HeldCheckpoint is a checkpoint that others are given. Its methods may be called from many goroutines, but not during or
// after Close.
type HeldCheckpoint interface {
	Identity() CheckpointIdentity
	// Bytes is the length of the state.
	Bytes() uint64
	// Chunk reads a chunk and verifies it; io.EOF when there are no more, an ErrDamaged when it is not what was written.
	Chunk(index uint64) (replication.Chunk, error)
	// Close lets it go.
	Close() error
}

// ErrChunk is what an error of a CheckpointReceiver is to which a chunk was given that is not the next or fails its
// checksum, or whose chunks are not together what they should be. Only the sender is to blame.
var ErrChunk = transfer.ErrChunk

// CheckpointReceiver takes one checkpoint of another replica in. It belongs to one goroutine.
type CheckpointReceiver interface {
	// Next is the index of the next chunk; all before it are here, and verified.
	Next() uint64
	// Bytes is the length of what is here of the state.
	Bytes() uint64
	// Write verifies the next chunk and keeps it. After an ErrChunk nothing has changed.
	Write(chunk replication.Chunk) error
	// Commit makes the checkpoint durable and the newest, when all chunks are here: their digest is the identity's. After
	// an ErrChunk nothing is left of it.
	Commit() error
	// Keep leaves what is here for another ReceiveCheckpoint; harmless after Commit and Abort.
	Keep() error
	// Abort removes what is here; harmless after Commit and Keep.
	Abort() error
}
