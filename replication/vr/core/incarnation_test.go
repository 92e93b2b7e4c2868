package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// raised3 are replicas 1, 2 and 3, the last of which comes back in a life.
func raised3(incarnation uint64) []Member {
	members := membersOf(1, 2, 3)
	members[2].Incarnation = incarnation
	return members
}

// wiped3 is replica 3 in its second life, with an empty storage, as the third member of a group in epoch 0.
func wiped3(t *testing.T, restored Restored, rules ...omit.Rule) *bench {
	b := newBench(t, 1, Restored{}, rules...)
	b.config.Self, b.config.Joining, b.config.Incarnation = 3, true, 1
	b.hard, b.log = restored.HardState, restored.Entries
	b.restart(restored)
	return b
}

// raising2 is replica 2 as the primary of view 1 that has heard replica 3 in its second life, with a RECONFIGURATION that
// names that one at op-number 2.
func raising2(t *testing.T, rules ...omit.Rule) *bench {
	b := primary2(t, rules...)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	b.act()
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	b.step(Message{Kind: KindGetCommitted, From: 3, Incarnation: 1, Op: 1})
	_, err = b.Reconfigure(raised3(1), false)
	require.NoError(t, err)
	b.act()
	return b
}

// A replica that has lost its storage acknowledges and promises nothing under its id, learns, and takes part in the epoch
// that names its new life.
func TestAWipedReplicaStaysOutUntilItsNewLifeIsNamed(t *testing.T) {
	b := wiped3(t, Restored{})
	require.Equal(t, StatusTransitioning, b.Status().Status)
	for _, outgoing := range b.ticks(40) {
		require.Equal(t, KindGetCommitted, outgoing.Message.Kind)
		require.EqualValues(t, 1, outgoing.Message.Incarnation)
	}
	before := b.Status()
	require.Empty(t, b.step(Message{Kind: KindStartViewChange, From: 1, View: 4}), "that was for its earlier life")
	require.Equal(t, before, b.Status())
	log, m := epochLog(raised3(1), []ReplicaID{1, 2, 3}, 2)
	asked := questions(b.ticks(40))[0]
	answer := suffix(KindNewCommitted, asked.To, 2, log, 1)
	answer.Nonce, answer.Commit = asked.Nonce, 3
	b.step(answer)
	require.Equal(t, StatusNormal, b.Status().Status)
	require.Equal(t, m.Encode(), b.hard.Membership)
	sent := b.ticks(10)
	require.NotEmpty(t, sent, "it is the primary of the epoch's first view")
	for _, outgoing := range sent {
		require.EqualValues(t, 1, outgoing.Message.Incarnation)
		require.EqualValues(t, 1, outgoing.Message.Epoch)
	}

	broken := wiped3(t, Restored{}, RuleWipedStays)
	require.Equal(t, StatusNormal, broken.Status().Status, "it votes as if it had promised nothing")
}

// The other members count nothing of a life that is not named yet, but hear that it learns.
func TestALifeThatIsNotNamedCountsForNothing(t *testing.T) {
	promise := Message{Kind: KindPrepareOK, From: 3, To: 2, View: 1, Op: 1, Incarnation: 1}
	b := primary2(t)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	b.act()
	require.ErrorIs(t, b.Step(promise), ErrStranger)
	b.act()
	require.Empty(t, b.committed)
	b.step(Message{Kind: KindGetCommitted, From: 3, Incarnation: 1, Op: 1})
	report, err := b.Reconfigure(raised3(1), true)
	require.NoError(t, err)
	require.Equal(t, MemberReport{ID: 3, Incarnation: 1, Was: true, Will: true, Raised: true, Heard: true, Op: 1, Ready: true}, report[2])
	_, err = b.Reconfigure(raised3(2), true)
	require.ErrorIs(t, err, ErrNewcomer, "it is another life that was heard")

	broken := primary2(t, RuleWipedStays)
	_, err = broken.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	broken.act()
	broken.step(promise)
	require.Len(t, broken.committed, 1)
}

