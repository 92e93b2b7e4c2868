package storage

import (
	"errors"
	"os"
	"syscall"
)

// syncData is fdatasync: unlike fsync it does not write the file's times.
func syncData(file *os.File) error {
	connection, err := file.SyscallConn()
	if err != nil {
		return err
	}
	controlling := connection.Control(func(descriptor uintptr) {
		for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
			err = syscall.Fdatasync(int(descriptor))
		}
	})
	if controlling != nil {
		return controlling
	}
	return os.NewSyscallError("fdatasync", err)
}
