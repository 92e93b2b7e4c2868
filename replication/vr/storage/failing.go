package storage

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/viewline/viewline/replication"
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
	CallMarkClean
	CallHoldCheckpoint
	CallChunkRead
	CallReceiveCheckpoint
	CallChunkWrite
	CallReceiverCommit
	callKinds
)

// needsSpace: the call fails while the disk is full.
func (c Call) needsSpace() bool {
	switch c {
	case CallWrite, CallCreateCheckpoint, CallCheckpointWrite, CallCheckpointCommit, CallMarkClean, CallReceiveCheckpoint, CallChunkWrite,
		CallReceiverCommit:
		return true
	default:
		return false
	}
}

// ofCheckpoint: the call writes a checkpoint.
func (c Call) ofCheckpoint() bool {
	switch c {
	case CallCreateCheckpoint, CallCheckpointWrite, CallCheckpointCommit, CallReceiveCheckpoint, CallChunkWrite, CallReceiverCommit:
		return true
	default:
		return false
	}
}

// Fault strikes one call.
type Fault struct {
	Call Call
	// Nth is which call of that kind, from 1.
	Nth int
	// Torn: the call takes effect (of a checkpoint's write or read: half of it) and fails nevertheless, as an
	// fsync may whose data has reached the disk.
	Torn bool
	// Err is what the disk says, such as syscall.EIO; nil: nothing but ErrInjected, which every fault's error is.
	Err error
}

// Failing is a storage with faults. Every call that no fault strikes goes to the storage inside.
type Failing struct {
	inner vr.Storage

	mu     sync.Mutex // guards what follows
	faults []Fault
	counts [callKinds]int
	full   bool
	struck int
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

// Fill makes the disk full until it is called again with false: whatever needs space fails with ENOSPC.
func (f *Failing) Fill(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

// Struck is how many calls have failed by a fault.
func (f *Failing) Struck() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

// strike counts a call and says how it fails, and whether it takes effect all the same.
func (f *Failing) strike(call Call) (failure error, torn bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[call]++
	for _, fault := range f.faults {
		if fault.Call == call && fault.Nth == f.counts[call] {
			f.struck++
			return injected(call, fault.Err), fault.Torn
		}
	}
	if f.full && call.needsSpace() {
		f.struck++
		return injected(call, syscall.ENOSPC), false
	}
	return nil, false
}

// injected is an ErrInjected, and what a Disk would have said.
func injected(call Call, err error) error {
	switch {
	case err == nil:
		return ErrInjected
	case call.ofCheckpoint():
		err = noSpace(err)
	}
	return fmt.Errorf("%w: %w", ErrInjected, err)
}

// perform runs a call under its fault.
func (f *Failing) perform(call Call, effect func() error) error {
	failure, torn := f.strike(call)
	if failure != nil && !torn {
		return failure
	}
	return errors.Join(failure, effect())
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
	if failure, _ := f.strike(CallCreateCheckpoint); failure != nil {
		return nil, failure
	}
	writer, err := f.inner.CreateCheckpoint(meta)
	if err != nil {
		return nil, err
	}
	return &failingWriter{CheckpointWriter: writer, failing: f}, nil
}

// OpenCheckpoint is the inner one's.
func (f *Failing) OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error) {
	if failure, _ := f.strike(CallOpenCheckpoint); failure != nil {
		return core.CheckpointMeta{}, nil, failure
	}
	meta, body, err := f.inner.OpenCheckpoint()
	if err != nil {
		return meta, nil, err
	}
	return meta, &failingReader{ReadCloser: body, failing: f}, nil
}

// HoldCheckpoint is the inner one's.
func (f *Failing) HoldCheckpoint() (vr.HeldCheckpoint, error) {
	if failure, _ := f.strike(CallHoldCheckpoint); failure != nil {
		return nil, failure
	}
	held, err := f.inner.HoldCheckpoint()
	if err != nil {
		return nil, err
	}
	return &failingHeld{HeldCheckpoint: held, failing: f}, nil
}

// Unfinished is the inner one's.
func (f *Failing) Unfinished() (vr.CheckpointIdentity, bool) { return f.inner.Unfinished() }

// ReceiveCheckpoint is the inner one's.
func (f *Failing) ReceiveCheckpoint(identity vr.CheckpointIdentity) (vr.CheckpointReceiver, error) {
	if failure, _ := f.strike(CallReceiveCheckpoint); failure != nil {
		return nil, failure
	}
	receiver, err := f.inner.ReceiveCheckpoint(identity)
	if err != nil {
		return nil, err
	}
	return &failingReceiver{CheckpointReceiver: receiver, failing: f}, nil
}

// Claim is the inner one's.
func (f *Failing) Claim(owner vr.Owner) error { return f.inner.Claim(owner) }

// Durability is the inner one's.
func (f *Failing) Durability() Durability { return f.inner.Durability() }

// Log is the inner one's.
func (f *Failing) Log() string { return f.inner.Log() }

// Syncs is the inner one's.
func (f *Failing) Syncs() uint64 { return f.inner.Syncs() }

// MarkClean is the inner one's.
func (f *Failing) MarkClean() error { return f.perform(CallMarkClean, f.inner.MarkClean) }

// Close is the inner one's.
func (f *Failing) Close() error { return f.inner.Close() }

type failingWriter struct {
	vr.CheckpointWriter
	failing *Failing
}

func (w *failingWriter) Write(data []byte) (int, error) {
	failure, torn := w.failing.strike(CallCheckpointWrite)
	switch {
	case torn:
		n, err := w.CheckpointWriter.Write(data[:len(data)/2])
		return n, errors.Join(failure, err)
	case failure != nil:
		return 0, failure
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
	failure, torn := r.failing.strike(CallCheckpointRead)
	switch {
	case torn:
		n, err := r.ReadCloser.Read(data[:len(data)/2])
		return n, errors.Join(failure, err)
	case failure != nil:
		return 0, failure
	}
	return r.ReadCloser.Read(data)
}

type failingHeld struct {
	vr.HeldCheckpoint
	failing *Failing
}

func (h *failingHeld) Chunk(index uint64) (replication.Chunk, error) {
	if failure, _ := h.failing.strike(CallChunkRead); failure != nil {
		return replication.Chunk{}, failure
	}
	return h.HeldCheckpoint.Chunk(index)
}

type failingReceiver struct {
	vr.CheckpointReceiver
	failing *Failing
}

func (r *failingReceiver) Write(chunk replication.Chunk) error {
	return r.failing.perform(CallChunkWrite, func() error { return r.CheckpointReceiver.Write(chunk) })
}

func (r *failingReceiver) Commit() error {
	return r.failing.perform(CallReceiverCommit, r.CheckpointReceiver.Commit)
}
