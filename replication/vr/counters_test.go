package vr

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// TestEveryKindIsCounted: a kind that the core knows and this package does not would be counted as unknown.
func TestEveryKindIsCounted(t *testing.T) {
	require.False(t, strings.HasPrefix(lastKind.String(), "KIND"))
	require.True(t, strings.HasPrefix((lastKind+1).String(), "KIND"), "lastKind is not the last")
	var counts kindCounts
	counts.add(core.KindPrepare, 7)
	counts.add(lastKind+1, 5)
	counts.add(255, 5)
	values := map[string]uint64{}
	counts.describe(values, "sent")
	require.Equal(t, uint64(1), values["messages_sent.PREPARE"])
	require.Equal(t, uint64(7), values["bytes_sent.PREPARE"])
	require.Equal(t, uint64(2), values["messages_sent.unknown"])
	require.Equal(t, uint64(10), values["bytes_sent.unknown"])
}

// TestMeasuringAllocatesNothing while nobody asks and nobody traces.
func TestMeasuringAllocatesNothing(t *testing.T) {
	options := Options{Self: 1, Members: []replication.ReplicaID{1, 2, 3}}.withDefaults()
	machine, err := core.New(options.core(), core.Restored{})
	require.NoError(t, err)
	o := &owner{Replica: &Replica{options: options}, core: machine}
	message := &core.Message{Kind: core.KindPrepareOK, From: 2, To: 1, View: 1}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		o.observe(higherView)
		o.traceMessage(TraceSent, message, nil)
		o.counters.sent.add(core.KindPrepare, 100)
		o.counters.durableWrites.Add(time.Millisecond)
	}))
}

func BenchmarkObserve(b *testing.B) {
	options := Options{Self: 1, Members: []replication.ReplicaID{1, 2, 3}}.withDefaults()
	machine, err := core.New(options.core(), core.Restored{})
	require.NoError(b, err)
	o := &owner{Replica: &Replica{options: options}, core: machine}
	b.ReportAllocs()
	for b.Loop() {
		o.observe(higherView)
	}
}
