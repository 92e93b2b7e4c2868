package core

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// epochLog is a log whose last entry is a RECONFIGURATION of view 1 into epoch 1, with the membership that it makes.
func epochLog(next []Member, previous []ReplicaID, operations int) ([]Entry, Membership) {
	views := make([]ViewNumber, operations)
	for i := range views {
		views[i] = 1
	}
	log := entries("a", views...)
	m := Membership{Epoch: 1, Members: next, Previous: previous, LargestID: 4}
	e := Entry{Op: OpNumber(operations + 1), View: 1, Kind: EntryReconfiguration, Payload: m.payload()}
	e.Hash = chain(hashOf(log, e.Op-1), e.Op, e.View, e.Kind, e.Payload)
	m.Op, m.View, m.Hash = e.Op, 2, e.Hash
	return append(log, e), m
}

// newcomer4 is replica 4, which is to become a member and was told of replicas 1, 2 and 3.
func newcomer4(t *testing.T, restored Restored, rules ...omit.Rule) *bench {
	b := newBench(t, 1, Restored{}, rules...)
	b.config.Self, b.config.Joining = 4, true
	b.hard, b.log = restored.HardState, restored.Entries
	b.restart(restored)
	return b
}

// A newcomer acknowledges and promises nothing: it learns, and tells how far it is.
func TestANewcomerTakesNoPart(t *testing.T) {
	b := newcomer4(t, Restored{})
	require.Equal(t, StatusTransitioning, b.Status().Status)
	asked := of(b.act(), KindGetCommitted)
	require.Len(t, asked, 3)
	log, m := epochLog(membersOf(1, 2, 4), []ReplicaID{1, 2, 3}, 2)
	require.ErrorIs(t, b.Step(withTo(suffix(KindPrepare, 2, 1, log, 1), 4)), ErrRefused)
	answer := suffix(KindNewCommitted, asked[0].To, 1, log, 1)
	answer.Nonce, answer.Commit, answer.Entries = asked[0].Nonce, 2, log[:2]
	sent := b.step(answer)
	require.Len(t, b.committed, 2)
	require.Empty(t, of(sent, KindPrepareOK))
	b.crash()
	require.Equal(t, OpNumber(2), b.Status().Commit)
	require.Equal(t, StatusTransitioning, b.Status().Status)
	sent = b.ticks(20)
	for _, outgoing := range sent {
		require.Equal(t, KindGetCommitted, outgoing.Message.Kind)
	}
	// With the beginning of its epoch it is a member like any other; beyond that it takes nothing by this way.
	beyond := append(log[:3:3], Chained(log[2].Hash, 4, 3, []byte("x")))
	asked = questions(sent)
	last := asked[len(asked)-1]
	answer = suffix(KindNewCommitted, last.To, 3, beyond, 3)
	answer.Epoch, answer.Nonce, answer.Commit = 1, last.Nonce, 4
	sent = b.step(answer)
	require.Equal(t, m.IDs(), b.Status().Members)
	require.Equal(t, StatusNormal, b.Status().Status)
	require.Equal(t, OpNumber(3), b.Status().Op)
	require.Len(t, of(sent, KindEpochStarted), 1, "replica 3 is a member no more")
}

// questions are the GETCOMMITTEDs that ask for something; the others only tell how far a newcomer is.
func questions(sent []Outgoing) []Message {
	return slices.DeleteFunc(of(sent, KindGetCommitted), func(m Message) bool { return m.First == 0 })
}

// A message of an earlier epoch counts for nothing, and its sender is told of the later one (VRR 7.1, 7.2).
func TestMessagesOfAnotherEpochCountForNothing(t *testing.T) {
	b := reconfiguring2(t, membersOf(1, 2, 4))
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	before := b.Status()
	sent := b.step(Message{Kind: KindStartViewChange, From: 1, View: 9})
	require.Equal(t, before, b.Status())
	require.Len(t, of(sent, KindStartEpoch), 1)
	require.Empty(t, b.step(Message{Kind: KindStartViewChange, From: 1, View: 9}), "once in ResendTicks")
	sent = b.step(Message{Kind: KindStartViewChange, Epoch: 2, From: 4, View: 9})
	require.Equal(t, before, b.Status())
	require.Equal(t, Message{Kind: KindGetCommitted, From: 2, To: 4, Epoch: 1, View: 2, Op: 2}, of(sent, KindGetCommitted)[0])

	broken := reconfiguring2(t, membersOf(1, 2, 4), RuleEpochOfMessage)
	broken.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	broken.step(Message{Kind: KindStartViewChange, From: 1, View: 9})
	require.Equal(t, ViewNumber(9), broken.Status().View)
}