// Once the new life is a member nothing counts that the earlier one says, and it is told.
func TestAnEarlierLifeCountsForNothing(t *testing.T) {
	old := Message{Kind: KindStartViewChange, Epoch: 1, From: 3, To: 2, View: 7}
	learn := Message{Kind: KindGetCommitted, Epoch: 1, From: 3, To: 2, First: 1, Op: 100}
	b := raising2(t)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.Equal(t, EpochNumber(1), b.Status().Epoch)
	require.Equal(t, "epoch 1 from 2 on: [1 2 3(incarnation 1)]", b.hard.Membership.String())
	before := b.Status()
	for _, m := range []Message{old, learn, {Kind: KindPrepare, From: 3, To: 2, View: 2}} {
		err := b.Step(m)
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorIs(t, err, ErrIncarnation)
	}
	require.Equal(t, before, b.Status())
	require.Len(t, of(b.act(), KindStartEpoch), 1, "it is told, once in ResendTicks")
	require.Equal(t, []learner{{id: 3, incarnation: 1, op: 1}}, b.learners)

	broken := raising2(t, RuleIncarnation)
	broken.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	broken.step(old)
	require.Equal(t, ViewNumber(7), broken.Status().View)
}

// A replica that hears of a later life of its own has left, whatever it was doing, and after a restart too.
func TestALifeThatIsOverHasLeft(t *testing.T) {
	_, m := epochLog(raised3(1), []ReplicaID{1, 2, 3}, 2)
	tell := Message{Kind: KindStartEpoch, Epoch: 1, From: 1, View: 2, Membership: m.Encode()}
	b := newBench(t, 3, Restored{})
	b.step(suffix(KindStartView, 2, 1, entries("a", 1), 1))
	b.step(tell)
	require.Equal(t, StatusLeft, b.Status().Status)
	require.Empty(t, b.ticks(100))
	require.Empty(t, b.step(Message{Kind: KindStartViewChange, Epoch: 1, From: 1, View: 5}), "that is for its later life")
	b.crash()
	require.Equal(t, StatusLeft, b.Status().Status)
	require.Equal(t, EpochNumber(1), b.Status().Epoch)
	require.Empty(t, b.ticks(100))

	broken := newBench(t, 3, Restored{}, RuleIncarnation)
	broken.step(suffix(KindStartView, 2, 1, entries("a", 1), 1))
	broken.step(tell)
	require.NotEqual(t, StatusLeft, broken.Status().Status)
	// A learner of a life that is over is none.
	late := wiped3(t, Restored{})
	later := m
	later.Members = raised3(2)
	tell.Membership = later.Encode()
	late.step(tell)
	require.Equal(t, StatusLeft, late.Status().Status)
}

// What an old copy of a storage has above its commit-number may be of a dead branch: it is told to nobody, and replaced.
func TestAnOldCopyIsOnlyAStart(t *testing.T) {
	log, m := epochLog(raised3(1), []ReplicaID{1, 2, 3}, 3)
	old := append(log[:1:1], Chained(log[0].Hash, 2, 1, []byte("dead")))
	b := wiped3(t, Restored{HardState: HardState{View: 5, LastNormalView: 5, Commit: 1}, Entries: old})
	require.Equal(t, StatusTransitioning, b.Status().Status)
	asked := of(b.act(), KindGetCommitted)[0]
	require.Equal(t, OpNumber(1), asked.Op)
	require.Equal(t, OpNumber(2), asked.First)
	answer := suffix(KindNewCommitted, asked.To, 1, log, 2)
	answer.Nonce, answer.Commit = asked.Nonce, 4
	b.step(answer)
	require.Equal(t, log, b.log)
	require.Equal(t, m.View, b.Status().View)
	require.Equal(t, StatusNormal, b.Status().Status)
}

