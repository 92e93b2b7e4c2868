package state

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/txn"
)

func layout() *Map {
	members := []Member{{Replica: 1, Address: "a:1"}, {Replica: 2, Address: "b:1"}, {Replica: 3, Address: "c:1"}}
	return &Map{
		Version: 1, Technique: Hash, Coordinator: Group{Members: members},
		Shards: []Group{{ID: 1, Members: members}, {ID: 2, Members: members}},
		Slots:  placement.Even([]uint32{1, 2}),
	}
}

func TestMap(t *testing.T) {
	m := layout()
	require.NoError(t, m.Validate())
	require.Equal(t, m.Slots[placement.Slot("x")], m.Locate("x"))
	require.Equal(t, uint32(0), m.Group(0).ID)
	require.Equal(t, uint32(2), m.Group(2).ID)
	require.Nil(t, m.Group(3))
	member, found := m.Group(2).Member(3)
	require.True(t, found)
	require.Equal(t, "c:1", member.Address)
	_, found = m.Group(2).Member(4)
	require.False(t, found)
}

func TestMalformedLayouts(t *testing.T) {
	for name, spoil := range map[string]func(*Map){
		"no version":             func(m *Map) { m.Version = 0 },
		"no technique":           func(m *Map) { m.Technique = 0 },
		"unknown technique":      func(m *Map) { m.Technique = 9 },
		"coordinator's group":    func(m *Map) { m.Coordinator.ID = 1 },
		"nobody coordinates":     func(m *Map) { m.Coordinator.Members = nil },
		"no shard":               func(m *Map) { m.Shards = nil },
		"too many shards":        func(m *Map) { m.Shards = make([]Group, txn.ParticipantsMax+1) },
		"shard 0":                func(m *Map) { m.Shards[0].ID = 0 },
		"a shard twice":          func(m *Map) { m.Shards[1].ID = 1 },
		"descending shards":      func(m *Map) { m.Shards[0].ID = 3 },
		"a shard without member": func(m *Map) { m.Shards[0].Members = nil },
		"too many members":       func(m *Map) { m.Shards[0].Members = make([]Member, MembersMax+1) },
		"replica 0":              func(m *Map) { m.Shards[0].Members = []Member{{Replica: 0, Address: "a:1"}} },
		"descending members": func(m *Map) {
			m.Shards[0].Members = []Member{{Replica: 2, Address: "a:1"}, {Replica: 1, Address: "b:1"}}
		},
		"a member twice": func(m *Map) {
			m.Shards[0].Members = []Member{{Replica: 2, Address: "a:1"}, {Replica: 2, Address: "b:1"}}
		},
		"no address":           func(m *Map) { m.Shards[0].Members = []Member{{Replica: 2, Address: ""}} },
		"a long address":       func(m *Map) { m.Shards[0].Members = []Member{{Replica: 2, Address: strings.Repeat("a", 256)}} },
		"nobody but witnesses": func(m *Map) { m.Shards[0].Members = []Member{{Replica: 2, Address: "a:1", Witness: true}} },
		"a slot of nobody":     func(m *Map) { m.Slots[5] = 3 },
		"a slot of group 0":    func(m *Map) { m.Slots[5] = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			m := layout()
			spoil(m)
			require.ErrorIs(t, m.Validate(), ErrLayout)
			s := New(Options{})
			require.ErrorIs(t, s.Apply(Bootstrap{Map: m}), ErrLayout)
			require.Nil(t, s.Map(), "no effect")
			_, err := Restore(Options{}, 5, m)
			require.ErrorIs(t, err, ErrLayout)
		})
	}
}

func TestApplyIsTotal(t *testing.T) {
	s := New(Options{})
	require.ErrorIs(t, s.Apply(Bootstrap{}), ErrLayout)
	require.Error(t, s.Apply(nil))
	require.NoError(t, s.Apply(RaiseMark{Mark: math.MaxUint64}))
	require.Equal(t, txn.Timestamp(math.MaxUint64), s.Mark())
	restored, err := Restore(Options{}, s.Mark(), nil)
	require.NoError(t, err)
	require.Equal(t, s.Mark(), restored.Mark())
	require.Nil(t, restored.Map())
}

// TestCounterOverflow: more timestamps in a millisecond than its counter holds run into the next one.
func TestCounterOverflow(t *testing.T) {
	p := newPrimary(Options{}, New(Options{}))
	last := txn.Timestamp(0)
	for range 6 { // 6 times 65,536 is more than 18 bits
		first, err := p.next(7000, txn.TimestampsMax)
		require.NoError(t, err)
		require.Greater(t, first, last)
		last = first + txn.TimestampsMax - 1
	}
	require.Equal(t, uint64(7001), last.Millis())
	first, err := p.next(7000, 1)
	require.NoError(t, err)
	require.Equal(t, last+1, first)
}

