package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// damaged1 is replica 1 of three, a backup of view 1, that starts with a damaged storage.
func damaged1(t *testing.T, left []Entry, commit OpNumber, rules ...omit.Rule) *bench {
	t.Helper()
	return newBench(t, 1, Restored{
		HardState: HardState{View: 1, LastNormalView: 1, Commit: commit}, Entries: left, Damaged: true,
	}, rules...)
}

// A replica whose log is damaged votes from none of it: it recovers, in sync too. Then the whole log is written anew in
// one step, and not before.
func TestADamagedReplicaRecovers(t *testing.T) {
	log := entries("a", 1, 1, 1)
	b := damaged1(t, log[:1], 2)
	asked := of(b.act(), KindRecovery)
	require.Len(t, asked, 2)
	require.Empty(t, b.step(Message{Kind: KindStartViewChange, From: 2, View: 2}))
	require.Len(t, b.committed, 1, "of what it knew to be committed the rest is damaged")
	b.step(recovered(3, 1, asked[0].Nonce, nil))
	sent := b.step(recovered(2, 1, asked[0].Nonce, log))
	require.Equal(t, OpNumber(2), of(sent, KindGetState)[0].First)
	require.Empty(t, b.replaced)
	sent = b.step(askedState(t, sent, log))
	require.Equal(t, OpNumber(3), of(sent, KindPrepareOK)[0].Op)
	require.Equal(t, []CheckpointMeta{{}}, b.replaced)
	require.Equal(t, log, b.log)
	require.Len(t, b.committed, 2)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 3, Commit: 3})
	require.Len(t, b.replaced, 1)

	broken := damaged1(t, log[:1], 2, RuleRepair)
	require.NotEmpty(t, of(broken.step(Message{Kind: KindStartViewChange, From: 2, View: 2}), KindStartViewChange))
}

// The primary's log may be no longer than what is left: the damage goes all the same.
func TestDamageAboveTheRecoveredLogGoes(t *testing.T) {
	log := entries("a", 1, 1)
	b := damaged1(t, log, 0)
	asked := of(b.act(), KindRecovery)[0]
	b.step(recovered(3, 1, asked.Nonce, nil))
	b.step(recovered(2, 1, asked.Nonce, log))
	require.Equal(t, StatusNormal, b.Status().Status)
	require.Len(t, b.replaced, 1)
	require.Equal(t, log, b.log)
}

// A checkpoint that comes while a damaged replica recovers removes nothing of the log: a crash after it has to find
// the damage.
func TestADamagedLogStaysUntilItIsReplaced(t *testing.T) {
	log := entries("a", 1, 1, 1, 1)
	b := damaged1(t, log[:1], 1)
	asked := of(b.act(), KindRecovery)[0]
	b.step(recovered(3, 1, asked.Nonce, nil))
	sent := b.step(recovered(2, 1, asked.Nonce, log))
	get := of(sent, KindGetState)[0]
	meta := CheckpointMeta{Op: 3, View: 1, Hash: log[2].Hash}
	b.step(Message{
		Kind: KindNewState, From: get.To, View: 1, Nonce: get.Nonce, First: get.First, Op: 4, Commit: 3, Hash: log[3].Hash, Checkpoint: meta,
	})
	b.CheckpointInstalled(meta)
	for sent = nil; b.HasReady(); b.Advance() {
		ready := b.Ready()
		require.False(t, ready.Truncate || ready.TruncateBelow > 0 || ready.Replace != nil || ready.HardState != nil)
		sent = append(sent, ready.Messages...)
	}
	require.Equal(t, StatusRecovering, b.Status().Status)
	require.Equal(t, log[:1], b.log)
	get = of(sent, KindGetState)[0]
	require.Equal(t, OpNumber(4), get.First)
	b.step(Message{
		Kind: KindNewState, From: get.To, View: 1, Nonce: get.Nonce, First: 4, PreviousHash: log[2].Hash, Entries: log[3:], Op: 4, Hash: log[3].Hash, Commit: 4,
	})
	require.Equal(t, []CheckpointMeta{meta}, b.replaced)
	require.Equal(t, log[3:], b.log)
	require.Equal(t, StatusNormal, b.Status().Status)
}

// Who was never normal in a view has acknowledged nothing that could be lost.
func TestDamageBeforeTheFirstView(t *testing.T) {
	b := newBench(t, 1, Restored{HardState: HardState{View: 3}, Damaged: true})
	require.NotEmpty(t, of(b.act(), KindStartViewChange))
	require.Len(t, b.replaced, 1)
}

// In a group of one there is nobody to recover from.
func TestADamagedGroupOfOneStops(t *testing.T) {
	config := Config{Self: 1, Members: []ReplicaID{1}, Rand: func() uint64 { return 1 }}
	_, err := New(config, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Damaged: true})
	require.ErrorIs(t, err, ErrRestored)
}
