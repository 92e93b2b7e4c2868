package history

import "errors"

// Errors of reads and of Restore.
var (
	// ErrSnapshotTooOld: the timestamp is below the version horizon, so the versions it needs may be gone.
	ErrSnapshotTooOld = errors.New("history: snapshot is older than the version horizon")
	// ErrCheckpoint: the records are not the checkpoint of a state of this shard.
	ErrCheckpoint = errors.New("history: malformed checkpoint")
)