// A life that is over never comes back, and one that was heard just now is not ended.
func TestIncarnationsNeverGoBack(t *testing.T) {
	b := primary2(t)
	b.step(Message{Kind: KindGetCommitted, From: 1, Incarnation: 5})
	next := membersOf(1, 2, 3)
	next[0].Incarnation = 5
	_, err := b.Reconfigure(next, true)
	require.ErrorIs(t, err, ErrNewcomer, "replica 1 was heard")
	next = membersOf(1, 2, 3)
	next[1].Incarnation = 5
	_, err = b.Reconfigure(next, true)
	require.ErrorIs(t, err, ErrNewcomer, "it is replica 2 that is asked")

	b = raising2(t)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.ErrorIs(t, b.checkNext(&Membership{Epoch: 2, Members: membersOf(1, 2, 3)}), ErrMembership)
	same := raised3(1)
	same[0].Witness = true
	require.ErrorIs(t, b.checkNext(&Membership{Epoch: 2, Members: same}), ErrMembership, "a life is a witness from its beginning, or never")
	same[2].Witness, same[0].Witness, same[2].Incarnation = true, false, 2
	require.NoError(t, b.checkNext(&Membership{Epoch: 2, Members: same}))
}

// Nobody has what the only member of a group knew.
func TestTheOnlyMemberDoesNotComeBack(t *testing.T) {
	alone := Membership{Members: membersOf(3), LargestID: 3}
	config := Config{Self: 3, Incarnation: 1, Joining: true, Members: []ReplicaID{1, 2}, Rand: func() uint64 { return 1 }}
	old := Restored{HardState: HardState{Membership: alone.Encode()}}
	b, err := New(config, old)
	require.NoError(t, err, "the group has grown since then")
	require.Equal(t, []ReplicaID{1, 2}, b.teachers())
	config.Members = []ReplicaID{3}
	config.Joining = false
	_, err = New(config, old)
	require.ErrorIs(t, err, ErrConfig)
	_, err = New(config, Restored{})
	require.ErrorIs(t, err, ErrConfig)
}

// Two directories made for one new id are two lives of it, and the RECONFIGURATION names one. The other takes part in
// nothing: the earlier one has left, the later one goes on learning, until it is named itself.
func TestOfTwoNewcomersWithOneIDTheNamedOneTakesPart(t *testing.T) {
	for _, c := range []struct {
		own, named uint64
		status     Status
	}{{5, 5, StatusNormal}, {5, 6, StatusLeft}, {5, 4, StatusTransitioning}} {
		b := newBench(t, 1, Restored{})
		b.config.Self, b.config.Joining, b.config.Incarnation = 4, true, c.own
		b.restart(Restored{})
		members := membersOf(1, 2, 4)
		members[2].Incarnation = c.named
		log, _ := epochLog(members, []ReplicaID{1, 2, 3}, 2)
		asked := questions(b.ticks(40))[0]
		answer := suffix(KindNewCommitted, asked.To, 2, log, 1)
		answer.Nonce, answer.Commit = asked.Nonce, 3
		b.step(answer)
		require.Equal(t, c.status, b.Status().Status, "named %d", c.named)
		require.EqualValues(t, 1, b.Status().Epoch)
		if c.status == StatusNormal {
			continue
		}
		for range 2 { // and after a restart
			require.False(t, b.Status().Member)
			sent := append(b.step(Message{Kind: KindStartViewChange, Epoch: 1, From: 1, View: 5}), b.ticks(200)...)
			for _, outgoing := range sent {
				require.Equal(t, KindGetCommitted, outgoing.Message.Kind)
				require.Equal(t, StatusTransitioning, c.status)
			}
			_, err := b.Propose(2, [][]byte{[]byte("x")})
			require.ErrorIs(t, err, ErrNotPrimary)
			b.crash()
			require.Equal(t, c.status, b.Status().Status)
		}
	}
}
