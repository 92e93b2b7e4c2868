package raft

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/notice"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// configurationOf has voters, and those below 0 as non-voters.
func configurationOf(ids ...int) hraft.Configuration {
	var configuration hraft.Configuration
	for _, id := range ids {
		suffrage := hraft.Voter
		if id < 0 {
			suffrage, id = hraft.Nonvoter, -id
		}
		p := peer{id: replication.ReplicaID(id)}
		configuration.Servers = append(configuration.Servers, hraft.Server{Suffrage: suffrage, ID: p.server(), Address: p.address()})
	}
	return configuration
}

func TestNextStep(t *testing.T) {
	for _, test := range []struct {
		name          string
		self          replication.ReplicaID
		members       []replication.ReplicaID
		configuration []int
		silent, slow  []replication.ReplicaID
		newcomers     []replication.ReplicaID
		want          string
	}{
		{name: "nothing to do", self: 1, members: three(), configuration: []int{1, 2, 3}, want: "none"},
		{name: "a member is missing", self: 1, members: three(), configuration: []int{1, 2}, want: "add 3"},
		{name: "it has the log", self: 1, members: three(), configuration: []int{1, 2, -3}, want: "promote 3"},
		{name: "it has not", self: 1, members: three(), configuration: []int{1, 2, -3}, slow: []replication.ReplicaID{3}, want: "none"},
		{name: "who leaves stays until it has", self: 1, members: []replication.ReplicaID{1, 4}, configuration: []int{1, 2, -4}, slow: []replication.ReplicaID{4}, want: "none"},
		{name: "who leaves and is dead goes at once", self: 1, members: []replication.ReplicaID{1, 4}, configuration: []int{1, 2, -4}, silent: []replication.ReplicaID{2}, want: "remove 2"},
		{name: "who leaves goes last", self: 1, members: []replication.ReplicaID{1, 4}, configuration: []int{1, 2, 4}, want: "remove 2"},
		{name: "who leads and leaves has another lead", self: 1, members: []replication.ReplicaID{2, 3}, configuration: []int{1, 2, 3}, slow: []replication.ReplicaID{2}, want: "hand over 3"},
		{name: "when there is one", self: 1, members: []replication.ReplicaID{4, 5}, configuration: []int{1, 2, 3, -4}, want: "promote 4"},
		{name: "a newcomer gets the log", self: 1, members: three(), configuration: []int{1, 2, 3}, newcomers: []replication.ReplicaID{4}, want: "add 4"},
		{name: "and keeps getting it", self: 1, members: three(), configuration: []int{1, 2, 3, -4}, newcomers: []replication.ReplicaID{4}, want: "none"},
		{name: "as long as it asks", self: 1, members: three(), configuration: []int{1, 2, 3, -4}, want: "remove 4"},
		{name: "an id that was used is no newcomer", self: 1, members: three(), configuration: []int{1, 2, 3}, newcomers: []replication.ReplicaID{2}, want: "none"},
	} {
		is := func(ids []replication.ReplicaID) func(peer) bool {
			return func(p peer) bool { return !slices.Contains(ids, p.id) }
		}
		s := &scene{
			self: peer{id: test.self}, members: firstMembership(test.members), configuration: configurationOf(test.configuration...),
			heard: is(test.silent), caughtUp: is(append(test.slow, test.silent...)),
		}
		for _, id := range test.newcomers {
			s.newcomers = append(s.newcomers, peer{id: id})
		}
		got := nextStep(s)
		text := got.deed.String()
		if got.deed != deedNone {
			text += " " + string(got.server.server())
		}
		require.Equal(t, test.want, text, test.name)
	}
	members := firstMembership(three())
	members.Members[1].Incarnation = 3
	s := &scene{self: peer{id: 1}, members: members, configuration: configurationOf(1, 2, 3), heard: func(peer) bool { return true }}
	require.Equal(t, step{deedRemove, peer{id: 2}}, nextStep(s), "a life that is over goes before the next one comes")
	s.configuration = configurationOf(1, 3)
	require.Equal(t, step{deedAdd, peer{2, 3}}, nextStep(s))
}

// TestStepsEnd: whatever the beginning, the steps lead to the members, if all are there, and never leave fewer voters than both.
func TestStepsEnd(t *testing.T) {
	sets := [][]int{{1}, {1, 2}, {1, 2, 3}, {4, 5, 6}, {1, 4}, {2, 3, 4}, {1, 2, 3, 4, 5}, {5}, {3, 6}}
	for _, from := range sets {
		for _, to := range sets {
			var ids []replication.ReplicaID
			for _, id := range to {
				ids = append(ids, replication.ReplicaID(id))
			}
			all := func(peer) bool { return true }
			s := &scene{self: peer{id: replication.ReplicaID(from[0])}, members: firstMembership(ids), configuration: configurationOf(from...), heard: all, caughtUp: all}
			for n := 0; !settledOn(s.members, s.configuration); n++ {
				require.Less(t, n, 30, "%v to %v", from, to)
				s.take(t, nextStep(s))
				require.GreaterOrEqual(t, len(voters(s.configuration)), min(len(from), len(to)))
			}
			require.Equal(t, step{}, nextStep(s))
		}
	}
}

