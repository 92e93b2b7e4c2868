package raft

import (
	"context"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// staleAsked is a ReadStale under way.
type staleAsked chan error

func askStale(t *testing.T, r *Replica, atMost time.Duration) staleAsked {
	waiting, ended := r.stale.load(), make(staleAsked, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		staleness, err := r.ReadStale(ctx, atMost)
		if err == nil && staleness.Age > atMost {
			t.Errorf("a read within %v is of age %v", atMost, staleness.Age)
		}
		ended <- err
	}()
	require.Eventually(t, func() bool { return r.stale.load() > waiting }, patience, time.Millisecond)
	return ended
}

func (a staleAsked) mustWait(t *testing.T) {
	t.Helper()
	select {
	case err := <-a:
		require.FailNow(t, "a stale read did not wait", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
}

// question is the next one to the leader.
func (p *puppet) question() *pb.RaftMessage {
	p.t.Helper()
	select {
	case m := <-p.reads:
		return m
	case <-time.After(patience):
		require.FailNow(p.t, "the leader is asked nothing")
		return nil
	}
}

// tell has replica 1 answer a question.
func (p *puppet) tell(question *pb.RaftMessage, index uint64, refusal string) {
	p.t.Helper()
	payload, err := proto.Marshal(&pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_READ, Answer: true, Call: question.GetCall(), Index: index, Error: refusal,
	})
	require.NoError(p.t, err)
	p.deliver(1, payload)
}

// TestAStaleReadWaitsForItsStateMachine, and not for what that is never told of.
func TestAStaleReadWaitsForItsStateMachine(t *testing.T) {
	replica, p, machine := follower(t, left(t))
	p.extend(1, 1, 1, "a", "b") // 2 and 3
	read := askStale(t, replica, 0)
	p.tell(p.question(), 3, "")
	read.mustWait(t)
	p.extend(3, 3, 3)
	require.NoError(t, <-read)
	require.Equal(t, []string{"a", "b"}, machine.all())
	p.call(&pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Term: 3, Index: 3, IndexTerm: 3, Commit: 5,
		Entries: []*pb.RaftEntry{{Term: 3, Type: uint32(hraft.LogNoop)}, {Term: 3, Type: uint32(hraft.LogBarrier)}},
	})
	read = askStale(t, replica, 0)
	p.tell(p.question(), 5, "")
	require.NoError(t, <-read)
}

// TestAStaleReadAfterASnapshot: its end may be an entry that no state machine is told of, and nothing need come after it.
func TestAStaleReadAfterASnapshot(t *testing.T) {
	replica, p, machine := follower(t, left(t))
	require.True(t, p.install(9, 2, "a", "b").GetAgree())
	p.extend(9, 2, 9)
	read := askStale(t, replica, 0)
	p.tell(p.question(), 9, "")
	require.NoError(t, <-read)
	require.Equal(t, []string{"a", "b"}, machine.all())
}

// TestAnAnswerIsForThoseWhoWaitedBeforeItsQuestion: what the leader has said may be older than who comes later.
func TestAnAnswerIsForThoseWhoWaitedBeforeItsQuestion(t *testing.T) {
	replica, p, _ := follower(t, left(t))
	p.extend(1, 1, 2, "a")
	first := askStale(t, replica, 0)
	question := p.question()
	second := askStale(t, replica, 0)
	p.tell(question, 2, "")
	require.NoError(t, <-first)
	second.mustWait(t)
	p.tell(p.question(), 2, "")
	require.NoError(t, <-second)
	staleness, err := replica.ReadStale(t.Context(), time.Hour)
	require.NoError(t, err, "what is known will do")
	require.Positive(t, staleness.Age)
	require.Empty(t, p.reads, "nobody was asked for it")
	values := replica.Measure().Values
	require.Equal(t, []uint64{1, 2, 0}, []uint64{values["stale_reads.at_once"], values["stale_reads.waited"], values["stale_reads.too_old"]})
}

// TestAQuestionIsAskedAgain when whoever was asked leads no more.
func TestAQuestionIsAskedAgain(t *testing.T) {
	replica, p, _ := follower(t, left(t))
	p.extend(1, 1, 2, "a")
	read := askStale(t, replica, 0)
	for range 3 {
		p.tell(p.question(), 0, "raft: not primary")
		read.mustWait(t)
	}
	p.tell(p.question(), 2, "")
	require.NoError(t, <-read)
}

// TestStaleReadsThatWaitAreBounded, and who does not wait asks nobody.
func TestStaleReadsThatWaitAreBounded(t *testing.T) {
	replica, p, _ := follower(t, left(t))
	ended, end := context.WithCancel(t.Context())
	end()
	_, err := replica.ReadStale(ended, time.Hour)
	var tooStale *replication.TooStaleError
	require.ErrorAs(t, err, &tooStale)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, tooStale.Age, "nothing is known")
	p.extend(1, 1, 2, "a")
	require.Empty(t, p.reads)
	replica.stale.max = 2
	waiting := []staleAsked{askStale(t, replica, 0), askStale(t, replica, time.Nanosecond)}
	_, err = replica.ReadStale(t.Context(), 0)
	require.ErrorIs(t, err, replication.ErrOverloaded)
	require.Equal(t, uint64(2), replica.Measure().Values["queue_stale_reads"])
	require.NoError(t, replica.Close())
	for _, read := range waiting {
		require.ErrorIs(t, <-read, replication.ErrClosed)
	}
	_, err = replica.ReadStale(t.Context(), time.Hour)
	require.ErrorIs(t, err, replication.ErrClosed)
}

