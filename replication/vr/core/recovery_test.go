package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// recovering1 is replica 1 of three, a backup of view 1, after a crash that left it a part of its log.
func recovering1(t *testing.T, left []Entry, commit OpNumber, rules ...omit.Rule) (b *bench, asked Message) {
	t.Helper()
	b = newBench(t, 1, Restored{
		HardState: HardState{View: 1, LastNormalView: 1, Commit: commit}, Entries: left, Recover: true,
	}, rules...)
	sent := of(b.act(), KindRecovery)
	require.Len(t, sent, 2)
	return b, sent[0]
}

// recovered answers a RECOVERY as the primary of a view with that log, or as a backup when log is nil.
func recovered(from ReplicaID, view ViewNumber, nonce uint64, log []Entry) Message {
	m := Message{Kind: KindRecoveryResponse, From: from, View: view, LastNormalView: view, Nonce: nonce}
	m.Op = OpNumber(len(log))
	m.Hash = hashOf(log, m.Op)
	return m
}

// A replica recovers by the answers of f+1 others to the nonce that it sent (VRR 4.3, step 3).
func TestRecoveryNeedsAQuorumOfAnswers(t *testing.T) {
	log := entries("a", 1, 1)
	for _, broken := range []bool{false, true} {
		var rules []omit.Rule
		if broken {
			rules = []omit.Rule{RuleRecoveryQuorum}
		}
		b, asked := recovering1(t, nil, 0, rules...)
		sent := b.step(recovered(2, 1, asked.Nonce, log))
		sent = append(sent, b.step(recovered(2, 1, asked.Nonce, log))...)
		require.Equal(t, broken, len(of(sent, KindGetState)) > 0, "one member twice is no quorum")
		if !broken {
			require.NotEmpty(t, of(b.step(recovered(3, 1, asked.Nonce, nil)), KindGetState))
		}
	}
}

// One of them has to be of the primary of the latest view that they tell of (VRR 4.3, step 3).
func TestRecoveryComesFromThePrimary(t *testing.T) {
	log := entries("a", 1, 1)
	b, asked := recovering1(t, nil, 0)
	sent := b.step(recovered(2, 1, asked.Nonce, log))
	sent = append(sent, b.step(recovered(3, 4, asked.Nonce, nil))...)
	require.Empty(t, of(sent, KindGetState), "view 4 is the latest, and replica 2, its primary, has not answered in it")
	sent = b.step(recovered(2, 4, asked.Nonce, log))
	require.Equal(t, ViewNumber(4), of(sent, KindGetState)[0].View)

	// Without the rule a backup's log will do, which lacks what this replica has acknowledged.
	broken, asked := recovering1(t, nil, 0, RuleRecoveryPrimary)
	broken.step(recovered(3, 1, asked.Nonce, log[:1]))
	backup := newBench(t, 3, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: log}, RuleRecoveryPrimary)
	require.Equal(t, OpNumber(2), of(backup.step(asked), KindRecoveryResponse)[0].Op)
	backup = newBench(t, 3, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: log})
	require.Zero(t, of(backup.step(asked), KindRecoveryResponse)[0].Op)
}

// A replica that promised a view does not go back below it; the others have to come up to it.
func TestRecoveryNamesTheLeastView(t *testing.T) {
	log := entries("a", 1, 1)
	for _, broken := range []bool{false, true} {
		var rules []omit.Rule
		if broken {
			rules = []omit.Rule{RuleRecoveryLeastView}
		}
		b := newBench(t, 1, Restored{HardState: HardState{View: 2, LastNormalView: 1}, Recover: true}, rules...)
		asked := of(b.act(), KindRecovery)[0]
		require.Equal(t, ViewNumber(2), asked.View)
		b.step(recovered(3, 1, asked.Nonce, nil))
		sent := b.step(recovered(2, 1, asked.Nonce, log))
		require.Equal(t, broken, len(of(sent, KindGetState)) > 0)

		other := newBench(t, 2, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: log}, rules...)
		if !broken {
			require.Empty(t, of(other.step(asked), KindRecoveryResponse))
			require.Equal(t, ViewNumber(2), other.Status().View, "it goes to the view that the other has promised")
		}
	}
}

// Each attempt has a new nonce: an answer to an earlier one is older than what this replica has acknowledged since
// (VRR 4.3, step 1).
func TestRecoveryTakesAnswersToThisAttempt(t *testing.T) {
	for _, broken := range []bool{false, true} {
		var rules []omit.Rule
		if broken {
			rules = []omit.Rule{RuleRecoveryNonce}
		}
		b, asked := recovering1(t, nil, 0, rules...)
		b.restart(Restored{HardState: b.hard, Recover: true})
		again := of(b.act(), KindRecovery)[0]
		require.NotEqual(t, asked.Nonce, again.Nonce)
		b.step(recovered(2, 1, asked.Nonce, nil))
		b.step(recovered(3, 1, asked.Nonce, nil))
		require.Equal(t, broken, b.Status().Status == StatusNormal)
	}
}

