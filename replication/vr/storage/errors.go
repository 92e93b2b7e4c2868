package storage

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// Errors of Create and Open; all are met with errors.Is.
var (
	// ErrNotFormatted: the directory has no log. A replica that has an identity and no log has lost what it
	// promised and must stay out.
	ErrNotFormatted = errors.New("storage: the directory has no log")
	// ErrFormatted: Create found a log, or what is left of one, and touched nothing.
	ErrFormatted = errors.New("storage: the directory is in use by a log")
	// ErrInUse: another process, or another Disk of this one, has the files open.
	ErrInUse = errors.New("storage: the files are open elsewhere")
	// ErrDurability is what every DurabilityError is.
	ErrDurability = errors.New("storage: the log may lack what was acknowledged")
	// ErrLog is what every LogError is.
	ErrLog = errors.New("storage: the directory keeps its log otherwise")
	// ErrDamaged is what every DamageError is.
	ErrDamaged = vr.ErrDamaged
	// ErrFailed: an earlier write failed. What it left on the disk is not known, so nothing is written after
	// it: close, and open again.
	ErrFailed = errors.New("storage: an earlier write failed")
	// ErrGap: a batch or a checkpoint does not join what is stored; the caller is wrong, nothing was written.
	ErrGap = errors.New("storage: does not join what is stored")
	// ErrClosed: the storage is closed.
	ErrClosed = errors.New("storage: closed")
)

// remedyRepair is what becomes of damage that other replicas can mend.
const remedyRepair = "a replica that starts with it recovers from the other members of its group, unless it is told to refuse; " +
	"nothing is changed before what replaces it is here"

// remedy is the same for all other damage: what was promised from these files cannot be known any more.
const remedy = "keep the directory for inspection and do not start this replica from it again; the group goes on " +
	"with its other members, and only a replica with a new id may take this one's place"

// remedyLost is what an operator can do about a log that is gone.
const remedyLost = "a replica whose log is gone has forgotten what it promised and must not take part under its old identity; it comes " +
	"back from an empty directory in a larger incarnation, or as a new replica, once its group has committed that"

// DamageError says that a file does not hold what was written to it. Nothing of it was used.
type DamageError struct {
	// File is the path of the damaged file.
	File string
	// Op is the first operation concerned, Last the last one; 0 when the damage is not in one.
	Op, Last core.OpNumber
	// What was found.
	What string
	// Remedy is what an operator can do.
	Remedy string
	// Err is what was met on the way, if there is more to say.
	Err error
}

// Error names file, operation, finding and remedy.
func (e *DamageError) Error() string {
	where := e.File
	switch {
	case e.Last > e.Op:
		where = fmt.Sprintf("%s, operations %d to %d", e.File, e.Op, e.Last)
	case e.Op != 0:
		where = fmt.Sprintf("%s, operation %d", e.File, e.Op)
	}
	if e.Err != nil {
		return fmt.Sprintf("%v: %s: %s: %v; %s", ErrDamaged, where, e.What, e.Err, e.Remedy)
	}
	return fmt.Sprintf("%v: %s: %s; %s", ErrDamaged, where, e.What, e.Remedy)
}

// Is makes every DamageError an ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Unwrap returns what was met on the way.
func (e *DamageError) Unwrap() error { return e.Err }

// damaged makes a DamageError.
func damaged(file string, op core.OpNumber, format string, arguments ...any) *DamageError {
	return &DamageError{File: file, Op: op, What: fmt.Sprintf(format, arguments...), Remedy: remedy}
}

// DurabilityError says that a log which a crash may have shortened is to be opened as one that is whole. Nothing was
// touched.
type DurabilityError struct {
	File        string
	Found, Want Durability
}

// Error names both and the remedy.
func (e *DurabilityError) Error() string {
	return fmt.Sprintf("%v: %s was written in %v and did not stop cleanly, it cannot be opened in %v: start the replica in %v, "+
		"let it recover from the others, stop it cleanly, and change the durability then", ErrDurability, e.File, e.Found, e.Want, e.Found)
}

// Is makes every DurabilityError an ErrDurability.
func (e *DurabilityError) Is(target error) bool { return target == ErrDurability }

// LogError says that a directory was made with another kind of log than the one that is asked for. Nothing was touched.
type LogError struct {
	File        string
	Found, Want Log
}

// Error names both and the remedy.
func (e *LogError) Error() string {
	return fmt.Sprintf("%v: %s was made with log %v, it cannot be opened with log %v: ask for %v, or give the replica's place "+
		"to a new member with a new directory", ErrLog, e.File, e.Found, e.Want, e.Found)
}

// Is makes every LogError an ErrLog.
func (e *LogError) Is(target error) bool { return target == ErrLog }

// FormatError says that a file is of a version that this program does not read.
type FormatError struct {
	File        string
	Found, Want uint32 // Want is the newest that is read
}

// Error names both versions.
func (e *FormatError) Error() string {
	return fmt.Sprintf("storage: %s has format %d, this program reads up to format %d", e.File, e.Found, e.Want)
}

// noSpace makes the error of a full disk, or of a quota that is used up, a vr.ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", vr.ErrNoSpace, err)
	}
	return err
}