// TestMarkIsRaisedAheadOfNeed: it is asked for while there is still half of what was asked for left, so nobody
// waits while the primary is well, and only then.
func TestMarkIsRaisedAheadOfNeed(t *testing.T) {
	p := newPrimary(Options{}, New(Options{}))
	mark, need := p.oracle.NeedMark(10_000)
	require.True(t, need)
	require.Equal(t, txn.TimestampAt(10_000+aheadMillis), mark)
	p.raise(10_000)
	_, need = p.oracle.NeedMark(10_000 + aheadMillis - needMillis)
	require.False(t, need)
	mark, need = p.oracle.NeedMark(10_001 + aheadMillis - needMillis)
	require.True(t, need)
	require.Equal(t, txn.TimestampAt(10_001+2*aheadMillis-needMillis), mark)
	_, err := p.oracle.Allocate(10_001+aheadMillis-needMillis, 1)
	require.NoError(t, err, "and meanwhile it serves")

	_, need = NewOracle(Options{}).NeedMark(10_000)
	require.False(t, need, "whoever does not lead needs none")
}

// TestReady: where it is, the largest request succeeds, and a mark that was asked for makes it so.
func TestReady(t *testing.T) {
	p := newPrimary(Options{}, New(Options{}))
	require.False(t, p.oracle.Ready(10_000), "no mark yet")
	p.raise(10_000)
	for now := uint64(10_000); now < 10_100+aheadMillis; now += 7 {
		probe := *p.oracle
		_, err := probe.Allocate(now, txn.TimestampsMax)
		require.Equal(t, p.oracle.Ready(now), err == nil, "at %d ms", now)
	}
	require.False(t, p.oracle.Ready(10_100+aheadMillis))
	p.raise(10_100 + aheadMillis)
	require.True(t, p.oracle.Ready(10_100+aheadMillis))
	p.oracle.Unlead()
	require.False(t, p.oracle.Ready(10_000))

	s, err := Restore(Options{}, math.MaxUint64, nil)
	require.NoError(t, err)
	require.True(t, newPrimary(Options{}, s).oracle.Ready(1), "at the end of all timestamps it says so to each request")
}

// TestClockBeyondTimestamps: a clock that stands past the last millisecond a timestamp can hold neither wraps
// nor panics.
func TestClockBeyondTimestamps(t *testing.T) {
	p := newPrimary(Options{}, New(Options{}))
	first, err := p.next(math.MaxUint64, 1)
	require.NoError(t, err)
	require.Equal(t, txn.TimestampAt(millisMax), first)
	require.Equal(t, txn.Timestamp(math.MaxUint64), p.state.Mark())
	_, need := p.oracle.NeedMark(math.MaxUint64)
	require.False(t, need)
}

// TestTimestampsOverFailovers: over any schedule of requests, changes of primary, operations applied late and
// clocks that jump, timestamps rise in the order in which the primaries of their time hand them out, and none
// lies above the mark.
func TestTimestampsOverFailovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Options{})
		var replicas [3]*Oracle
		var clocks [3]uint64
		for i := range replicas {
			replicas[i] = NewOracle(Options{})
			clocks[i] = rapid.Uint64Range(0, 20_000).Draw(t, "clock")
		}
		var log []RaiseMark // proposed, not applied
		leader, last := 0, txn.Timestamp(0)
		replicas[leader].Lead(s.Mark())
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // what was proposed earlier may be applied before the next primary leads, or be lost
				if rapid.Bool().Draw(t, "lost") {
					log = nil
				}
				for _, operation := range log {
					_ = s.Apply(operation)
				}
				log = nil
				replicas[leader].Unlead()
				leader = rapid.IntRange(0, 2).Draw(t, "leader")
				replicas[leader].Lead(s.Mark())
			case 1, 2:
				clocks[leader] = uint64(max(0, int64(clocks[leader])+rapid.Int64Range(-3000, 5000).Draw(t, "jump")))
			case 3, 4:
				if mark, need := replicas[leader].NeedMark(clocks[leader]); need {
					log = append(log, RaiseMark{Mark: mark})
				}
			case 5, 6:
				if len(log) > 0 {
					_ = s.Apply(log[0])
					log = log[1:]
					replicas[leader].Raised(s.Mark())
				}
			default:
				count := rapid.Uint32Range(1, txn.TimestampsMax).Draw(t, "count")
				first, err := replicas[leader].Allocate(clocks[leader], count)
				if err != nil {
					require.ErrorIs(t, err, ErrMark)
					continue
				}
				require.Greater(t, first, last)
				last = first + txn.Timestamp(count) - 1
				require.LessOrEqual(t, last, s.Mark())
			}
		}
	})
}
