package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// deferred proposes an operation as the primary and defers its Ready: nothing is durable yet.
func deferred(b *bench, payload string) (number uint64, sent []Outgoing) {
	b.Helper()
	_, err := b.Propose(1, [][]byte{[]byte(payload)})
	require.NoError(b, err)
	ready := b.Ready()
	require.True(b, ready.Deferrable)
	require.True(b, ready.MustSync)
	sent = append(sent, ready.Messages...)
	return b.Defer(), sent
}

// A primary goes on while its own disk writes, and an operation is committed by f+1 replicas that have it on theirs, with
// the primary's own or without.
func TestCommitWithoutThePrimarysDisk(t *testing.T) {
	b := primary2(t)
	b.step(Message{Kind: KindPrepareOK, From: 3, View: 1})
	first, sent := deferred(b, "a")
	require.Len(t, of(sent, KindPrepare), 2)
	second, sent := deferred(b, "b")
	require.Greater(t, second, first)
	require.Len(t, of(sent, KindPrepare), 2, "the next one leaves before the first is durable here")

	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.Empty(t, b.committed, "one backup is no quorum")
	b.Durable(first)
	b.act()
	require.Len(t, b.committed, 1, "this log counts up to where it is durable")
	b.step(Message{Kind: KindPrepareOK, From: 3, View: 1, Op: 2})
	require.Len(t, b.committed, 2, "two backups are one")
	b.Durable(second)
	b.Durable(first) // it is known already
	require.Empty(t, b.act())
}

// The primary's own log counts only as far as it is durable.
func TestWhatIsDeferredDoesNotCount(t *testing.T) {
	for _, rules := range [][]omit.Rule{nil, {RuleOwnLogDurable}} {
		b := primary2(t, rules...)
		deferred(b, "a")
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
		require.Equal(t, len(rules), len(b.committed), "without the rule it is committed by one disk")
	}
}

// Whatever else is promised or written waits for everything that was deferred: a new view, an answer, a removal.
func TestPromisesWaitForWhatIsDeferred(t *testing.T) {
	log := entries("a", 1)
	for name, then := range map[string]func(b *bench){
		"a new view": func(b *bench) {
			require.NoError(b, b.Step(Message{Kind: KindStartViewChange, From: 1, To: 2, View: 2}))
		},
		"an answer": func(b *bench) {
			require.NoError(b, b.Step(Message{Kind: KindGetState, From: 1, To: 2, View: 1, First: 1, Nonce: 7}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := primary2(t)
			number, _ := deferred(b, "a1")
			require.Equal(t, log[0].Hash, b.Replica.log.at(1).Hash)
			then(b)
			ready := b.Ready()
			require.NotEmpty(t, ready.Messages)
			require.True(t, ready.MustSync, "also where there is nothing to write")
			require.False(t, ready.Deferrable)
			b.Advance()
			require.Empty(t, b.deferred, "all of it is durable")
			b.Durable(number)
		})
	}
}

// A log that was deferred in one view counts for nothing in a later one that this replica leads before it is durable.
func TestWhatIsDeferredDoesNotCountInALaterView(t *testing.T) {
	b := primary2(t)
	number, _ := deferred(b, "a1")
	// View 4 is this replica's again; everything comes before it is asked for a Ready.
	log := entries("a", 1)
	for _, m := range []Message{
		{Kind: KindStartViewChange, From: 1, View: 4},
		{Kind: KindDoViewChange, From: 1, View: 4, LastNormalView: 1, Op: 1, Hash: log[0].Hash, First: 1, Entries: log},
	} {
		m.To = 2
		require.NoError(t, b.Step(m))
	}
	require.NotNil(t, b.primary, "it is primary of view 4")
	require.Zero(t, b.primary.durable)
	require.NoError(t, b.Step(Message{Kind: KindPrepareOK, From: 1, To: 2, View: 4, Op: 1}))
	require.Zero(t, b.commit)
	b.Durable(number)
	require.Equal(t, OpNumber(1), b.commit)
}

// Only what a primary appends may be deferred.
func TestWhatMayBeDeferred(t *testing.T) {
	log := entries("a", 1)
	backup := backup1(t, nil)
	m := suffix(KindPrepare, 2, 1, log, 1)
	m.To = 1
	require.NoError(t, backup.Step(m))
	require.False(t, backup.Ready().Deferrable, "a backup acknowledges what it has")

	b := newBench(t, 2, Restored{})
	require.NoError(t, b.Step(Message{Kind: KindStartViewChange, From: 1, To: 2, View: 1}))
	require.False(t, b.Ready().Deferrable, "a view is promised")

	// An answer goes to somebody who takes what is in it for durable here.
	answers := primary2(t)
	require.NoError(t, answers.Step(Message{Kind: KindGetState, From: 1, To: 2, View: 1, First: 1, Nonce: 7}))
	_, err := answers.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	ready := answers.Ready()
	require.NotEmpty(t, ready.Entries)
	require.NotEmpty(t, of(ready.Messages, KindNewState))
	require.False(t, ready.Deferrable)

	// What is removed was durable, and counted.
	removes := primary2(t)
	for range 2 {
		_, err = removes.Propose(1, [][]byte{[]byte("a")})
		require.NoError(t, err)
		removes.act()
		removes.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: removes.Status().Op})
		meta, ok := removes.MetaAt(removes.Status().Commit)
		require.True(t, ok)
		removes.CheckpointCreated(meta)
	}
	_, err = removes.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	ready = removes.Ready()
	require.NotEmpty(t, ready.Entries)
	require.NotZero(t, ready.TruncateBelow)
	require.False(t, ready.Deferrable)

	memory := primary2(t)
	memory.Replica.config.Durability = DurabilityMemory
	_, err = memory.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	require.False(t, memory.Ready().Deferrable, "nothing waits for a disk")
}
