package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Of the logs that are offered the one with the largest last-normal view is chosen, and of those the longest (VRR 4.2,
// step 3).
func TestChoiceOfLog(t *testing.T) {
	long, right := entries("old", 1, 1, 1), entries("new", 1, 2)
	for _, broken := range []bool{false, true} {
		// Replica 1 is primary of view 3; itself it has the long log of view 1.
		b := backup1(t, long)
		if broken {
			b = backup1(t, long, RuleLogChoice)
		}
		b.step(Message{Kind: KindStartViewChange, From: 3, View: 3})
		m := suffix(KindDoViewChange, 3, 3, right, 1)
		m.LastNormalView = 2
		started := of(b.step(m), KindStartView)
		require.NotEmpty(t, started)
		require.Equal(t, broken, started[0].Hash == hashOf(long, 3))
		require.Equal(t, !broken, started[0].Hash == hashOf(right, 2))
	}
}

// One DOVIEWCHANGE for each replica: a copy is no second voice.
func TestDoViewChangeCountsOnce(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := newBench(t, 2, Restored{})
		if broken {
			b = newBench(t, 2, Restored{}, RuleOneDoViewChange)
		}
		b.config.Members = []ReplicaID{1, 2, 3, 4, 5}
		b.restart(Restored{})
		// View 6 is replica 2's in a group of five.
		b.step(Message{Kind: KindStartViewChange, From: 1, View: 6})
		b.step(Message{Kind: KindStartViewChange, From: 3, View: 6})
		m := Message{Kind: KindDoViewChange, From: 1, View: 6, First: 1}
		sent := append(b.step(m), b.step(m)...)
		require.Equal(t, broken, len(of(sent, KindStartView)) > 0)
	}
}

// A late copy of a STARTVIEW would remove what was acknowledged since.
func TestStartViewOnce(t *testing.T) {
	log := entries("a", 1, 1)
	for _, broken := range []bool{false, true} {
		b := backup1(t, log[:1])
		if broken {
			b = backup1(t, log[:1], RuleStartViewOnce)
		}
		b.step(suffix(KindPrepare, 2, 1, log, 2))
		require.Equal(t, OpNumber(2), b.Status().Op)
		b.step(suffix(KindStartView, 2, 1, log[:1], 1))
		require.Equal(t, broken, b.Status().Op == 1)
	}
}

// Schedule "suffix without a link": the receiver's entry below the suffix is of a dead branch.
func TestSuffixIsJoinedOnlyWhereItLinks(t *testing.T) {
	dead, live := entries("dead", 1, 1), entries("live", 1, 2, 2)
	for _, broken := range []bool{false, true} {
		b := backup1(t, dead)
		if broken {
			b = backup1(t, dead, RuleLink)
		}
		sent := b.step(suffix(KindStartView, 3, 2, live, 3))
		require.Equal(t, broken, len(of(sent, KindPrepareOK)) > 0, "it must not acknowledge what it does not have")
		if !broken {
			asked := of(sent, KindGetState)
			require.Equal(t, OpNumber(1), asked[0].First, "from its commit-number plus one")
			require.Equal(t, OpNumber(2), b.Status().Op, "it keeps what it has")
			answer := suffix(KindNewState, 3, 2, live, 1)
			answer.Nonce = asked[0].Nonce
			require.Equal(t, OpNumber(3), of(b.step(answer), KindPrepareOK)[0].Op)
			require.Equal(t, live, b.log)
		}
	}
}

// A view-number is durable before a message that promises it leaves.
func TestViewIsDurableFirst(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := backup1(t, nil)
		if broken {
			b = backup1(t, nil, RuleViewDurable)
		}
		require.NoError(t, b.Step(Message{Kind: KindStartViewChange, From: 3, To: 1, View: 2}))
		ready := b.Ready()
		require.Equal(t, ViewNumber(2), ready.HardState.View)
		require.Equal(t, !broken, ready.MustSync)
		require.NotEmpty(t, ready.Messages)
		for _, outgoing := range ready.Messages {
			require.Equal(t, broken, outgoing.BeforePersist)
		}
	}
}

