package storage

import (
	"io"
	"os"
)

// files is how segments are written: the operating system's, or one that fails, in tests.
type files interface {
	// create makes a file that is not there.
	create(path string) (file, error)
	// open opens one that is there for writing.
	open(path string) (file, error)
	remove(path string) error
	// truncate takes away what lies behind so many bytes.
	truncate(path string, size int64) error
	syncDirectory(path string) error
}

type file interface {
	io.WriterAt
	io.Closer
	// Sync makes durable what was written, and how long the file is.
	Sync() error
}

// osFiles are real ones.
type osFiles struct{}

func (osFiles) create(path string) (file, error) {
	return asFile(os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600))
}

func (osFiles) open(path string) (file, error) { return asFile(os.OpenFile(path, os.O_WRONLY, 0)) }

func (osFiles) remove(path string) error { return os.Remove(path) }

func (osFiles) truncate(path string, size int64) error { return os.Truncate(path, size) }

func (osFiles) syncDirectory(path string) error { return syncDirectory(path) }

// asFile keeps a nil file from becoming a file that is not nil.
func asFile(handle *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return dataFile{handle}, nil
}

// dataFile is a file whose Sync leaves out what nobody needs to read its bytes back.
type dataFile struct{ *os.File }

func (f dataFile) Sync() error { return syncData(f.File) }
