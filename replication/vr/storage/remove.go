package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/viewline/viewline/replication/vr/core"
)

const (
	// cutBytes is how much of a removed file is given back to the file system at once, and cutPause how long it then
	// has for others: it frees a large file in one step, and for as long as that takes no fsync of the log gets on.
	cutBytes = 4 << 20
	cutPause = 2 * time.Millisecond
)

// readFile is a checkpoint's file that is being read.
type readFile struct {
	readers int
	// removed is the file, to be cut, when its name is gone.
	removed *os.File
}

// reading notes, with mu held, a reader of a file, so that the file is not cut short under it.
func (d *Disk) reading(path string) {
	if d.files[path] == nil {
		d.files[path] = &readFile{}
	}
	d.files[path].readers++
}

// read is what a reader says at its end.
func (d *Disk) read(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := d.files[path]
	if file.readers--; file.readers > 0 {
		return
	}
	delete(d.files, path)
	if file.removed != nil {
		d.cutLater(file.removed)
	}
}

// remove takes a file's name away at once, and its bytes bit by bit when nobody reads it any more. A crash in between takes
// them all.
func (d *Disk) remove(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return os.Remove(path)
	}
	if err := os.Remove(path); err != nil {
		return errors.Join(err, file.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if read := d.files[path]; read != nil {
		if read.removed != nil {
			_ = read.removed.Close() // its readers have two files of this name open; the older one goes at once
		}
		read.removed = file
		return nil
	}
	d.cutLater(file)
	return nil
}

// cutLater has a file cut, with mu held. Whatever fails leaves it to the file system.
func (d *Disk) cutLater(file *os.File) {
	status, err := file.Stat()
	if err != nil || status.Size() <= cutBytes || d.closed {
		_ = file.Close()
		return
	}
	d.cutting.Go(func() { d.cut(file, status.Size()) })
}

// cut runs beside everything.
func (d *Disk) cut(file *os.File, size int64) {
	defer func() { _ = file.Close() }()
	pause := time.NewTicker(cutPause)
	defer pause.Stop()
	for size > cutBytes {
		size -= cutBytes
		if file.Truncate(size) != nil {
			return
		}
		select {
		case <-pause.C:
		case <-d.closing:
			return
		}
	}
}

// removeOlder removes what a checkpoint has made superfluous: older ones, and parts of such.
func (d *Disk) removeOlder(op core.OpNumber) error {
	names, err := checkpointNames(d.directory)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	for _, name := range names {
		if name >= checkpointName(op) {
			continue
		}
		if err := d.remove(filepath.Join(d.directory, name)); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
	}
	return d.keepPartial(op)
}