// A primary that restarts may have sent PREPAREs that it does not remember.
func TestPrimaryNeverResumesItsView(t *testing.T) {
	b := primary2(t)
	b.crash()
	require.Equal(t, StatusViewChange, b.Status().Status)
	require.Equal(t, ViewNumber(2), b.Status().View)

	broken := primary2(t, RuleNeverResume)
	broken.crash()
	require.Equal(t, ViewNumber(1), broken.Status().View)
	require.Equal(t, StatusNormal, broken.Status().Status)
}

// A restart in the middle of a view change goes on with it: the promise stands.
func TestRestartKeepsThePromise(t *testing.T) {
	b := backup1(t, entries("a", 1))
	b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
	b.crash()
	require.Equal(t, StatusViewChange, b.Status().Status)
	require.Empty(t, of(b.step(suffix(KindPrepare, 2, 1, entries("a", 1, 1), 2)), KindPrepareOK), "nothing of view 1 any more")
	require.Equal(t, OpNumber(1), b.Status().Op)
}

// Inherited operations are committed by PREPAREOKs of the new view, and the primary leads only then.
func TestLeadsOnlyWithEverythingInherited(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := newBench(t, 2, Restored{})
		if broken {
			b = newBench(t, 2, Restored{}, RuleLeadInherited)
		}
		b.step(Message{Kind: KindStartViewChange, From: 1, View: 4})
		m := suffix(KindDoViewChange, 1, 4, entries("a", 1, 1), 1)
		m.LastNormalView = 1
		b.step(m)
		require.Equal(t, broken, b.leads)
		if broken {
			continue
		}
		require.Empty(t, b.committed)
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 4, Op: 1})
		require.False(t, b.leads)
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 4, Op: 2})
		require.True(t, b.leads)
		require.Len(t, b.committed, 2)
	}
}

// A primary that is replaced says which of its proposals it lost sight of, before it takes over another's log.
func TestDroppedProposals(t *testing.T) {
	b := primary2(t)
	_, err := b.Propose(1, [][]byte{[]byte("a"), []byte("b")})
	require.NoError(t, err)
	b.act()
	b.step(suffix(KindStartView, 3, 2, entries("other", 2), 1))
	require.Equal(t, []Dropped{{First: 1, Last: 2}}, b.dropped)
	require.False(t, b.leads)
}

// What another primary put in the place of a dropped proposal is committed by a later Ready than the one that
// drops it: a driver that answers while it applies takes nothing for the proposal that is not.
func TestADroppedPlaceIsCommittedLater(t *testing.T) {
	b := primary2(t)
	_, err := b.Propose(1, [][]byte{[]byte("a"), []byte("b")})
	require.NoError(t, err)
	b.act()
	other := suffix(KindStartView, 3, 2, entries("other", 2), 1)
	other.Commit = 1
	require.NoError(t, b.Step(withTo(other, 2)))
	ready := b.Ready()
	require.Equal(t, []Dropped{{First: 1, Last: 2}}, ready.Dropped)
	require.Empty(t, ready.Committed)
	b.persist(&ready)
	b.Advance()
	b.act()
	require.Equal(t, entries("other", 2), b.committed)
}

// A replica alone does not raise its view: its timer is gated by a probe.
func TestProbeGatesTheTimer(t *testing.T) {
	b := backup1(t, nil)
	sent := b.ticks(200)
	require.NotEmpty(t, of(sent, KindProbe))
	require.Empty(t, of(sent, KindStartViewChange))
	require.Equal(t, ViewNumber(1), b.Status().View)
	probes := of(sent, KindProbe)
	sent = b.step(Message{Kind: KindProbeOK, From: 3, View: 1, Nonce: probes[len(probes)-1].Nonce, Agree: true})
	require.NotEmpty(t, of(sent, KindStartViewChange))
	require.Equal(t, ViewNumber(2), b.Status().View)

	broken := backup1(t, nil, RuleProbe)
	require.NotEmpty(t, of(broken.ticks(200), KindStartViewChange))
}