// held is a state machine that waits before it applies.
type held struct {
	notes
	gate chan struct{}
}

func (h *held) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	<-h.gate
	return h.notes.Apply(first, operations)
}

// TestALeaderTellsWhatIsCommitted, though it has not applied it: another replica may have, and somebody may have read it there.
func TestALeaderTellsWhatIsCommitted(t *testing.T) {
	machine := &held{gate: make(chan struct{})}
	replica, view := lone(t, NewMemoryStorage(), machine, nil)
	open := sync.OnceFunc(func() { close(machine.gate) })
	t.Cleanup(open)
	done := make(chan replication.Result, 1)
	before := replica.raft.CommitIndex()
	replica.Submit(view, []byte("a"), func(result replication.Result) { done <- result })
	require.Eventually(t, func() bool { return replica.raft.CommitIndex() > before }, patience, time.Millisecond)
	told := make(chan uint64, 1)
	replica.readIndex(func(index uint64, err error) {
		require.NoError(t, err)
		told <- index
	})
	require.Equal(t, before+1, <-told)
	require.Empty(t, machine.all())
	read := askStale(t, replica, 0)
	read.mustWait(t)
	open()
	require.NoError(t, (<-done).Err)
	require.NoError(t, <-read)
	require.Equal(t, []string{"a"}, machine.all())
}

// TestAgesAllowForClocksThatAreApart: this one may be the slowest of the group by the margin.
func TestAgesAllowForClocksThatAreApart(t *testing.T) {
	s := newStaleReads(1)
	_, known := s.age(time.Hour)
	require.False(t, known)
	s.reached(time.Second)
	s.reached(time.Millisecond) // it is no older for that
	age, known := s.age(time.Second + 100*time.Millisecond)
	require.True(t, known)
	require.Equal(t, 110*time.Millisecond, age)
	read, err := s.add(2*time.Second, 110*time.Millisecond)
	require.NoError(t, err)
	s.reached(2*time.Second - 101*time.Millisecond)
	require.Empty(t, read.done)
	s.reached(2*time.Second - 100*time.Millisecond)
	require.Equal(t, 110*time.Millisecond, <-read.done)
}

// TestAStaleReadAfterARestart from a snapshot: the log below it is still there, and is not told to the state machine again.
func TestAStaleReadAfterARestart(t *testing.T) {
	directory, storage := created(t, DurabilitySync)
	replica, view := lone(t, storage, &notes{}, nil)
	mustPropose(t, replica, view, "a", "b")
	require.NoError(t, replica.Checkpoint(t.Context()))
	require.NoError(t, replica.Close())
	machine := &notes{}
	replica, _ = lone(t, reopened(t, directory, DurabilitySync), machine, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := replica.ReadStale(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, machine.all())
}