// Any member of the view may send the entries, but they have to be the primary's, all that it had.
func TestRecoveredLogIsThePrimarys(t *testing.T) {
	log := entries("a", 1, 1, 1)
	for _, broken := range []bool{false, true} {
		var rules []omit.Rule
		if broken {
			rules = []omit.Rule{RuleRecoveryHash}
		}
		b, asked := recovering1(t, log[:1], 1, rules...)
		b.step(recovered(3, 1, asked.Nonce, nil))
		sent := b.step(recovered(2, 1, asked.Nonce, log))
		require.Equal(t, OpNumber(2), of(sent, KindGetState)[0].First, "only what is missing travels")
		b.step(askedState(t, sent, log[:2]))
		require.Equal(t, broken, b.Status().Status == StatusNormal, "a backup's log may be shorter")

		b, asked = recovering1(t, log[:1], 1, rules...)
		b.step(recovered(3, 1, asked.Nonce, nil))
		sent = b.step(recovered(2, 1, asked.Nonce, log))
		other := Chained(log[1].Hash, 3, 1, []byte("other"))
		b.step(askedState(t, sent, []Entry{log[0], log[1], other}))
		require.Equal(t, broken, b.Status().Status == StatusNormal, "another operation in the last place")
	}
}

// The log that is left is kept until the one that replaces it is here, and everything changes in one durable step.
func TestRecoveryIsOneStep(t *testing.T) {
	left, log := entries("dead", 1, 1, 1), entries("live", 1, 1)
	b, asked := recovering1(t, left, 0)
	b.step(recovered(3, 4, asked.Nonce, nil))
	sent := b.step(recovered(2, 4, asked.Nonce, log))
	require.Equal(t, left, b.log)
	require.Equal(t, ViewNumber(1), b.hard.View)
	sent = b.step(askedState(t, sent, log))
	require.Equal(t, log, b.log)
	require.Equal(t, HardState{View: 4, LastNormalView: 4, Membership: b.record}, b.hard)
	require.Equal(t, OpNumber(2), of(sent, KindPrepareOK)[0].Op)
	require.Equal(t, StatusNormal, b.Status().Status)
}

// A recovering replica answers nothing and joins nothing, whatever it is sent and however long it waits.
func TestRecoveringTakesNoPart(t *testing.T) {
	log := entries("a", 1, 1)
	messages := []Message{
		suffix(KindPrepare, 2, 1, log, 1), suffix(KindPrepare, 3, 2, log, 1), suffix(KindStartView, 2, 1, log, 1),
		suffix(KindStartView, 3, 2, log, 1), suffix(KindNewState, 2, 1, log, 1), suffix(KindDoViewChange, 2, 3, log, 1),
		{Kind: KindPrepareOK, From: 3, View: 1},
		{Kind: KindCommit, From: 2, View: 1, Op: 2, Commit: 2},
		{Kind: KindCommitOK, From: 3, View: 1},
		{Kind: KindStartViewChange, From: 2, View: 2},
		{Kind: KindGetState, From: 2, View: 1, First: 1},
		{Kind: KindProbe, From: 2, View: 1},
		{Kind: KindProbeOK, From: 2, View: 1, Agree: true},
		{Kind: KindRecovery, From: 2, View: 1, Nonce: 7, First: 1},
		{Kind: KindRecovery, From: 2, View: 4, Nonce: 7, First: 1},
	}
	b, _ := recovering1(t, log[:1], 1)
	require.Len(t, b.committed, 1, "what it knows to be committed it may apply")
	before := b.Status()
	for _, m := range messages {
		require.Empty(t, b.step(m), "%v", m.Kind)
		require.Equal(t, before, b.Status(), "%v", m.Kind)
	}
	for _, sent := range b.ticks(500) {
		require.Equal(t, KindRecovery, sent.Message.Kind)
	}
	require.Equal(t, before, b.Status())
	_, err := b.Propose(1, [][]byte{[]byte("x")})
	require.ErrorIs(t, err, ErrNotPrimary)

	broken, _ := recovering1(t, log[:1], 1, RuleRecoveringTakesNoPart)
	require.NotEmpty(t, of(broken.step(Message{Kind: KindStartViewChange, From: 2, View: 2}), KindStartViewChange))
}

