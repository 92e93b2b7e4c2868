package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Sentences of the paper that state a rule and have no story of their own elsewhere. docs/PAPER.md lists them all.

// Round robin: the view-number alone says who is primary (VRR 4).
func TestPrimaryOfAView(t *testing.T) {
	b := newBench(t, 1, Restored{})
	for view, primary := range map[ViewNumber]ReplicaID{1: 2, 2: 3, 3: 1, 4: 2, 300: 1, 301: 2} {
		require.Equal(t, primary, b.primaryOf(view), "view %d", view)
	}
}

// Messages of an earlier view are dropped, and those of a later one processed only when the replica is in that view
// (VRR 4.1).
func TestNormalMessagesOfAnotherView(t *testing.T) {
	log := entries("a", 1, 1)
	for _, kind := range []Kind{KindPrepare, KindCommit} {
		b := backup1(t, log[:1])
		b.step(suffix(KindStartView, 3, 2, log[:1], 1))
		require.Equal(t, ViewNumber(2), b.Status().View)
		late := suffix(kind, 2, 1, log, 2)
		if kind == KindCommit {
			late = Message{Kind: kind, From: 2, View: 1, Op: 2, Commit: 1}
		}
		require.Empty(t, b.step(late), "%v of an earlier view", kind)
		require.Equal(t, OpNumber(1), b.Status().Op)
		require.Zero(t, b.Status().Commit)

		early := suffix(kind, 2, 4, log, 2)
		if kind == KindCommit {
			early = Message{Kind: kind, From: 2, View: 4, Op: 2, Commit: 2}
		}
		asked := of(b.step(early), KindGetState)
		require.Len(t, asked, 1, "%v of a later view", kind)
		require.Equal(t, ViewNumber(4), asked[0].View)
		require.Equal(t, OpNumber(1), b.Status().Op)
		require.Zero(t, b.Status().Commit)
	}
}

// Only a replica whose status is normal takes part in the processing of requests (VRR 4.1).
func TestOnlyNormalReplicasProcessRequests(t *testing.T) {
	log := entries("a", 1, 1)
	b := backup1(t, log[:1])
	b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
	require.Equal(t, StatusViewChange, b.Status().Status)
	require.Empty(t, b.step(suffix(KindPrepare, 2, 1, log, 2)))
	require.Equal(t, OpNumber(1), b.Status().Op)

	p := primary2(t)
	_, err := p.Propose(1, [][]byte{[]byte("before")})
	require.NoError(t, err)
	p.act()
	p.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
	_, err = p.Propose(1, [][]byte{[]byte("after")})
	require.ErrorIs(t, err, ErrNotPrimary)
	p.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	require.Empty(t, p.committed, "a PREPAREOK of the view that it has left counts no more")
}

// The commit-number travels with the next PREPARE, and with a COMMIT only when there is none (VRR 4.1, step 6).
func TestPrepareTellsWhatIsCommitted(t *testing.T) {
	p := primary2(t)
	_, err := p.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	p.act()
	p.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	_, err = p.Propose(1, [][]byte{[]byte("b")})
	require.NoError(t, err)
	sent := p.act()
	require.Equal(t, OpNumber(1), of(sent, KindPrepare)[0].Commit)
	require.Empty(t, of(sent, KindCommit))
	require.NotEmpty(t, of(p.ticks(p.Replica.config.HeartbeatTicks), KindCommit), "nobody proposes any more")
}

// A backup executes in order, and an operation only when it has it and everything before it (VRR 4.1, step 7).
func TestBackupsExecuteInOrder(t *testing.T) {
	log := entries("a", 1, 1, 1)
	b := backup1(t, log[:1])
	third := suffix(KindPrepare, 2, 1, log, 3)
	third.Commit = 3
	b.step(third)
	require.Subset(t, log[:1], b.committed, "the second is missing")
	second := suffix(KindPrepare, 2, 1, log[:2], 2)
	second.Commit = 3
	b.step(second)
	require.Equal(t, log[:2], b.committed)
	b.step(third)
	require.Equal(t, log, b.committed)
}

// A DOVIEWCHANGE waits for STARTVIEWCHANGEs of this view from f other replicas (VRR 4.2, step 2).
func TestDoViewChangeWaitsForOthers(t *testing.T) {
	b := newBench(t, 1, Restored{})
	b.config.Members = []ReplicaID{1, 2, 3, 4, 5}
	b.restart(Restored{})
	require.Empty(t, of(b.step(Message{Kind: KindStartViewChange, From: 2, View: 8}), KindDoViewChange), "one of f = 2")
	require.Empty(t, of(b.step(Message{Kind: KindStartViewChange, From: 2, View: 8}), KindDoViewChange), "the same one")
	require.Empty(t, of(b.step(Message{Kind: KindStartViewChange, From: 3, View: 7}), KindDoViewChange), "of another view")
	sent := of(b.step(Message{Kind: KindStartViewChange, From: 3, View: 8}), KindDoViewChange)
	require.Len(t, sent, 1)
	require.Equal(t, ReplicaID(4), sent[0].To, "to the new view's primary")
}

