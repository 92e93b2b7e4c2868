package metadata_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/examples/metadata"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft/rafttest"
	"github.com/viewline/viewline/replication/sessions"
	"github.com/viewline/viewline/replication/vr/vrtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// group is what the tests need of one in this process, whatever replicates it.
type group interface {
	Propose(ctx context.Context, operation []byte) replication.Result
	Primary(ctx context.Context) (replication.ReplicaID, replication.ViewNumber, error)
	Kill(id replication.ReplicaID) error
	Restart(id replication.ReplicaID) error
	StateMachine(id replication.ReplicaID) replication.StateMachine
	Close() error
	replica(id replication.ReplicaID) replication.Replicator
}

type vrGroup struct{ *vrtest.Group }

func (g vrGroup) replica(id replication.ReplicaID) replication.Replicator { return g.Replica(id) }

type raftGroup struct{ *rafttest.Group }

func (g raftGroup) replica(id replication.ReplicaID) replication.Replicator { return g.Replica(id) }

// service is a group of five, as metaDR's sample configurations have, with a client.
type service struct {
	*metadata.Client
	*testing.T
	group group
}

// onBoth runs a test on a group of each backend.
func onBoth(t *testing.T, test func(t *testing.T, s *service)) {
	machine := func() replication.StateMachine {
		machine, err := sessions.New(metadata.NewTree(), sessions.Options{})
		require.NoError(t, err)
		return machine
	}
	for name, start := range map[string]func() (group, error){
		"vr":   func() (group, error) { g, err := vrtest.Start(5, machine); return vrGroup{g}, err },
		"raft": func() (group, error) { g, err := rafttest.Start(5, machine); return raftGroup{g}, err },
	} {
		t.Run(name, func(t *testing.T) {
			group, err := start()
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, group.Close()) })
			client, err := metadata.NewClient(group.Propose)
			require.NoError(t, err)
			test(t, &service{Client: client, T: t, group: group})
		})
	}
}

func (s *service) within() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	s.Cleanup(cancel)
	return ctx
}

func (s *service) has(key, value string) {
	s.Helper()
	found, err := s.Get(s.within(), key)
	require.NoError(s, err)
	require.Equal(s, value, found)
}

// create.tst: what may be created, and what not.
func TestCreate(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		require.NoError(t, s.Create(ctx, "/a", "1"))
		require.NoError(t, s.Create(ctx, "/a/b", "2"))
		s.has("/a/b", "2")
		require.ErrorIs(t, s.Create(ctx, "/a", "3"), metadata.ErrAlreadyPresent)
		s.has("/a", "1")
		require.ErrorIs(t, s.Create(ctx, "/x/y", ""), metadata.ErrNoParent)
		for _, malformed := range []string{"", "a", "/a/", "//", "/a//b", "/a/../b", "/a\x00", "/" + strings.Repeat("k", metadata.KeyBytesMax)} {
			require.ErrorIs(t, s.Create(ctx, malformed, ""), metadata.ErrMalformed, "%q", malformed)
		}
		longest := "/" + strings.Repeat("k", metadata.KeyBytesMax-1)
		require.NoError(t, s.Create(ctx, longest, strings.Repeat("v", 1<<20)), "a value has no bound but the group's")
	})
}

// set.tst
func TestSet(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		require.ErrorIs(t, s.Set(ctx, "/a", "1"), metadata.ErrNotPresent)
		require.NoError(t, s.Create(ctx, "/a", "1"))
		require.NoError(t, s.Set(ctx, "/a", "2"))
		s.has("/a", "2")
	})
}

// get.tst
func TestGet(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		_, err := s.Get(s.within(), "/a")
		require.ErrorIs(t, err, metadata.ErrNotPresent)
		s.has("/", "")
	})
}

// list.tst: one level, in order.
func TestList(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		for _, key := range []string{"/b", "/a", "/a/2", "/a/1", "/a/1/x", "/ab"} {
			require.NoError(t, s.Create(ctx, key, ""))
		}
		for key, want := range map[string][]string{"/": {"a", "ab", "b"}, "/a": {"1", "2"}, "/a/1": {"x"}, "/b": nil} {
			names, err := s.List(ctx, key)
			require.NoError(t, err)
			require.Equal(t, want, names, key)
		}
		_, err := s.List(ctx, "/none")
		require.ErrorIs(t, err, metadata.ErrNotPresent)
	})
}

// remove.tst
func TestRemove(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		require.NoError(t, s.Create(ctx, "/a", ""))
		require.NoError(t, s.Create(ctx, "/a/b", ""))
		require.ErrorIs(t, s.Remove(ctx, "/a"), metadata.ErrHasChildren)
		require.NoError(t, s.Remove(ctx, "/a/b"))
		require.NoError(t, s.Remove(ctx, "/a"))
		require.ErrorIs(t, s.Remove(ctx, "/a"), metadata.ErrNotPresent)
		require.ErrorIs(t, s.Remove(ctx, "/"), metadata.ErrHasChildren, "the root stays")
	})
}

