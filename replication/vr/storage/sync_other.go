//go:build !linux

package storage

import "os"

func syncData(file *os.File) error { return file.Sync() }
