package raft

import (
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// obedient is the Transport of replica 2 of three, of whom replica 1 agrees to everything, and answers a call to take over
// when the test says so. Replica 3 is dead.
type obedient struct {
	*puppet
	mu   sync.Mutex
	term uint64          // of what was said last; guarded by mu
	held *pb.RaftMessage // the call to take over, guarded by mu
}

func (o *obedient) Send(to replication.ReplicaID, payload []byte) {
	m, err := decode(payload)
	if to != 1 || err != nil || m.GetAnswer() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.term = max(o.term, m.GetTerm())
	if m.GetKind() == pb.RaftKind_RAFT_KIND_TIMEOUT_NOW {
		o.held = m
		return
	}
	answer := &pb.RaftMessage{Kind: m.GetKind(), Answer: true, Call: m.GetCall(), Term: m.GetTerm(), Agree: true, Index: m.GetIndex() + uint64(len(m.GetEntries()))}
	go o.say(1, answer)
}

func (o *obedient) say(from replication.ReplicaID, m *pb.RaftMessage) {
	payload, err := proto.Marshal(m)
	require.NoError(o.t, err)
	o.deliver(from, payload)
}

func (o *obedient) newest() (uint64, *pb.RaftMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.term, o.held
}

// TestWhoIsElectedAgainLeads, though a call stands by which it has told another one to take over in an earlier term: as long
// as that has no answer, the library refuses the barrier with which leading begins.
func TestWhoIsElectedAgainLeads(t *testing.T) {
	transport := &obedient{puppet: newPuppet(t)}
	replica, err := Open(Options{
		Self: 2, Members: three(), Storage: left(t), StateMachine: &notes{}, Transport: transport,
		ViewChangeTimeout: 20 * time.Millisecond, RequestTimeout: 2 * patience,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replica.Close()) })
	leads := func() bool { return replica.leading.Load() != 0 }
	require.Eventually(t, leads, patience, time.Millisecond)
	go replica.raft.LeadershipTransferToServer(peer{id: 1}.server(), peer{id: 1}.address())
	called := func() bool { _, held := transport.newest(); return held != nil }
	require.Eventually(t, called, patience, time.Millisecond)

	// Replica 1 has taken over and gone again, and its answer is late.
	first, held := transport.newest()
	transport.say(3, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_REQUEST_VOTE, Call: 1, Term: first + 1, Transfer: true})
	elected := func() bool {
		term, _ := transport.newest()
		return term > first+1 && replica.raft.State().String() == "Leader"
	}
	require.Eventually(t, elected, patience, time.Millisecond)
	require.Never(t, leads, 50*time.Millisecond, time.Millisecond, "the library takes a barrier by now: this test shows nothing any more")
	transport.say(1, &pb.RaftMessage{Kind: held.GetKind(), Answer: true, Call: held.GetCall()})
	require.Eventually(t, leads, patience, time.Millisecond)
}

// TestWhoIsToTakeOverMayAnswerLate: it may stand for election all the while, so that nothing is taken here meanwhile.
func TestWhoIsToTakeOverMayAnswerLate(t *testing.T) {
	transport := &obedient{puppet: newPuppet(t)}
	replica, err := Open(Options{
		Self: 2, Members: three(), Storage: left(t), StateMachine: &notes{}, Transport: transport,
		ViewChangeTimeout: time.Hour, RequestTimeout: time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replica.Close()) })
	answered := make(chan error, 1)
	go func() {
		answered <- replica.rpc.TimeoutNow(peer{id: 1}.server(), "", &hraft.TimeoutNowRequest{}, &hraft.TimeoutNowResponse{})
	}()
	called := func() bool { _, held := transport.newest(); return held != nil }
	require.Eventually(t, called, patience, time.Millisecond)
	require.Never(t, func() bool { return len(answered) > 0 }, 50*time.Millisecond, time.Millisecond)
	_, held := transport.newest()
	transport.say(1, &pb.RaftMessage{Kind: held.GetKind(), Answer: true, Call: held.GetCall()})
	require.NoError(t, <-answered)
}