// basic.tst and all.tst: one after the other, and then the same on every replica.
func TestBasicAndAll(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		require.NoError(t, s.Create(ctx, "/dir", "directory"))
		for i := range 20 {
			require.NoError(t, s.Create(ctx, fmt.Sprintf("/dir/%02d", i), "new"))
			require.NoError(t, s.Set(ctx, fmt.Sprintf("/dir/%02d", i), fmt.Sprint(i)))
		}
		for i := range 10 {
			require.NoError(t, s.Remove(ctx, fmt.Sprintf("/dir/%02d", 2*i)))
		}
		names, err := s.List(ctx, "/dir")
		require.NoError(t, err)
		require.Len(t, names, 10)
		require.Equal(t, "01", names[0])
		s.has("/dir/19", "19")
		states := map[string]bool{}
		for id := range replication.ReplicaID(5) {
			reader, ok := s.group.replica(id + 1).(replication.StaleReader)
			require.True(t, ok)
			_, err := reader.ReadStale(ctx, 0) // all is applied there, and nothing comes any more
			require.NoError(t, err)
			snapshot, err := s.group.StateMachine(id + 1).Snapshot()
			require.NoError(t, err)
			var state strings.Builder
			_, err = snapshot.WriteTo(&state)
			require.NoError(t, err)
			snapshot.Release()
			states[state.String()] = true
		}
		require.Len(t, states, 1)
	})
}

// Whenever the primary dies, a backup becomes primary after a view change, and nothing is lost. The client is told
// nothing of it.
func TestPrimaryDies(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		for life := range 4 {
			key := fmt.Sprintf("/life-%d", life)
			require.NoError(t, s.Create(ctx, key, key))
			primary, _, err := s.group.Primary(ctx)
			require.NoError(t, err)
			require.NoError(t, s.group.Kill(primary))
			for before := range life + 1 {
				key := fmt.Sprintf("/life-%d", before)
				s.has(key, key)
			}
			require.NoError(t, s.group.Restart(primary))
		}
	})
}

// REPLICA_NOT_PRIMARY: a backup refuses, and says who is primary.
func TestBackupRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		primary, view, err := s.group.Primary(s.within())
		require.NoError(t, err)
		for id := range replication.ReplicaID(5) {
			if id+1 == primary {
				continue
			}
			refused := replication.Propose(s.within(), s.group.replica(id+1), view, []byte("{}"))
			require.True(t, replication.DidNotHappen(refused.Err))
			require.ErrorIs(t, refused.Err, replication.ErrNotPrimary)
		}
	})
}

// QUORUM_NOT_REACHED: with three of five gone nothing is answered, and the request that waits is executed once, when
// one of them is back.
func TestQuorumIsNotReached(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		require.NoError(t, s.Create(ctx, "/a", "1"))
		primary, _, err := s.group.Primary(ctx)
		require.NoError(t, err)
		var gone []replication.ReplicaID
		for id := replication.ReplicaID(1); len(gone) < 3; id++ {
			if id != primary {
				require.NoError(t, s.group.Kill(id))
				gone = append(gone, id)
			}
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		require.Error(t, s.Create(short, "/b", "2"))
		created := make(chan error, 1)
		go func() { created <- s.Create(ctx, "/c", "3") }()
		require.NoError(t, s.group.Restart(gone[0]))
		require.NoError(t, <-created)
		s.has("/a", "1")
		s.has("/c", "3")
	})
}

// Many clients at a time: of all who create one key, one does.
func TestManyClients(t *testing.T) {
	onBoth(t, func(t *testing.T, s *service) {
		ctx := s.within()
		const clients, keys = 8, 20
		won := make([]int, clients)
		var working sync.WaitGroup
		for number := range clients {
			client, err := metadata.NewClient(s.group.Propose)
			require.NoError(t, err)
			working.Go(func() {
				for i := range keys {
					if err := client.Create(ctx, fmt.Sprintf("/%d", i), fmt.Sprint(number)); err == nil {
						won[number]++
					} else {
						assert.ErrorIs(t, err, metadata.ErrAlreadyPresent)
					}
				}
			})
		}
		primary, _, err := s.group.Primary(ctx)
		require.NoError(t, err)
		require.NoError(t, s.group.Kill(primary))
		working.Wait()
		total := 0
		for _, count := range won {
			total += count
		}
		require.Equal(t, keys, total)
	})
}

func TestMalformedOperations(t *testing.T) {
	tree := metadata.NewTree()
	results := tree.Apply(1, [][]byte{nil, []byte("{"), []byte(`{"kind":"none","key":"/"}`), []byte(`{"kind":"get","key":"/"}`)})
	require.Len(t, results, 4)
	for i, text := range results[:3] {
		require.JSONEq(t, `{"refused":6}`, string(text), "operation %d", i)
	}
	require.JSONEq(t, `{}`, string(results[3]))
}

func TestCheckpoint(t *testing.T) {
	tree := metadata.NewTree()
	tree.Apply(1, [][]byte{[]byte(`{"kind":"create","key":"/a","value":"1"}`)})
	snapshot, err := tree.Snapshot()
	require.NoError(t, err)
	tree.Apply(2, [][]byte{[]byte(`{"kind":"remove","key":"/a"}`)})
	var text strings.Builder
	_, err = snapshot.WriteTo(&text)
	require.NoError(t, err)
	snapshot.Release()
	require.NoError(t, tree.Restore(strings.NewReader(text.String())))
	require.JSONEq(t, `{"value":"1"}`, string(tree.Apply(3, [][]byte{[]byte(`{"kind":"get","key":"/a"}`)})[0]))
	require.Error(t, tree.Restore(strings.NewReader("{")))
}