// take does a step as the library would.
func (s *scene) take(t *testing.T, next step) {
	t.Helper()
	at := slices.IndexFunc(s.configuration.Servers, func(server hraft.Server) bool { return server.ID == next.server.server() })
	switch next.deed {
	case deedAdd:
		s.configuration.Servers = append(s.configuration.Servers, hraft.Server{Suffrage: hraft.Nonvoter, ID: next.server.server()})
	case deedPromote:
		s.configuration.Servers[at].Suffrage = hraft.Voter
	case deedRemove:
		require.NotEqual(t, s.self, next.server, "nobody removes itself")
		s.configuration.Servers = slices.Delete(s.configuration.Servers, at, at+1)
	case deedHandOver:
		require.Equal(t, hraft.Voter, s.configuration.Servers[at].Suffrage)
		s.self = next.server
	default:
		require.Fail(t, "there is nothing to do", "%v", s.configuration)
	}
}

func TestPeersByName(t *testing.T) {
	for _, p := range []peer{{1, 0}, {3, 1}, {1 << 31, 1 << 62}} {
		require.Equal(t, p, peerOf(p.server()))
	}
	require.Equal(t, hraft.ServerID("3.1"), peer{3, 1}.server())
	for _, name := range []hraft.ServerID{"", "x", "3.", "3.x", "-1", "4294967296"} {
		require.Zero(t, peerOf(name), name)
	}
}

// FuzzMemberships: no bytes bring the decoder down, and what it lets pass is the same again.
func FuzzMemberships(f *testing.F) {
	f.Add(firstMembership(three()).encode())
	f.Add([]byte{0x12, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMembership(data)
		if err != nil {
			return
		}
		again, err := decodeMembership(m.encode())
		require.NoError(t, err)
		require.Equal(t, m, again)
		require.LessOrEqual(t, len(m.encode()), membersBytesMax)
	})
}

// TestEpochsFollowEachOther: a command that begins another epoch than the next one has no effect, on any replica.
func TestEpochsFollowEachOther(t *testing.T) {
	m := newTestMachine(&notes{})
	apply := func(index, term uint64, view replication.ViewNumber, epoch uint64, ids ...replication.ReplicaID) any {
		next := firstMembership(ids)
		next.Epoch = epoch
		return m.ApplyBatch([]*hraft.Log{{Index: index, Term: term, Type: hraft.LogCommand, Data: next.encode(), Extensions: extensionOf(extensionMembers, view)}})[0]
	}
	require.Equal(t, outcome{stale: true}, apply(2, 3, 3, 2, 1, 2))
	require.Equal(t, outcome{stale: true}, apply(3, 3, 2, 1, 1, 2), "of another view")
	require.Equal(t, outcome{began: true}, apply(4, 3, 3, 1, 1, 2))
	require.Equal(t, outcome{stale: true}, apply(5, 3, 3, 1, 1, 3), "it has begun already")
	require.Equal(t, []replication.ReplicaID{1, 2}, m.members.Load().ids())
	require.EqualValues(t, 4, m.members.Load().index)
	garbage := m.ApplyBatch([]*hraft.Log{{Index: 6, Term: 3, Type: hraft.LogCommand, Data: []byte{0xff}, Extensions: extensionOf(extensionMembers, 3)}})[0]
	require.Equal(t, outcome{stale: true}, garbage)
}

// TestWhoWasOpenedAgainDoesNotAnswer what it was asked before: nobody waits for that. A leader whose follower had fetched a
// snapshot and died would otherwise send it nothing for a minute.
func TestWhoWasOpenedAgainDoesNotAnswer(t *testing.T) {
	p := newPuppet(t)
	o := Options{Self: 1, Members: three(), Transport: p}.withDefaults()
	r := newRPC(o, newRounds(1), &forgotten{}, notice.New(slog.New(slog.DiscardHandler)), &counters{})
	defer r.cut()
	r.receive(2, mustMarshal(t, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Answer: true, Opened: 1}))
	ended := make(chan error, 1)
	go func() {
		request := &hraft.InstallSnapshotRequest{Term: 1, LastLogIndex: 9, Size: 5}
		ended <- r.InstallSnapshot("2", "2", request, &hraft.InstallSnapshotResponse{}, bytes.NewReader([]byte("state")))
	}()
	var chunks replication.ChunkReader
	require.Eventually(t, func() bool {
		r.mu.Lock()
		number := r.last
		r.mu.Unlock()
		var err error
		_, chunks, err = r.openOffer(2, replication.CheckpointRequest{Resume: callToken(number)})
		return err == nil
	}, patience, time.Millisecond)
	_, err := chunks.Next()
	require.NoError(t, err)
	_, err = chunks.Next()
	require.ErrorIs(t, err, io.EOF)
	r.receive(2, mustMarshal(t, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Answer: true, Opened: 2}))
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "opened again")
	case <-time.After(patience):
		require.Fail(t, "it waits")
	}
}
