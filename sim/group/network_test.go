package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// play sends so many messages from the first replica to the second, one a moment, and returns when each copy
// arrives, by its number.
func play(n *network, covered *Coverage, count int) map[uint64][]instant {
	arrived := map[uint64][]instant{}
	for i := range count {
		message := core.Message{Kind: core.KindPrepare, From: 1, To: 2, Nonce: uint64(i)}
		arrivals, copies := n.send(instant(i), 0, 1, &message, covered)
		for _, arrival := range arrivals[:copies] {
			at := arrival.at
			message := n.take(arrival.slot).message
			arrived[message.Nonce] = append(arrived[message.Nonce], at)
		}
	}
	return arrived
}

func TestNetworkWithoutFaultsDeliversEverythingOnce(t *testing.T) {
	n := newNetwork(&network{}, 1, 3, networkMixture{delayMax: 4})
	var covered Coverage
	arrived := play(&n, &covered, 1000)
	require.Len(t, arrived, 1000)
	for number, at := range arrived {
		require.Len(t, at, 1)
		require.Greater(t, at[0], instant(number))
		require.LessOrEqual(t, at[0], instant(number)+5)
	}
	require.Len(t, covered.Missing(), int(eventCount), "a fault happened though none is on")
}

func TestNetworkLosesDuplicatesDelaysAndReorders(t *testing.T) {
	n := newNetwork(&network{}, 2, 3, networkMixture{loss: 200, duplicate: 300, delayMax: 20, tail: 50, tailMax: 500})
	var covered Coverage
	arrived := play(&n, &covered, 10_000)
	copies, late, overtaken, latest := 0, 0, 0, instant(0)
	for i := range uint64(10_000) {
		copies += len(arrived[i])
		for _, at := range arrived[i] {
			if at < latest {
				overtaken++
			}
			if at > instant(i)+21 {
				late++
			}
			latest = max(latest, at)
		}
	}
	require.InDelta(t, 8000, len(arrived), 200, "a fifth is lost")
	require.InDelta(t, 8000*1.3, copies, 300, "three tenths are duplicated")
	require.Greater(t, late, 300)
	require.Greater(t, overtaken, 1000)
	require.EqualValues(t, 10_000-len(arrived), covered[EventMessageLost])
}

func TestPartitionsCutTheirLinksUntilAllAreHealed(t *testing.T) {
	n := newNetwork(&network{}, 3, 3, networkMixture{delayMax: 1})
	var covered Coverage
	passes := func(from, to int) bool {
		_, count := n.send(0, from, to, &core.Message{From: core.ReplicaID(from + 1), To: core.ReplicaID(to + 1)}, &covered)
		return count == 1
	}
	first := func(replica int) bool { return replica == 0 }
	both, out := n.cut(first, false), n.cut(first, true)
	require.False(t, passes(0, 1))
	require.False(t, passes(1, 0))
	require.True(t, passes(1, 2))
	n.heal(both)
	require.False(t, passes(0, 1), "the one-way partition goes on")
	require.True(t, passes(1, 0), "it cuts one direction only")
	n.heal(out)
	require.True(t, passes(0, 1))
	require.Equal(t, both, n.cut(first, false), "numbers are used again")
	n.healAll()
	require.True(t, passes(0, 1))
}

func TestCloggedLinkHoldsAFewMessagesBack(t *testing.T) {
	n := newNetwork(&network{}, 4, 2, networkMixture{delayMax: 1, clogCapacity: 3})
	n.clog(0, 1, 100)
	var covered Coverage
	var slots []int
	for range 5 {
		arrivals, count := n.send(0, 0, 1, &core.Message{From: 1, To: 2}, &covered)
		for _, arrival := range arrivals[:count] {
			require.EqualValues(t, 100, arrival.at)
			slots = append(slots, arrival.slot)
		}
	}
	require.Len(t, slots, 3)
	require.EqualValues(t, 2, covered[EventClogOverflowed])
	for _, slot := range slots {
		n.take(slot)
	}
	require.Zero(t, n.waiting[1], "what has arrived waits no more")
}

func TestMessagesShareNoSliceWithTheirSender(t *testing.T) {
	n := newNetwork(&network{}, 5, 2, networkMixture{duplicate: 1000})
	var covered Coverage
	entries := []core.Entry{{Op: 1, Hash: 7}}
	arrivals, count := n.send(0, 0, 1, &core.Message{From: 1, To: 2, Entries: entries}, &covered)
	require.Equal(t, 2, count)
	entries[0].Hash = 8
	one, other := n.take(arrivals[0].slot).message, n.take(arrivals[1].slot).message
	require.EqualValues(t, 7, one.Entries[0].Hash)
	one.Entries[0].Hash = 9
	require.EqualValues(t, 7, other.Entries[0].Hash)
}
