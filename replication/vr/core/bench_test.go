package core

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// bench is one replica of the group 1, 2, 3 whose other members are the test. View v's primary is replica
// 1 + v mod 3: replica 2 in view 1, replica 3 in view 2, replica 1 in view 3.
type bench struct {
	*testing.T
	*Replica
	config    Config
	committed []Entry
	hard      HardState
	log       []Entry
	reads     []Read
	stale     []StaleRead
	leads     bool
	dropped   []Dropped
	first     OpNumber         // what the storage keeps of the log, at least
	replaced  []CheckpointMeta // what the log began above, each time it was replaced
}

func newBench(t *testing.T, self ReplicaID, restored Restored, rules ...omit.Rule) *bench {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(self)))
	b := &bench{T: t, config: Config{
		Self: self, Members: []ReplicaID{1, 2, 3}, Rand: random.Uint64, Omit: omit.Of(rules...),
	}, hard: restored.HardState, log: restored.Entries}
	b.restart(restored)
	return b
}

func (b *bench) restart(restored Restored) {
	b.Helper()
	replica, err := New(b.config, restored)
	require.NoError(b, err)
	b.Replica = replica
}

// crash restarts the replica from what it had made durable.
func (b *bench) crash() { b.restart(Restored{HardState: b.hard, Entries: b.log}) }

// step hands in a message and carries out what comes of it; it returns what was sent.
func (b *bench) step(m Message) []Outgoing {
	b.Helper()
	m.To = b.config.Self
	require.NoError(b, b.Step(m))
	return b.act()
}

// act carries out every Ready there is.
func (b *bench) act() []Outgoing {
	var sent []Outgoing
	for rounds := 0; b.HasReady(); rounds++ {
		require.Less(b, rounds, 1000, "a replica that never comes to rest")
		ready := b.Ready()
		b.persist(&ready)
		sent = append(sent, ready.Messages...)
		b.committed = append(b.committed, ready.Committed...)
		b.reads = append(b.reads, ready.Reads...)
		b.stale = append(b.stale, ready.StaleReads...)
		b.dropped = append(b.dropped, ready.Dropped...)
		if ready.Leadership != nil {
			b.leads = ready.Leadership.Leading
		}
		b.Advance()
	}
	return sent
}

func (b *bench) persist(ready *Ready) {
	if ready.HardState != nil {
		b.hard = *ready.HardState
	}
	if ready.Replace != nil {
		b.log, b.replaced = nil, append(b.replaced, *ready.Replace)
	}
	if ready.Truncate {
		b.log = b.log[:ready.TruncateAbove]
	}
	b.log = append(b.log[:len(b.log):len(b.log)], ready.Entries...)
	b.first = max(b.first, ready.TruncateBelow)
}

func (b *bench) ticks(n int) []Outgoing {
	var sent []Outgoing
	for range n {
		b.Tick()
		sent = append(sent, b.act()...)
	}
	return sent
}

// of filters what was sent by kind.
func of(sent []Outgoing, kind Kind) []Message {
	var found []Message
	for _, outgoing := range sent {
		if outgoing.Message.Kind == kind {
			found = append(found, outgoing.Message)
		}
	}
	return found
}

// entries makes a chained log from op-number 1, one entry for each view given; branch makes its payloads
// different from another's.
func entries(branch string, views ...ViewNumber) []Entry {
	var made []Entry
	previous := Hash(0)
	for i, view := range views {
		e := Chained(previous, OpNumber(i+1), view, fmt.Appendf(nil, "%s%d", branch, i+1))
		made, previous = append(made, e), e.Hash
	}
	return made
}

func hashOf(log []Entry, op OpNumber) Hash {
	if op == 0 {
		return 0
	}
	return log[op-1].Hash
}

// suffix makes a message that carries a log from an op-number on.
func suffix(kind Kind, from ReplicaID, view ViewNumber, log []Entry, first OpNumber) Message {
	last := OpNumber(len(log))
	return Message{
		Kind: kind, From: from, View: view, Op: last, Hash: hashOf(log, last), First: first, PreviousHash: hashOf(log, first-1),
		Entries: log[first-1:],
	}
}

// backup1 is replica 1 as a normal backup of view 1 with a log from that view.
func backup1(t *testing.T, log []Entry, rules ...omit.Rule) *bench {
	b := newBench(t, 1, Restored{}, rules...)
	sent := b.step(suffix(KindStartView, 2, 1, log, 1))
	require.Equal(t, OpNumber(len(log)), of(sent, KindPrepareOK)[0].Op)
	require.Equal(t, StatusNormal, b.Status().Status)
	return b
}

// primary2 is replica 2 as the leading primary of view 1 with an empty log, acknowledged by replica 1.
func primary2(t *testing.T, rules ...omit.Rule) *bench {
	b := newBench(t, 2, Restored{}, rules...)
	b.step(Message{Kind: KindStartViewChange, From: 1, View: 1})
	b.step(Message{Kind: KindDoViewChange, From: 1, View: 1, First: 1})
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1})
	require.True(t, b.leads)
	return b
}
