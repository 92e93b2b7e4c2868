package group

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventsComeInOrder(t *testing.T) {
	random := newStream(1, 1)
	var queue eventQueue
	for i := range 2000 {
		queue.push(event{at: random.span(0, 50), argument: i})
	}
	last := event{at: -1}
	for range 2000 {
		e, any := queue.pop()
		require.True(t, any)
		require.LessOrEqual(t, last.at, e.at, "%+v came before %+v", last, e)
		if last.at == e.at {
			require.Less(t, last.argument, e.argument, "those of one moment come as they were scheduled")
		}
		last = e
	}
	_, any := queue.pop()
	require.False(t, any)
}

func TestStreamsAreApart(t *testing.T) {
	one, same, other, seed := newStream(1, 2), newStream(1, 2), newStream(1, 3), newStream(2, 2)
	equal := [2]int{}
	for range 100 {
		drawn := one.below(1000)
		require.Equal(t, drawn, same.below(1000))
		if drawn == other.below(1000) {
			equal[0]++
		}
		if drawn == seed.below(1000) {
			equal[1]++
		}
	}
	require.Less(t, equal[0], 5)
	require.Less(t, equal[1], 5)
}

func TestDrawsStayInTheirRange(t *testing.T) {
	random := newStream(3, 1)
	seen := map[int]int{}
	hits := 0
	for range 10_000 {
		seen[random.between(3, 7)]++
		if random.chance(250) {
			hits++
		}
		require.False(t, random.chance(0))
		require.True(t, random.chance(1000))
	}
	require.Len(t, seen, 5)
	for value := 3; value <= 7; value++ {
		require.InDelta(t, 2000, seen[value], 250)
	}
	require.InDelta(t, 2500, hits, 200)
}

func TestMixturesTurnEachFaultOnInAboutHalfOfTheSeeds(t *testing.T) {
	const seeds = 4000
	on := map[string]int{}
	sizes := map[int]int{}
	for seed := range uint64(seeds) {
		m := drawMixture(seed)
		sizes[m.members]++
		for name, rate := range map[string]int{
			"loss": m.network.loss, "duplicate": m.network.duplicate, "tail": m.network.tail, "clog": m.network.clog,
			"partition": m.network.partition, "one-way": m.network.oneWay, "isolate": m.network.isolatePrimary,
			"slow": m.disk.slow, "crash": m.fault.crash, "all": m.fault.crashAll, "primary": m.fault.crashPrimary,
			"step": m.fault.crashAtStep, "pause": m.fault.pause, "gather": m.fault.gather, "transfer": m.fault.transferLoss,
			"handover": m.handover.rate,
		} {
			if rate > 0 {
				on[name]++
			}
		}
	}
	require.Len(t, on, 16)
	for name, count := range on {
		require.InDelta(t, seeds/2, count, 150, name)
	}
	require.Len(t, sizes, membersMax)
	require.Greater(t, sizes[3]+sizes[5], seeds/2)
}

func TestStateHashTellsContentAndOrder(t *testing.T) {
	run := func(operations ...operation) uint64 {
		var m machine
		for i, o := range operations {
			entry := entriesOf(1)[0]
			entry.Op, entry.Payload = m.applied+1, o.payload(i)
			m.apply(&entry)
		}
		return m.state
	}
	require.Equal(t, run(1, 2, 3), run(1, 2, 3))
	require.NotEqual(t, run(1, 2, 3), run(1, 3, 2))
	require.NotEqual(t, run(1, 2), run(1, 2, 2))
	require.NotEqual(t, run(1, 2, 3), run(1, 2, 4))
}

func TestPayloadsAreDecodedWhole(t *testing.T) {
	payload := operation(300).payload(20)
	require.EqualValues(t, 300, operationID(payload))
	payload[15]++
	require.Zero(t, operationID(payload), "a changed byte is noticed")
	require.Zero(t, operationID(nil))
}

func TestCoverageNamesEveryEvent(t *testing.T) {
	names := map[string]bool{}
	for e := range eventCount {
		require.NotEmpty(t, e.String())
		names[e.String()] = true
	}
	require.Len(t, names, int(eventCount), "two events have one name")
	var covered, more Coverage
	more.count(EventCrash)
	covered.Add(&more)
	require.Len(t, covered.Missing(), int(eventCount)-1)
}