// An epoch is a promise: nothing of it leaves before it is on the disk, and a restart is in it.
func TestAnEpochIsDurableFirst(t *testing.T) {
	for _, broken := range []bool{false, true} {
		rules := []omit.Rule{}
		if broken {
			rules = append(rules, RuleEpochDurable)
		}
		b := reconfiguring2(t, membersOf(1, 2), rules...)
		require.NoError(t, b.Step(Message{Kind: KindPrepareOK, From: 1, To: 2, View: 1, Op: 2}))
		ready := b.Ready()
		require.NotNil(t, ready.HardState)
		require.True(t, ready.MustSync)
		for _, outgoing := range ready.Messages {
			require.False(t, outgoing.BeforePersist)
		}
		b.persist(&ready)
		b.Advance()
		b.crash()
		require.Equal(t, !broken, b.Status().Epoch == 1)
	}
}

// Members that leave stay until f'+1 of the new group have said EPOCHSTARTED (VRR 7.1.2).
func TestOldMembersStayUntilTheNewHaveBegun(t *testing.T) {
	b := reconfiguring2(t, membersOf(1, 3, 4))
	sent := b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.Equal(t, StatusLeaving, b.Status().Status)
	require.Len(t, of(sent, KindStartEpoch), 3)
	require.Len(t, of(b.step(Message{Kind: KindGetCommitted, From: 4, First: 2, Nonce: 7}), KindNewCommitted)[0].Entries, 1)
	b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 1})
	b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 1})
	b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 9})
	require.Equal(t, StatusLeaving, b.Status().Status, "each of the new members counts once")
	require.Len(t, of(b.ticks(10), KindStartEpoch), 2, "the others are told again")
	b.crash()
	require.Equal(t, StatusLeaving, b.Status().Status)
	require.Len(t, of(b.act(), KindStartEpoch), 3)
	b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 1})
	b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 4})
	require.Equal(t, StatusLeft, b.Status().Status)
	require.Empty(t, b.ticks(40))
	require.Len(t, of(b.step(Message{Kind: KindProbe, From: 3, View: 1}), KindStartEpoch), 1, "who is still in the old epoch is told")

	broken := reconfiguring2(t, membersOf(1, 3, 4), RuleOldMembersStay)
	broken.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.Equal(t, StatusLeft, broken.Status().Status)
}

// Whoever is no member is given what is committed, and no more.
func TestOnlyWhatIsCommittedIsTaught(t *testing.T) {
	ask := Message{Kind: KindGetCommitted, From: 4, First: 1, Nonce: 7}
	log := entries("a", 1, 1, 1)
	for _, c := range []struct {
		rules []omit.Rule
		given int
	}{{nil, 1}, {[]omit.Rule{RuleLearnCommitted}, 3}} {
		b := backup1(t, log, c.rules...)
		b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 3, Commit: 1})
		answer := of(b.step(ask), KindNewCommitted)[0]
		require.Len(t, answer.Entries, c.given)
		require.Equal(t, OpNumber(c.given), answer.Commit)
	}
	b := backup1(t, log)
	require.Empty(t, of(b.step(ask), KindNewCommitted)[0].Entries)
}

