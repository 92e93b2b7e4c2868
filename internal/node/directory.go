package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The files of a data directory that belong to this package.
const (
	identityFile = "IDENTITY"
	lockFile     = "LOCK"
	// temporaryFile is an identity that was not written to its end.
	temporaryFile = "IDENTITY.new"
	// lostAndFound lies in every directory that is a whole file system.
	lostAndFound = "lost+found"
)

// Directory is a data directory, locked by this process. Close gives it back.
type Directory struct {
	path     string
	identity Identity
	once     sync.Once
	lock     *os.File
	err      error
}

// Path is where the directory lies.
func (d *Directory) Path() string { return d.path }

// Identity is whose data it holds.
func (d *Directory) Identity() Identity { return d.identity }

// Close unlocks the directory. Closing twice is harmless.
func (d *Directory) Close() error {
	d.once.Do(func() { d.err = d.lock.Close() })
	return d.err
}

// FormatDirectory makes a directory a replica's: it creates it if need be, readable by its owner only, and
// writes its identity. Done again with the same identity it changes nothing. The errors are *IdentityError for
// a directory of another replica, ErrNotEmpty, ErrInUse, ErrIdentity, or the file system's.
func FormatDirectory(path string, identity Identity) error {
	if err := identity.validate(); err != nil {
		return err
	}
	if err := makeDirectories(path); err != nil {
		return fmt.Errorf("node: creating a data directory: %w", err)
	}
	have, err := readIdentity(path)
	if err == nil {
		return have.differs(path, identity, true)
	}
	if !errors.Is(err, ErrNotFormatted) {
		return err
	}
	lock, err := acquire(path)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // the lock goes with the descriptor, whatever Close returns
	// Somebody may have been faster, before this process had the lock.
	if have, err = readIdentity(path); err == nil {
		return have.differs(path, identity, true)
	}
	if err := onlyOurs(path); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o700); err != nil { // it may have stood before
		return fmt.Errorf("node: closing a data directory to others: %w", err)
	}
	return writeIdentity(path, identity)
}

// makeDirectories is os.MkdirAll, durable: every directory that got a new one is synced. Otherwise a power cut
// may take the whole way to an identity that is durable itself.
func makeDirectories(path string) error {
	grown, err := parentsOfMissing(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, parent := range grown {
		if err := syncDirectory(parent); err != nil {
			return err
		}
	}
	return nil
}

// parentsOfMissing returns, from the inside out, the directories that get a new entry when path is made.
func parentsOfMissing(path string) ([]string, error) {
	var parents []string
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			return parents, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		parents = append(parents, filepath.Dir(at))
	}
}

// OpenDirectory locks a directory and checks that it is the wanted replica's. An Incarnation of 0 in want
// stands for any. The errors are ErrNotFormatted, *IdentityError, ErrInUse, ErrIdentity, or the file system's.
func OpenDirectory(path string, want Identity) (*Directory, error) {
	if _, err := readIdentity(path); err != nil {
		return nil, err
	}
	lock, err := acquire(path)
	if err != nil {
		return nil, err
	}
	have, err := readIdentity(path)
	if err == nil {
		err = have.differs(path, want, want.Incarnation != 0)
	}
	if err != nil {
		_ = lock.Close() // the reason to give it up is the error that counts
		return nil, err
	}
	return &Directory{path: path, identity: have, lock: lock}, nil
}

// differs returns an *IdentityError for the first field in which a directory is not the wanted one's.
func (i Identity) differs(path string, want Identity, incarnationToo bool) error {
	hexadecimal := func(cluster [16]byte) string { return hex.EncodeToString(cluster[:]) }
	for _, field := range []struct{ name, want, have string }{
		{"cluster", hexadecimal(want.Cluster), hexadecimal(i.Cluster)},
		{"group", strconv.FormatUint(uint64(want.Group), 10), strconv.FormatUint(uint64(i.Group), 10)},
		{"replica", strconv.FormatUint(uint64(want.Replica), 10), strconv.FormatUint(uint64(i.Replica), 10)},
		{"incarnation", strconv.FormatUint(want.Incarnation, 10), strconv.FormatUint(i.Incarnation, 10)},
	} {
		if field.want != field.have && (field.name != "incarnation" || incarnationToo) {
			return &IdentityError{Directory: path, Field: field.name, Want: field.want, Have: field.have}
		}
	}
	return nil
}

// acquire takes the directory's lock, which ends with the file descriptor and so with the process at the
// latest. It is an flock: it holds between two descriptors of one process too, and children do not inherit it.
func acquire(path string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("node: locking a data directory: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	_ = lock.Close() // nothing was written to it
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	return nil, fmt.Errorf("node: locking %s: %w", path, err)
}

func readIdentity(path string) (Identity, error) {
	name := filepath.Join(path, identityFile)
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("%w: %s does not exist", ErrNotFormatted, name)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("node: reading an identity: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(file, identityBytesMax+1))
	if err != nil {
		return Identity{}, fmt.Errorf("node: reading %s: %w", name, err)
	}
	identity, err := decodeIdentity(data)
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w", name, err)
	}
	return identity, nil
}

// onlyOurs returns ErrNotEmpty when a directory without an identity holds what looks like somebody's data.
func onlyOurs(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("node: reading a data directory: %w", err)
	}
	for _, entry := range entries {
		switch entry.Name() {
		case lockFile, temporaryFile, lostAndFound:
		default:
			return fmt.Errorf("%w: %s", ErrNotEmpty, filepath.Join(path, entry.Name()))
		}
	}
	return nil
}

// writeIdentity makes an identity durable, whole or not at all: it is written under another name, synced,
// renamed, and the directory and its parent are synced.
func writeIdentity(path string, identity Identity) error {
	name := filepath.Join(path, temporaryFile)
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("node: writing an identity: %w", err)
	}
	_, err = file.Write(identity.encode())
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(name, filepath.Join(path, identityFile))
	}
	if err == nil {
		err = syncDirectory(path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("node: writing an identity: %w", err)
	}
	return nil
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	err = directory.Sync()
	if closing := directory.Close(); err == nil {
		err = closing
	}
	return err
}
