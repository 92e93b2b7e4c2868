package vr

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// TestPendingsAgainstASlice holds the queue against an obvious one.
func TestPendingsAgainstASlice(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var queue pendings
	var model []pendingProposal
	view, op := core.ViewNumber(1), core.OpNumber(0)
	for step := range 20_000 {
		switch random.IntN(6) {
		case 0, 1, 2:
			op++
			queue.push(pendingProposal{view: view, op: op, size: step})
			model = append(model, pendingProposal{view: view, op: op, size: step})
		case 3, 4:
			if len(model) == 0 {
				require.Nil(t, queue.first())
				continue
			}
			require.Equal(t, model[0], *queue.first())
			require.Equal(t, model[0], queue.pop())
			model = model[1:]
		case 5:
			if random.IntN(10) > 0 {
				continue
			}
			first := op - min(op, core.OpNumber(random.IntN(20)))
			last := first + core.OpNumber(random.IntN(10))
			taken := queue.takeRange(first, last)
			within := func(p pendingProposal) bool { return p.op >= first && p.op <= last }
			require.Equal(t, len(model)-len(slices.DeleteFunc(slices.Clone(model), within)), len(taken))
			model = slices.DeleteFunc(model, within)
			if random.IntN(4) == 0 {
				view, op = view+1, op-min(op, 3)
				require.Len(t, queue.takeAll(), len(model))
				model = nil
			}
		}
		require.Len(t, queue.queue[queue.head:], len(model))
	}
	require.Less(t, cap(queue.queue), 20_000, "memory is used again")
}

// TestOtherPrimarysEntryIsNoAnswer: an operation of another primary under the op-number of a proposal of this
// one does not answer it.
func TestOtherPrimarysEntryIsNoAnswer(t *testing.T) {
	r := &Replica{options: Options{}.withDefaults()}
	r.mailbox = newMailbox(r.options)
	o := &owner{Replica: r}
	got := map[core.OpNumber]replication.Result{}
	propose := func(view core.ViewNumber, op core.OpNumber) {
		require.NoError(t, r.mailbox.putProposal(proposal{operation: []byte("1234")}))
		o.pending.push(pendingProposal{view: view, op: op, size: 4, done: func(result replication.Result) {
			require.NotContains(t, got, op, "answered twice")
			got[op] = result
		}})
	}
	for op := core.OpNumber(5); op <= 9; op++ {
		propose(3, op)
	}
	values := [][]byte{{4}, {5}, {6}, {7}}
	o.answerApplied([]core.Entry{{Op: 4, View: 2}, {Op: 5, View: 3}, {Op: 6, View: 3}, {Op: 7, View: 4}}, values)
	require.Equal(t, replication.Result{Op: 5, Value: []byte{5}}, got[5])
	require.Equal(t, replication.Result{Op: 6, Value: []byte{6}}, got[6])
	for op := core.OpNumber(7); op <= 9; op++ {
		require.ErrorIs(t, got[op].Err, replication.ErrOutcomeUnknown)
	}
	require.Nil(t, o.pending.first())
	require.Zero(t, r.mailbox.operations)
	require.Zero(t, r.mailbox.operationBytes)
}

func TestMailboxDropsMessagesAboveItsBounds(t *testing.T) {
	m := newMailbox(Options{MessagesMax: 3, MessagesBytesMax: 100}.withDefaults())
	require.True(t, m.putMessage(core.Message{}, 1000), "one always fits")
	require.False(t, m.putMessage(core.Message{}, 1))
	<-m.wake
	require.Len(t, m.take(work{}).messages, 1)
	for range 3 {
		require.True(t, m.putMessage(core.Message{}, 10))
	}
	require.False(t, m.putMessage(core.Message{}, 10))
	<-m.wake
	rest := m.close(replication.ErrClosed)
	require.Len(t, rest.messages, 3)
	require.False(t, m.putMessage(core.Message{}, 10))
	require.ErrorIs(t, m.putProposal(proposal{}), replication.ErrClosed)
	require.ErrorIs(t, m.putRead(read{}), replication.ErrClosed)
	require.ErrorIs(t, m.putCheckpoint(nil), replication.ErrClosed)
	require.Empty(t, m.close(errors.New("later")).messages)
	require.ErrorIs(t, m.putRead(read{}), replication.ErrClosed, "the first reason stays")
}

func TestMailboxBoundsCheckpoints(t *testing.T) {
	m := newMailbox(Options{}.withDefaults())
	for range checkpointsMax {
		require.NoError(t, m.putCheckpoint(nil))
	}
	require.ErrorIs(t, m.putCheckpoint(nil), replication.ErrOverloaded)
}

// TestLongPendingsAreSeldomMoved: a queue that stays long while one leaves for each that comes is moved now and
// then, in memory that stays bounded.
func TestLongPendingsAreSeldomMoved(t *testing.T) {
	var queue pendings
	const length, turns = 1000, 100_000
	for op := range core.OpNumber(length) {
		queue.push(pendingProposal{op: op})
	}
	moved := 0
	for op := range core.OpNumber(turns) {
		require.Equal(t, op, queue.pop().op)
		before := queue.head
		queue.push(pendingProposal{op: op + length})
		if queue.head < before {
			moved++
		}
	}
	require.Positive(t, moved)
	require.Less(t, moved, 3*turns/length)
	require.LessOrEqual(t, cap(queue.queue), 4*length)
}

// TestAReconfigurationIsTakenBackInTime: what the owner has not taken certainly never happens.
func TestAReconfigurationIsTakenBackInTime(t *testing.T) {
	m := newMailbox(Options{}.withDefaults())
	first, second := &reconfiguration{}, &reconfiguration{}
	require.NoError(t, m.putReconfiguration(first))
	require.NoError(t, m.putReconfiguration(second))
	require.True(t, m.withdraw(first))
	require.False(t, m.withdraw(first))
	require.Equal(t, []*reconfiguration{second}, m.take(work{}).reconfigurations)
	require.False(t, m.withdraw(second))
	for range reconfigurationsMax {
		require.NoError(t, m.putReconfiguration(first))
	}
	require.ErrorIs(t, m.putReconfiguration(first), replication.ErrOverloaded)
	m.close(replication.ErrClosed)
	require.ErrorIs(t, m.putReconfiguration(first), replication.ErrClosed)
}

// TestMembersThereAndBack: nothing of a member is lost between the contract's words and the core's.
func TestMembersThereAndBack(t *testing.T) {
	members := []replication.Member{{ID: 1, Address: "a:1"}, {ID: 7, Incarnation: 3, Address: "b:2"}, {ID: 9, Witness: true}}
	shuffled := []replication.Member{members[2], members[0], members[1]}
	require.Equal(t, members, describeMembership(core.Membership{Members: coreMembers(shuffled)}).Members)
}
