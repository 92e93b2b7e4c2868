package core

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What no correct member sends is refused whatever the replica's state, with ErrRefused, and has no effect.
func TestWhatNoMemberSendsIsRefused(t *testing.T) {
	log := entries("a", 1, 1)
	prepare := withTo(suffix(KindPrepare, 2, 1, log, 1), 1)
	with := func(change func(m *Message)) Message {
		m := prepare
		m.Entries = append([]Entry(nil), prepare.Entries...)
		change(&m)
		return m
	}
	for _, c := range []struct {
		message Message
		why     string
	}{
		{with(func(m *Message) { m.Kind = 0 }), "unknown kind"},
		{with(func(m *Message) { m.Kind = KindNewCommitted + 1 }), "unknown kind"},
		{with(func(m *Message) { m.To = 3 }), "for replica 3"},
		{with(func(m *Message) { m.From = 1 }), "not another member"},
		{with(func(m *Message) { m.From = 4 }), "not another member"},
		{with(func(m *Message) { m.From = 0 }), "not another member"},
		{with(func(m *Message) { m.View = 0 }), "in view 0"},
		{with(func(m *Message) { m.View = math.MaxUint64 }), "view 18446744073709551615"},
		{with(func(m *Message) { m.LastNormalView = 2 }), "last-normal-view 2 above view 1"},
		{with(func(m *Message) { m.From = 3 }), "not primary of view 1"},
		{with(func(m *Message) { m.Entries = nil }), "empty PREPARE"},
		{with(func(m *Message) { m.First, m.Entries = 0, m.Entries[:1] }), "entry 1 in the place of 0"},
		{with(func(m *Message) { m.Entries = m.Entries[1:] }), "entry 2 in the place of 1"},
		{with(func(m *Message) { m.Entries[1] = m.Entries[0] }), "entry 1 in the place of 2"},
		{with(func(m *Message) { m.Entries[0].View = 2 }), "of view 2 in a message of view 1"},
		{with(func(m *Message) { m.Entries[0].View = 0 }), "of view 0"},
		{with(func(m *Message) { m.Entries[1].Payload = []byte("other") }), "does not link"},
		{with(func(m *Message) { m.PreviousHash = 9 }), "entry 1 does not link"},
		{with(func(m *Message) { m.Op = 1 }), "entry 2 above op-number 1"},
		{with(func(m *Message) { m.Kind, m.Commit = KindNewCommitted, 1 }), "entry 2 above commit-number 1"},
		{Message{Kind: KindDoViewChange, From: 2, To: 1, View: 2}, "for another primary"},
		{Message{Kind: KindStartView, From: 3, To: 1, View: 3}, "not primary of view 3"},
		{Message{Kind: KindCommit, From: 3, To: 1, View: 1}, "not primary of view 1"},
		{Message{Kind: KindNewState, From: 3, To: 1}, "in view 0"},
		{Message{Kind: KindRecovery, From: 3, To: 1, First: 1}, "in view 0"},
		{Message{Kind: KindRecovery, From: 3, To: 1, View: 1}, "from op-number 0"},
		{with(func(m *Message) { m.Kind = KindRecovery }), "with entries"},
		{with(func(m *Message) { m.Kind, m.LastNormalView = KindRecoveryResponse, 1 }), "with entries"},
		{Message{Kind: KindRecoveryResponse, From: 3, To: 1, View: 2, LastNormalView: 1}, "not normal in it"},
		{Message{Kind: KindRecoveryResponse, From: 3, To: 1, View: 1, LastNormalView: 1, Op: 1}, "with a log from replica 3"},
		{Message{Kind: KindRecoveryResponse, From: 3, To: 1, View: 1, LastNormalView: 1, Hash: 1}, "with a log from replica 3"},
		{Message{Kind: KindRecoveryResponse, From: 2, To: 1, View: 1, LastNormalView: 1, Op: 1, Commit: 2}, "commit-number 2 above op-number 1"},
	} {
		b := backup1(t, nil)
		before := b.Status()
		err := b.Step(c.message)
		require.ErrorIs(t, err, ErrRefused, c.why)
		require.ErrorContains(t, err, c.why)
		require.Equal(t, before, b.Status())
		require.False(t, b.HasReady(), c.why)
	}
	b := backup1(t, nil)
	require.NotEmpty(t, of(b.step(prepare), KindPrepareOK), "the message that all of these were made from is taken")
}

// The two that a driver tells apart say so.
func TestRefusalsThatAreToldApart(t *testing.T) {
	b := backup1(t, nil)
	for _, m := range []Message{{Kind: KindCommit, From: 2, To: 3, View: 1}, {Kind: KindCommit, From: 4, To: 1, View: 1}} {
		require.ErrorIs(t, b.Step(m), ErrStranger)
	}
	require.ErrorIs(t, b.Step(Message{Kind: KindCommit, From: 2, To: 1, View: math.MaxUint64}), ErrViewNumber)
	require.NotErrorIs(t, b.Step(Message{Kind: KindCommit, From: 3, To: 1, View: 1}), ErrViewNumber)
}

// Numbers that no group reaches are taken for what they are: nothing is executed that is not there, and no count
// overflows.
func TestEnormousNumbers(t *testing.T) {
	const most = math.MaxUint64
	log := entries("a", 1, 1)
	b := backup1(t, log)
	for _, m := range []Message{
		{Kind: KindCommit, From: 2, View: 1, Op: most, Commit: 1},
		{Kind: KindPrepareOK, From: 3, View: 1, Op: most},
		{Kind: KindCommitOK, From: 3, View: 1, Op: most, Round: most},
		{Kind: KindGetState, From: 3, View: 1, First: most},
		{Kind: KindNewState, From: 3, View: 1, First: most, Op: most, Checkpoint: CheckpointMeta{Op: most}},
		{Kind: KindProbe, From: 3, View: viewMax, Nonce: most},
		{Kind: KindProbeOK, From: 3, View: viewMax, Nonce: most, Agree: true},
		{Kind: KindDoViewChange, From: 2, View: 3, LastNormalView: 3, Op: most, Commit: 1, First: 0},
	} {
		b.step(m)
		require.NoError(t, b.Failure(), m.Kind)
	}
	require.Len(t, b.committed, 1)
	require.Equal(t, OpNumber(2), b.Status().Op)
}
