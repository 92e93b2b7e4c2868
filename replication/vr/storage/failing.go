package storage

import (
	"errors"
	"io"
	"sync"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

var _ vr.Storage = (*Failing)(nil)

// ErrInjected is what a Failing storage answers where its faults say so.
var ErrInjected = errors.New("storage: injected fault")

// Call is a kind of call that a Fault strikes.
type Call uint8

// The calls.
const (
	CallLoad Call = iota
	CallWrite
	CallCreateCheckpoint
	CallCheckpointWrite
	CallCheckpointCommit
	CallOpenCheckpoint
	CallCheckpointRead
	callKinds
)

// Fault strikes one call.
type Fault struct {
	Call Call
	// Nth is which call of that kind, from 1.
	Nth int
	// Torn: the call takes effect (of a checkpoint's write or read: half of it) and fails nevertheless, as an
	// fsync may whose data has reached the disk.
	Torn bool
}

// Failing is a storage with faults. Every call that no fault strikes goes to the storage inside.
type Failing struct {
	inner vr.Storage

	mu     sync.Mutex // guards what follows
	faults []Fault
	counts [callKinds]int
}

// NewFailing puts faults into a storage.
func NewFailing(inner vr.Storage, faults ...Fault) *Failing {
	return &Failing{inner: inner, faults: append([]Fault(nil), faults...)}
}

// Fail adds a fault; its Nth counts from the calls made so far.
func (f *Failing) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault.Nth += f.counts[fault.Call]
	f.faults = append(f.faults, fault)
}

// Calls is how many calls of a kind were made.
func (f *Failing) Calls(call Call) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[call]
}

// strike counts a call and says whether it fails, and whether it takes effect all the same.
func (f *Failing) strike(call Call) (fails, torn bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[call]++
	for _, fault := range f.faults {
		if fault.Call == call && fault.Nth == f.counts[call] {
			return true, fault.Torn
		}
	}
	return false, false
}

// perform runs a call under its fault.
func (f *Failing) perform(call Call, effect func() error) error {
	fails, torn := f.strike(call)
	if fails && !torn {
		return ErrInjected
	}
	err := effect()
	if fails {
		return errors.Join(ErrInjected, err)
	}
	return err
}

// Load is the inner one's.
func (f *Failing) Load() (vr.Loaded, error) {
	var loaded vr.Loaded
	err := f.perform(CallLoad, func() (err error) {
		loaded, err = f.inner.Load()
		return err
	})
	return loaded, err
}

// Write is the inner one's.
func (f *Failing) Write(batch vr.Batch) error {
	return f.perform(CallWrite, func() error { return f.inner.Write(batch) })
}

// CreateCheckpoint is the inner one's.
func (f *Failing) CreateCheckpoint(meta core.CheckpointMeta) (vr.CheckpointWriter, error) {
	if fails, _ := f.strike(CallCreateCheckpoint); fails {
		return nil, ErrInjected
	}
	writer, err := f.inner.CreateCheckpoint(meta)
	if err != nil {
		return nil, err
	}
	return &failingWriter{CheckpointWriter: writer, failing: f}, nil
}

// OpenCheckpoint is the inner one's.
func (f *Failing) OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error) {
	if fails, _ := f.strike(CallOpenCheckpoint); fails {
		return core.CheckpointMeta{}, nil, ErrInjected
	}
	meta, body, err := f.inner.OpenCheckpoint()
	if err != nil {
		return meta, nil, err
	}
	return meta, &failingReader{ReadCloser: body, failing: f}, nil
}

// Syncs is the inner one's.
func (f *Failing) Syncs() uint64 { return f.inner.Syncs() }

// Close is the inner one's.
func (f *Failing) Close() error { return f.inner.Close() }

type failingWriter struct {
	vr.CheckpointWriter
	failing *Failing
}

func (w *failingWriter) Write(data []byte) (int, error) {
	fails, torn := w.failing.strike(CallCheckpointWrite)
	switch {
	case fails && torn:
		n, err := w.CheckpointWriter.Write(data[:len(data)/2])
		return n, errors.Join(ErrInjected, err)
	case fails:
		return 0, ErrInjected
	}
	return w.CheckpointWriter.Write(data)
}

func (w *failingWriter) Commit() error {
	return w.failing.perform(CallCheckpointCommit, w.CheckpointWriter.Commit)
}

type failingReader struct {
	io.ReadCloser
	failing *Failing
}

func (r *failingReader) Read(data []byte) (int, error) {
	fails, torn := r.failing.strike(CallCheckpointRead)
	switch {
	case fails && torn:
		n, err := r.ReadCloser.Read(data[:len(data)/2])
		return n, errors.Join(ErrInjected, err)
	case fails:
		return 0, ErrInjected
	}
	return r.ReadCloser.Read(data)
}