// RECOVERY is sent again to those who have not answered, and an attempt that stands still is begun anew.
func TestRecoveryIsAskedAgain(t *testing.T) {
	b, asked := recovering1(t, nil, 0)
	resend := b.Replica.config.ResendTicks
	b.step(recovered(3, 1, asked.Nonce, nil))
	again := of(b.ticks(resend), KindRecovery)
	require.Len(t, again, 1)
	require.Equal(t, asked.Nonce, again[0].Nonce)
	require.Equal(t, ReplicaID(2), again[0].To)
	anew := of(b.ticks((recoveryPatience-1)*resend), KindRecovery)
	require.NotEqual(t, asked.Nonce, anew[len(anew)-1].Nonce)
	require.Empty(t, b.step(recovered(2, 1, asked.Nonce, nil)), "too late")

	// The transfer stands still, since the view is over: another attempt, after twice the time.
	nonce := b.recovery.nonce
	b.step(recovered(3, 1, nonce, nil))
	require.NotEmpty(t, of(b.step(recovered(2, 1, nonce, entries("a", 1))), KindGetState))
	require.Empty(t, of(b.ticks(2*recoveryPatience*resend-1), KindRecovery))
	require.NotEmpty(t, of(b.ticks(1), KindRecovery))
	require.NotEqual(t, nonce, b.recovery.nonce)
}

// The primary's log lies below what this replica knows to be committed: a broken invariant, said and not followed.
func TestRecoveryNeverLosesWhatIsCommitted(t *testing.T) {
	for _, left := range [][]Entry{entries("a", 1, 1), nil} {
		b, asked := recovering1(t, left, 2)
		b.step(recovered(3, 1, asked.Nonce, nil))
		require.NoError(t, b.Step(withTo(recovered(2, 1, asked.Nonce, entries("a", 1)), 1)))
		require.ErrorContains(t, b.Failure(), "op-number 2")
	}
}

// A view far ahead is believed when f+1 members are in it.
func TestRecoveryOfAViewFarAhead(t *testing.T) {
	b, asked := recovering1(t, nil, 0)
	b.step(recovered(3, 1, asked.Nonce, nil))
	require.Empty(t, b.step(recovered(2, 100_000, asked.Nonce, entries("a", 1))))
	require.NotEmpty(t, of(b.step(recovered(3, 100_000, asked.Nonce, nil)), KindGetState))
}

func TestWhoHasToRecover(t *testing.T) {
	config := Config{Self: 1, Members: []ReplicaID{1, 2, 3}, Rand: func() uint64 { return 1 }}
	normal := HardState{View: 1, LastNormalView: 1}
	for _, c := range []struct {
		why      string
		restored Restored
		status   Status
	}{
		{"it may have lost something", Restored{HardState: normal, Recover: true}, StatusRecovering},
		{"its log is whole", Restored{HardState: normal}, StatusNormal},
		{"it was never normal", Restored{HardState: HardState{View: 1}, Recover: true}, StatusViewChange},
		{"it is new", Restored{Recover: true}, StatusNormal},
	} {
		replica, err := New(config, c.restored)
		require.NoError(t, err)
		require.Equal(t, c.status, replica.Status().Status, c.why)
	}
	config.Omit = omit.Of(RuleRecover)
	replica, err := New(config, Restored{HardState: normal, Recover: true})
	require.NoError(t, err)
	require.Equal(t, StatusNormal, replica.Status().Status)

	config.Omit, config.Members = 0, []ReplicaID{1}
	_, err = New(config, Restored{HardState: normal, Recover: true})
	require.ErrorIs(t, err, ErrRestored)
	require.ErrorContains(t, err, "nobody has it")
	_, err = New(config, Restored{HardState: HardState{View: 1}, Recover: true})
	require.NoError(t, err, "nothing was ever committed")
}

// In async and memory only a promise of a view waits for the disk.
func TestWhatHasToReachTheDisk(t *testing.T) {
	for durability, syncs := range map[Durability]bool{DurabilitySync: true, DurabilityAsync: false, DurabilityMemory: false} {
		b := newBench(t, 1, Restored{})
		b.config.Durability = durability
		b.restart(Restored{HardState: HardState{View: 1, LastNormalView: 1}})
		require.NoError(t, b.Step(withTo(suffix(KindPrepare, 2, 1, entries("a", 1), 1), 1)))
		ready := b.Ready()
		require.Equal(t, syncs, ready.MustSync, durability)
		require.False(t, ready.Messages[0].BeforePersist, "it is written first, all the same")
		b.Advance()
		require.NoError(t, b.Step(Message{Kind: KindStartViewChange, From: 2, To: 1, View: 2}))
		ready = b.Ready()
		require.True(t, ready.MustSync, durability)
	}
	_, err := New(Config{Self: 1, Members: []ReplicaID{1}, Rand: func() uint64 { return 1 }, Durability: 3}, Restored{})
	require.ErrorIs(t, err, ErrConfig)
}
