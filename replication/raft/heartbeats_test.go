package raft

import (
	"log/slog"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/notice"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// follower1 is an electorate that follows replica 1 in term 3.
type follower1 struct{}

func (follower1) inConfiguration(peer) bool                { return true }
func (follower1) epoch() uint64                            { return 0 }
func (follower1) outdated(peer, uint64) bool               { return false }
func (follower1) wouldVote(*pb.RaftMessage) (uint64, bool) { return 0, false }
func (follower1) follows(p peer, term uint64) bool         { return p.id == 1 && term == 3 }

// TestHeartbeatsAreTheMainLoops, one after the other with all else, but for those of the leader while it is busy: these are
// answered and change nothing. Beside it they would leave a candidate that believes in a leader, or take a term back.
func TestHeartbeatsAreTheMainLoops(t *testing.T) {
	p := newPuppet(t)
	r := newRPC(Options{Self: 2, Members: three(), Transport: p, StateMachine: &notes{}, Storage: NewMemoryStorage()}.withDefaults(),
		newRounds(1), &forgotten{}, notice.New(slog.New(slog.DiscardHandler)), &counters{})
	r.electorate = follower1{}
	r.start()
	defer r.stop()
	send := func(number, term, index uint64) {
		p.deliver(1, mustMarshal(t, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Call: number, Term: term, Index: index}))
	}
	taken := func() hraft.RPC { // by the library's main loop
		select {
		case call := <-r.Consumer():
			return call
		case <-time.After(patience):
			require.FailNow(t, "the library gets nothing")
			return hraft.RPC{}
		}
	}
	answered := func(number uint64) {
		select {
		case m := <-p.answers:
			require.Equal(t, number, m.GetCall())
			require.EqualValues(t, 3, m.GetTerm())
			require.True(t, m.GetAgree())
		case <-time.After(patience):
			require.FailNow(t, "no answer")
		}
	}
	done := hraft.RPCResponse{Response: &hraft.AppendEntriesResponse{Term: 3, Success: true}}
	send(1, 3, 0)
	idle := taken()
	require.Empty(t, p.answers, "it is the library's to answer")
	idle.RespChan <- done
	answered(1)
	send(2, 3, 7)
	long := taken()
	send(3, 3, 0)
	answered(3) // though the library is busy
	send(4, 4, 0)
	long.RespChan <- done
	answered(2)
	require.EqualValues(t, 4, taken().Command.(*hraft.AppendEntriesRequest).Term, "who leads in another term is for the library to judge")
}