// A member that was away hears of an epoch, keeps its log until the beginning of that epoch is here, and enters it with
// exactly that, in one step.
func TestAMemberThatWasAwayEntersInOneStep(t *testing.T) {
	log, m := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 4)
	dead := append(log[:1:1], Chained(log[0].Hash, 2, 1, []byte("dead")))
	b := backup1(t, dead)
	sent := b.step(Message{Kind: KindStartEpoch, From: 3, Epoch: 1, View: 2, Membership: m.Encode()})
	asked := of(sent, KindGetCommitted)[0]
	require.Equal(t, OpNumber(1), asked.First)
	answer := suffix(KindNewCommitted, 3, 2, log, 1)
	answer.Epoch, answer.Nonce, answer.Commit, answer.Entries = 1, asked.Nonce, 5, log[:3]
	sent = b.step(answer)
	require.Equal(t, dead, b.log, "nothing is removed before all of it is here")
	require.Zero(t, b.Status().Epoch)
	asked = of(sent, KindGetCommitted)[0]
	require.Equal(t, OpNumber(4), asked.First)
	answer = suffix(KindNewCommitted, 3, 2, log, 4)
	answer.Epoch, answer.Nonce, answer.Commit = 1, asked.Nonce, 5
	sent = b.step(answer)
	require.Equal(t, log, b.log)
	require.Equal(t, HardState{View: 2, LastNormalView: 2, Commit: 5, Membership: m.Encode()}, b.hard)
	require.Len(t, b.committed, 5)
	require.Equal(t, OpNumber(5), of(sent, KindPrepareOK)[0].Op)
	require.Equal(t, ReplicaID(4), of(sent, KindPrepareOK)[0].To)
}

// Who has the RECONFIGURATION already needs no more than to hear that it is committed.
func TestStartEpochCommitsTheLogThatHasIt(t *testing.T) {
	log, m := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 2)
	b := backup1(t, log)
	b.step(Message{Kind: KindStartEpoch, From: 4, Epoch: 1, View: 2, Membership: m.Encode()})
	require.Equal(t, EpochNumber(1), b.Status().Epoch)
	require.Len(t, b.committed, 3)
}

// A member that has lost its log may not say that it has begun: whoever leaves may be the last to have what it needs.
func TestARecoveringMemberHasNotBegun(t *testing.T) {
	log, m := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 2)
	hard := HardState{View: 2, LastNormalView: 2, Membership: m.Encode()}
	b := newBench(t, 1, Restored{HardState: hard, Entries: log[:1], Recover: true})
	b.act()
	tell := Message{Kind: KindStartEpoch, From: 2, Epoch: 1, View: 2, Membership: m.Encode()}
	require.Equal(t, StatusRecovering, b.Status().Status)
	require.Empty(t, of(b.step(tell), KindEpochStarted))
	whole := newBench(t, 1, Restored{HardState: hard, Entries: log})
	require.Len(t, of(whole.step(tell), KindEpochStarted), 1)
}

// Whoever leaves, and finds its log damaged, keeps what is left until it has fetched all that its epoch begins with: the
// damage would else be found no more, and a log that is sound and too short be taken for what it acknowledged.
func TestALeaverKeepsItsDamagedLog(t *testing.T) {
	log, m := epochLog(membersOf(2, 3, 4), []ReplicaID{1, 2, 3}, 2)
	b := newBench(t, 1, Restored{
		HardState: HardState{View: 2, LastNormalView: 2, Commit: 3, Membership: m.Encode()}, Entries: log[:1], Damaged: true,
	})
	b.act()
	asked := of(b.ticks(1), KindGetCommitted)
	require.Equal(t, StatusLeaving, b.Status().Status)
	require.Len(t, asked, 1)
	require.Empty(t, b.replaced)
	answer := suffix(KindNewCommitted, asked[0].To, 2, log, asked[0].First)
	answer.Epoch, answer.Nonce, answer.Commit = 1, asked[0].Nonce, 3
	b.step(answer)
	require.Equal(t, []CheckpointMeta{{}}, b.replaced)
	require.Equal(t, log, b.log)
	require.Equal(t, StatusLeaving, b.Status().Status)
}

