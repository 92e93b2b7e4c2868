package raft_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/raft/rafttest"
)

// words is a state machine that remembers what it was told, one byte each.
type words struct {
	mu   sync.Mutex
	told []byte // guarded by mu
}

func (w *words) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, operation := range operations {
		w.told = append(w.told, operation[0])
	}
	return operations
}

func (w *words) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.told)
}

func (w *words) Snapshot() (replication.Snapshot, error) { return said(w.all()), nil }

func (w *words) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = data
	return err
}

type said string

func (s said) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(s))
	return int64(n), err
}

func (said) Release() {}

// forgetful is a group of three in memory.
type forgetful struct {
	t           *testing.T
	ctx         context.Context
	network     *rafttest.Network
	directories []string
	stores      []*raft.Storage
	machines    []*words
	replicas    []*raft.Replica
}

const forgetfulTimeout = 100 * time.Millisecond

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	g := &forgetful{
		t: t, ctx: ctx, network: rafttest.NewNetwork(), stores: make([]*raft.Storage, 3), machines: make([]*words, 3), replicas: make([]*raft.Replica, 3),
	}
	for range 3 {
		directory := t.TempDir()
		require.NoError(t, raft.Create(directory, raft.DurabilityMemory))
		g.directories = append(g.directories, directory)
	}
	t.Cleanup(func() {
		for _, replica := range g.replicas {
			if replica != nil {
				require.NoError(t, replica.Close())
			}
		}
	})
	for i := range 3 {
		g.start(i)
	}
	return g
}

func (g *forgetful) start(i int) {
	g.t.Helper()
	storage, err := raft.OpenUnsynced(g.directories[i], raft.DurabilityMemory)
	require.NoError(g.t, err)
	id := replication.ReplicaID(i + 1)
	g.machines[i] = &words{}
	replica, err := raft.Open(raft.Options{
		Self: id, Members: []replication.ReplicaID{1, 2, 3}, Storage: storage, Durability: raft.DurabilityMemory, StateMachine: g.machines[i],
		Transport: g.network.Join(id), ViewChangeTimeout: forgetfulTimeout, RequestTimeout: forgetfulTimeout, Logger: testLogger(),
	})
	require.NoError(g.t, err)
	g.stores[i], g.replicas[i] = storage, replica
}

func (g *forgetful) crash(i int) {
	g.t.Helper()
	g.stores[i].Crash()
	require.NoError(g.t, g.replicas[i].Close())
	g.replicas[i] = nil
}

// commit has an operation done, by whoever leads of those who are given.
func (g *forgetful) commit(word byte, among ...int) int {
	g.t.Helper()
	for {
		require.NoError(g.t, g.ctx.Err())
		for _, i := range among {
			status := g.replicas[i].Status()
			if !status.Leading {
				continue
			}
			if replication.Propose(g.ctx, g.replicas[i], status.View, []byte{word}).Err == nil {
				return i
			}
		}
		<-time.After(time.Millisecond) // it looks again
	}
}

// TestWhoHasForgottenNeitherVotesNorLeads: an operation is acknowledged by two of three; one of them forgets it, the
// other is cut off. The third and the one who forgot are a majority, and must not go on without the operation.
func TestWhoHasForgottenNeitherVotesNorLeads(t *testing.T) {
	g := newForgetful(t)
	g.commit('a', 0, 1, 2)
	require.Eventually(t, func() bool { // one who was cut off too early would never have begun
		return !slices.ContainsFunc(g.machines, func(w *words) bool { return w.all() == "" })
	}, 30*time.Second, time.Millisecond)
	leader := g.commit('b', 0, 1, 2)
	away, forgets := (leader+1)%3, (leader+2)%3
	g.network.Isolate(replication.ReplicaID(away + 1))
	had := g.commit('x', leader, forgets)
	if had != leader { // on a busy machine the other one has got the lead
		leader, forgets = forgets, leader
	}
	g.crash(forgets)
	g.network.Isolate(replication.ReplicaID(leader + 1))
	g.network.Heal()
	for _, other := range []int{away, forgets} {
		g.network.Cut(replication.ReplicaID(leader+1), replication.ReplicaID(other+1))
		g.network.Cut(replication.ReplicaID(other+1), replication.ReplicaID(leader+1))
	}
	g.start(forgets)
	require.Equal(t, "recovering", g.replicas[forgets].Status().Protocol)
	require.NotEmpty(t, g.replicas[forgets].Status().Reason)
	for end := time.Now().Add(15 * forgetfulTimeout); time.Now().Before(end); {
		require.False(t, g.replicas[away].Status().Leading)
		require.False(t, g.replicas[forgets].Status().Leading)
		<-time.After(time.Millisecond)
	}
	g.network.Heal()
	g.commit('c', 0, 1, 2)
	for i := range 3 {
		require.Eventually(t, func() bool {
			all := g.machines[i].all()
			return len(all) >= 4 && all[len(all)-1] == 'c'
		}, 30*time.Second, time.Millisecond)
		require.Contains(t, g.machines[i].all(), "x", "what was acknowledged is there")
		require.Eventually(t, func() bool { return g.replicas[i].Status().Reason == "" }, 30*time.Second, time.Millisecond)
	}
}

// TestWhenAMajorityHasForgotten nobody leads, and nobody makes up a beginning.
func TestWhenAMajorityHasForgotten(t *testing.T) {
	g := newForgetful(t)
	g.commit('a', 0, 1, 2)
	for i := range 3 {
		g.crash(i)
	}
	for i := range 3 {
		g.start(i)
	}
	for end := time.Now().Add(10 * forgetfulTimeout); time.Now().Before(end); {
		for _, replica := range g.replicas {
			status := replica.Status()
			require.False(t, status.Leading)
			require.Equal(t, "recovering", status.Protocol)
			result := replication.Propose(g.ctx, replica, status.View, []byte{'b'})
			require.True(t, errors.Is(result.Err, replication.ErrNotPrimary), result.Err)
		}
		<-time.After(time.Millisecond)
	}
}