// The new primary takes the largest commit-number among the DOVIEWCHANGEs, whatever log that one had, tells it in
// STARTVIEW, and executes what it had not (VRR 4.2, steps 3 and 4).
func TestNewPrimaryTakesTheLargestCommitNumber(t *testing.T) {
	log := entries("a", 1, 1, 1)
	b := backup1(t, log) // primary of view 3
	b.step(Message{Kind: KindStartViewChange, From: 3, View: 3})
	m := suffix(KindDoViewChange, 3, 3, log[:2], 3)
	m.LastNormalView, m.Commit, m.Entries = 1, 2, nil
	started := of(b.step(m), KindStartView)
	require.NotEmpty(t, started)
	require.Equal(t, OpNumber(3), started[0].Op, "its own log is the longest")
	require.Equal(t, OpNumber(2), started[0].Commit)
	require.Equal(t, log[:2], b.committed)
}

// Who takes over a new view's log acknowledges what is not committed, and executes what is (VRR 4.2, step 5).
func TestStartViewIsAcknowledgedAndExecuted(t *testing.T) {
	log := entries("a", 1, 1)
	b := newBench(t, 1, Restored{})
	m := suffix(KindStartView, 2, 1, log, 1)
	m.Commit = 1
	acknowledged := of(b.step(m), KindPrepareOK)
	require.Len(t, acknowledged, 1)
	require.Equal(t, OpNumber(2), acknowledged[0].Op)
	require.Equal(t, log[:1], b.committed)
}

// A view change that finds nobody is given up for the next view (VRR 4.2).
func TestAViewChangeThatGoesNowhereIsGivenUp(t *testing.T) {
	b := backup1(t, nil)
	b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
	sent := b.ticks(2 * b.Replica.config.ViewChangeTicksMax)
	probes := of(sent, KindProbe)
	require.NotEmpty(t, probes)
	b.step(Message{Kind: KindProbeOK, From: 3, View: 2, Nonce: probes[len(probes)-1].Nonce, Agree: true})
	require.Equal(t, ViewNumber(3), b.Status().View)
	require.Equal(t, StatusViewChange, b.Status().Status)
}

// Only a replica that is normal answers RECOVERY (VRR 4.3, step 2).
func TestOnlyNormalReplicasAnswerRecovery(t *testing.T) {
	b := backup1(t, nil)
	question := Message{Kind: KindRecovery, From: 3, View: 1, Nonce: 7, First: 1}
	require.Len(t, of(b.step(question), KindRecoveryResponse), 1)
	b.step(Message{Kind: KindStartViewChange, From: 2, View: 2})
	require.Empty(t, of(b.step(question), KindRecoveryResponse))
	require.Empty(t, of(newBench(t, 1, Restored{}).step(question), KindRecoveryResponse), "in view 0 nobody is")
}

// GETSTATE is answered only by a replica that is normal in the view that it names (VRR 5.2).
func TestOnlyNormalReplicasAnswerGetState(t *testing.T) {
	log := entries("a", 1, 1)
	b := backup1(t, log)
	question := Message{Kind: KindGetState, From: 3, View: 1, First: 2, Nonce: 7}
	answers := of(b.step(question), KindNewState)
	require.Len(t, answers, 1)
	require.Equal(t, log[1:], answers[0].Entries)
	require.Equal(t, uint64(7), answers[0].Nonce)
	for _, view := range []ViewNumber{2, 4} {
		other := question
		other.View = view
		require.Empty(t, of(b.step(other), KindNewState), "view %d", view)
	}
	b.step(Message{Kind: KindStartViewChange, From: 2, View: 2})
	require.Empty(t, of(b.step(question), KindNewState))
}

// A backup that lacks operations of its own view asks from its op-number on, and keeps what it has (VRR 5.2).
func TestABackupAsksForWhatItLacks(t *testing.T) {
	log := entries("a", 1, 1, 1)
	b := backup1(t, log[:1])
	asked := of(b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 3, Commit: 3}), KindGetState)
	require.Len(t, asked, 1)
	require.Equal(t, OpNumber(2), asked[0].First)
	require.Equal(t, ViewNumber(1), asked[0].View)
	answer := suffix(KindNewState, asked[0].To, 1, log, 2)
	answer.Nonce, answer.Commit = asked[0].Nonce, 3
	b.step(answer)
	require.Equal(t, log, b.log)
	require.Equal(t, log, b.committed)
}
