package raft

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"
)

// snapshots is the hraft.SnapshotStore of a replica: the newest snapshot, in a file or in memory. One that is being read
// can be read to its end though a newer one takes its place.
type snapshots struct {
	keeper    keeper
	forgotten *forgotten
	fail      func(error)
	halted    *atomic.Bool
	// settle is told of each new one, and of the newest at the beginning.
	settle func(index, term uint64) error
	// arrives is called before anything is kept (Storage.arrives).
	arrives func() error

	mu       sync.Mutex          // guards what follows
	newest   *hraft.SnapshotMeta // nil: there is none
	previous uint64              // the index of the one before it in this life; 0: none
}

// keeper is where snapshots are.
type keeper interface {
	// create begins a snapshot; meta.Size is not known yet.
	create(meta hraft.SnapshotMeta) (draft, error)
	// open opens the snapshot that was committed last.
	open(meta hraft.SnapshotMeta) (io.ReadCloser, error)
}

// draft is a snapshot that is being written. It ends with one of commit and drop.
type draft interface {
	io.Writer
	// commit makes it the newest, durably.
	commit() error
	drop()
}

// newestIndex is the index of the newest snapshot's last entry; 0: there is none.
func (s *snapshots) newestIndex() uint64 {
	index, _ := s.end()
	return index
}

// end is index and term of the newest snapshot's last entry; 0: there is none.
func (s *snapshots) end() (index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return 0, 0
	}
	return s.newest.Index, s.newest.Term
}

// newestState is how far the newest snapshot goes, and its configuration.
func (s *snapshots) newestState() (uint64, *hraft.Configuration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return 0, nil
	}
	configuration := s.newest.Configuration.Clone()
	return s.newest.Index, &configuration
}

// indexes are those of the newest snapshot and of the one before it.
func (s *snapshots) indexes() (newest, previous uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return 0, 0
	}
	return s.newest.Index, s.previous
}

// List returns the newest snapshot, if there is one.
func (s *snapshots) List() ([]*hraft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil, nil
	}
	meta := *s.newest
	return []*hraft.SnapshotMeta{&meta}, nil
}

// Open opens the newest snapshot.
func (s *snapshots) Open(id string) (*hraft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || s.newest.ID != id {
		return nil, nil, fmt.Errorf("raft: snapshot %q is not there any more", id)
	}
	meta := *s.newest
	reader, err := s.keeper.open(meta)
	if err != nil {
		return nil, nil, err
	}
	return &meta, reader, nil
}

func snapshotID(index, term uint64) string { return fmt.Sprintf("%020d-%020d", index, term) }

// Create begins a snapshot.
func (s *snapshots) Create(version hraft.SnapshotVersion, index, term uint64, configuration hraft.Configuration, configurationIndex uint64, _ hraft.Transport) (hraft.SnapshotSink, error) {
	if s.halted.Load() {
		return nil, errHalted
	}
	meta := hraft.SnapshotMeta{
		Version: version, ID: snapshotID(index, term), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}
	d, err := s.keeper.create(meta)
	if err != nil {
		return nil, s.failed(err)
	}
	return &sink{snapshots: s, draft: d, meta: meta}, nil
}

// failed judges an error of writing: a full disk costs a snapshot, any other error the replica.
func (s *snapshots) failed(err error) error {
	err = fmt.Errorf("raft: write a snapshot: %w", err)
	if !isNoSpace(err) {
		s.fail(err)
	}
	return err
}

// sink is the hraft.SnapshotSink of a draft. It belongs to one goroutine.
type sink struct {
	snapshots *snapshots
	draft     draft
	meta      hraft.SnapshotMeta
	ended     bool
	broken    error // why a write failed
}

func (k *sink) ID() string { return k.meta.ID }

// Write writes some of the state.
func (k *sink) Write(data []byte) (int, error) {
	if k.snapshots.halted.Load() {
		k.broken = errHalted
		return 0, errHalted
	}
	n, err := k.draft.Write(data)
	if k.meta.Size += int64(n); err != nil {
		k.broken = k.snapshots.failed(err)
		return n, k.broken
	}
	return n, nil
}

// Close makes it the newest snapshot.
func (k *sink) Close() error {
	if k.ended {
		return nil
	}
	if k.snapshots.halted.Load() || k.broken != nil {
		return k.cancel(errHalted)
	}
	k.ended = true
	if err := k.snapshots.take(k.draft, k.meta); err != nil {
		return err
	}
	return k.snapshots.settle(k.meta.Index, k.meta.Term)
}

// take makes a draft the newest snapshot, unless a later one was installed while this one was written.
func (s *snapshots) take(d draft, meta hraft.SnapshotMeta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest != nil && s.newest.Index >= meta.Index {
		d.drop()
		return errSuperseded
	}
	if err := s.arrives(); err != nil {
		d.drop()
		return s.failed(err)
	}
	if err := d.commit(); err != nil {
		return s.failed(err)
	}
	if s.newest != nil {
		s.previous = s.newest.Index
	}
	s.newest = &meta
	s.forgotten.learned(meta.Term)
	return nil
}

// Cancel drops what was written.
func (k *sink) Cancel() error { return k.cancel(nil) }

func (k *sink) cancel(err error) error {
	if !k.ended {
		k.ended = true
		k.draft.drop()
	}
	return err
}

// memoryKeeper keeps a snapshot in memory.
type memoryKeeper struct {
	mu   sync.Mutex
	data []byte // of the newest; guarded by mu, and never changed
}

type memoryDraft struct {
	keeper *memoryKeeper
	data   []byte
}

func (m *memoryKeeper) create(hraft.SnapshotMeta) (draft, error) { return &memoryDraft{keeper: m}, nil }

func (m *memoryKeeper) open(hraft.SnapshotMeta) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return io.NopCloser(bytes.NewReader(m.data)), nil
}

func (d *memoryDraft) Write(data []byte) (int, error) {
	d.data = append(d.data, data...)
	return len(data), nil
}

func (d *memoryDraft) commit() error {
	d.keeper.mu.Lock()
	defer d.keeper.mu.Unlock()
	d.keeper.data = d.data
	return nil
}

func (d *memoryDraft) drop() {}