// Two who lost the primary at different times are no majority that has lost it.
func TestAnAgreementIsForgotten(t *testing.T) {
	b := newBench(t, 1, Restored{})
	b.config.Members = []ReplicaID{1, 2, 3, 4, 5}
	b.restart(Restored{})
	b.step(suffix(KindStartView, 2, 1, nil, 1))
	agree := func(from ReplicaID, sent []Outgoing) {
		probes := of(sent, KindProbe)
		require.NotEmpty(t, probes)
		b.step(Message{Kind: KindProbeOK, From: from, View: 1, Nonce: probes[len(probes)-1].Nonce, Agree: true})
	}
	agree(3, b.ticks(b.Replica.config.ViewChangeTicksMax))
	agree(4, b.ticks(2*b.Replica.config.ViewChangeTicksMin))
	require.Equal(t, ViewNumber(1), b.Status().View)
	agree(5, b.ticks(1+b.Replica.config.ResendTicks))
	require.Equal(t, ViewNumber(2), b.Status().View, "two at one time, beside this one")
}

// A replica that hears its primary does not agree, one that has lost it does.
func TestProbeIsAnsweredTruthfully(t *testing.T) {
	b := backup1(t, nil)
	require.False(t, of(b.step(Message{Kind: KindProbe, From: 3, View: 1, Nonce: 5}), KindProbeOK)[0].Agree)
	b.ticks(b.Replica.config.ViewChangeTicksMin)
	require.True(t, of(b.step(Message{Kind: KindProbe, From: 3, View: 1, Nonce: 5}), KindProbeOK)[0].Agree)
}

// Schedule "probe shuts out": a replica that durably promised a later view is followed at once.
func TestALaterViewIsFollowed(t *testing.T) {
	b := backup1(t, nil)
	require.NotEmpty(t, of(b.step(Message{Kind: KindStartViewChange, From: 3, View: 2}), KindStartViewChange))
	require.Equal(t, ViewNumber(2), b.Status().View)
}

// Not to the end of the view-numbers, though, on the word of one.
func TestAViewFarAheadNeedsMoreThanOneVoice(t *testing.T) {
	b := backup1(t, nil)
	require.ErrorIs(t, b.Step(Message{Kind: KindStartViewChange, From: 3, To: 1, View: 1<<64 - 1}), ErrRefused)
	far := ViewNumber(1 << 40)
	b.step(Message{Kind: KindStartViewChange, From: 3, View: far})
	require.Equal(t, ViewNumber(1), b.Status().View)
	b.step(Message{Kind: KindStartViewChange, From: 2, View: 5000})
	require.Equal(t, ViewNumber(5000), b.Status().View, "two others name such views")
}

// A replica that was away for more views than one member's word is good for comes back although another one is
// down: it goes towards the view of whoever is there, and never while it has a primary.
func TestAReplicaFarBehindComesBack(t *testing.T) {
	far := ViewNumber(1 + 3*2000) // replica 2's, as view 1 is
	b := backup1(t, nil)
	heartbeat := Message{Kind: KindCommit, From: 2, View: far}
	b.step(heartbeat)
	require.Equal(t, ViewNumber(1), b.Status().View, "it has a primary")
	for view := ViewNumber(1 + claimAheadMax); view < far; view += claimAheadMax {
		b.ticks(b.Replica.config.ViewChangeTicksMin)
		require.Len(t, of(b.step(heartbeat), KindStartViewChange), 2, "who is far ahead answers this")
		require.Equal(t, view, b.Status().View)
		require.Equal(t, view, b.hard.View)
		if view+claimAheadMax < far {
			b.step(heartbeat)
			require.Equal(t, view, b.Status().View, "not as fast as messages come")
		}
	}
	require.Equal(t, far, of(b.step(heartbeat), KindGetState)[0].View)
}
