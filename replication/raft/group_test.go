package raft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// patience is how long a test waits for what has to happen, on a machine that is busy with other things.
const patience = 30 * time.Second

// notes is a state machine that remembers its operations. Its zero value keeps the contract.
type notes struct {
	mu         sync.Mutex
	operations []string // guarded by mu

	shortApply, failSnapshot, failWrite, leaveBytes bool
}

func (n *notes) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, operation := range operations {
		n.operations = append(n.operations, string(operation))
	}
	if n.shortApply {
		return operations[1:]
	}
	return operations
}

func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.operations...)
}

func (n *notes) Snapshot() (replication.Snapshot, error) {
	if n.failSnapshot {
		return nil, errors.New("no snapshot today")
	}
	var out bytes.Buffer
	for _, operation := range n.all() {
		fmt.Fprintln(&out, operation)
	}
	return noted{&out, n.failWrite}, nil
}

type noted struct {
	*bytes.Buffer
	fails bool
}

func (n noted) WriteTo(w io.Writer) (int64, error) {
	if n.fails {
		return 0, errors.New("cannot be written")
	}
	return n.Buffer.WriteTo(w)
}

func (noted) Release() {}

func (n *notes) Restore(r io.Reader) error {
	if n.leaveBytes {
		_, err := io.ReadFull(r, make([]byte, 2))
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.operations = nil
	for _, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		n.operations = append(n.operations, string(line))
	}
	return nil
}

// lone opens a group of one on a storage, and waits until it leads.
func lone(t *testing.T, storage *Storage, machine replication.StateMachine, change func(*Options)) (*Replica, replication.ViewNumber) {
	t.Helper()
	options := Options{
		Self: 1, Members: []replication.ReplicaID{1}, Storage: storage, StateMachine: machine, Durability: storage.mark.durability,
		ViewChangeTimeout: 50 * time.Millisecond,
	}
	if change != nil {
		change(&options)
	}
	replica, err := Open(options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = replica.Close() })
	for {
		select {
		case event := <-replica.Events():
			if event.Leading {
				return replica, event.View
			}
		case <-time.After(patience):
			t.Fatal("it does not lead")
		}
	}
}

func mustPropose(t *testing.T, r *Replica, view replication.ViewNumber, operations ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, operation := range operations {
		require.NoError(t, replication.Propose(ctx, r, view, []byte(operation)).Err)
	}
}

// created is a new storage in a directory.
func created(t *testing.T, durability Durability) (string, *Storage) {
	t.Helper()
	directory := t.TempDir()
	require.NoError(t, Create(directory, durability))
	return directory, reopened(t, directory, durability)
}

func reopened(t *testing.T, directory string, durability Durability) *Storage {
	t.Helper()
	storage, err := OpenStorage(directory, durability)
	require.NoError(t, err)
	return storage
}

// failingLogs is a log store that fails when it is told to.
type failingLogs struct {
	hraft.LogStore
	mu         sync.Mutex
	store, get error // guarded by mu
}

func (f *failingLogs) set(store, get error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store, f.get = store, get
}

func (f *failingLogs) failure() (store, get error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store, f.get
}

func (f *failingLogs) StoreLogs(logs []*hraft.Log) error {
	if err, _ := f.failure(); err != nil {
		return err
	}
	return f.LogStore.StoreLogs(logs)
}

func (f *failingLogs) GetLog(index uint64, log *hraft.Log) error {
	if _, err := f.failure(); err != nil {
		return err
	}
	return f.LogStore.GetLog(index, log)
}

// failingStable is a stable store that fails after so many writes.
type failingStable struct {
	hraft.StableStore
	fail error

	mu    sync.Mutex
	allow int // guarded by mu
}

func (f *failingStable) set(allow int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.allow = allow
}

func (f *failingStable) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.allow == 0 {
		return f.fail
	}
	f.allow--
	return nil
}

func (f *failingStable) Set(key, value []byte) error {
	if err := f.failure(); err != nil {
		return err
	}
	return f.StableStore.Set(key, value)
}

func (f *failingStable) SetUint64(key []byte, value uint64) error {
	if err := f.failure(); err != nil {
		return err
	}
	return f.StableStore.SetUint64(key, value)
}