// One that recovers in an epoch that is over has made no promise in the next: it comes in as one that was away.
func TestARecoveringReplicaEntersALaterEpoch(t *testing.T) {
	log, m := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 2)
	b := newBench(t, 1, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: log[:1], Recover: true})
	b.act()
	require.Equal(t, StatusRecovering, b.Status().Status)
	asked := of(b.step(Message{Kind: KindStartEpoch, From: 3, Epoch: 1, View: 2, Membership: m.Encode()}), KindGetCommitted)[0]
	answer := suffix(KindNewCommitted, 3, 2, log, 1)
	answer.Epoch, answer.Nonce, answer.Commit = 1, asked.Nonce, 3
	b.step(answer)
	require.Equal(t, StatusNormal, b.Status().Status)
	require.Equal(t, EpochNumber(1), b.Status().Epoch)
}

// A checkpoint of a later epoch takes its replica there, at once or when it starts again.
func TestACheckpointIsOfAnEpoch(t *testing.T) {
	_, m := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 2)
	meta := CheckpointMeta{Op: 9, View: 3, Hash: 77, Membership: m.Encode()}
	b := backup1(t, entries("a", 1))
	b.CheckpointInstalled(meta)
	b.act()
	require.Equal(t, EpochNumber(1), b.Status().Epoch)
	require.Equal(t, ViewNumber(2), b.Status().View)
	require.Equal(t, m.Encode(), b.hard.Membership)

	restarted := newBench(t, 1, Restored{HardState: HardState{View: 1, LastNormalView: 1, Commit: 1}, Checkpoint: meta})
	require.Equal(t, EpochNumber(1), restarted.Status().Epoch)
	require.Equal(t, StatusNormal, restarted.Status().Status)
	// In that epoch it has acknowledged nothing that it could have lost.
	restarted = newBench(t, 1, Restored{HardState: HardState{View: 1, LastNormalView: 1, Commit: 1}, Checkpoint: meta, Recover: true})
	require.Equal(t, StatusNormal, restarted.Status().Status)
	restarted = newBench(t, 1, Restored{HardState: HardState{View: 2, LastNormalView: 2, Membership: m.Encode()}, Checkpoint: meta, Recover: true})
	require.Equal(t, StatusRecovering, restarted.Status().Status)
	later := m
	later.Epoch, later.Op, later.View = 2, 12, 7
	restarted = newBench(t, 1, Restored{HardState: HardState{View: 8, LastNormalView: 7, Membership: later.Encode()}, Checkpoint: meta})
	require.Equal(t, EpochNumber(2), restarted.Status().Epoch)
	require.Equal(t, ViewNumber(8), restarted.Status().View)
	// The same epoch in other bytes takes no promise back.
	restarted = newBench(t, 1, Restored{HardState: HardState{View: 8, LastNormalView: 7, Membership: version1(&m)}, Checkpoint: meta})
	require.Equal(t, EpochNumber(1), restarted.Status().Epoch)
	require.Equal(t, ViewNumber(8), restarted.Status().View)
	restarted = newBench(t, 1, Restored{
		HardState:  HardState{View: 8, LastNormalView: 7, Membership: m.Encode()},
		Checkpoint: CheckpointMeta{Op: 9, View: 3, Hash: 77, Membership: version1(&m)},
	})
	require.Equal(t, ViewNumber(8), restarted.Status().View)
	restarted.act()
	require.Equal(t, m.Encode(), restarted.hard.Membership)
}

// The members that a replica wrote down count, not those of a configuration that was changed since.
func TestStoredMembersCount(t *testing.T) {
	b := backup1(t, nil)
	b.config.Members = []ReplicaID{1, 5, 6}
	b.crash()
	require.Equal(t, []ReplicaID{1, 2, 3}, b.Status().Members)
}

func TestWhoMayJoin(t *testing.T) {
	config := Config{Self: 2, Members: []ReplicaID{1, 3}, Joining: true, Rand: func() uint64 { return 1 }}
	_, err := New(config, Restored{})
	require.ErrorIs(t, err, ErrConfig, "its id lies below another's, and may have been used")
	config.Self = 4
	b, err := New(config, Restored{})
	require.NoError(t, err)
	require.Equal(t, StatusTransitioning, b.Status().Status)
	config.Joining = false
	_, err = New(config, Restored{})
	require.ErrorIs(t, err, ErrConfig)
}
