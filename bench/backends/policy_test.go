package backends

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSyncedCopies(t *testing.T) {
	trails := func(fsyncs ...[]uint64) (all []trail) {
		for _, of := range fsyncs {
			all = append(all, trail{Audited: true, Fsyncs: of})
		}
		return all
	}
	for name, c := range map[string]struct {
		spans  []span
		trails []trail
		copies int
	}{
		"nobody":                    {[]span{{10, 20}}, trails(nil, nil, nil), 0},
		"all":                       {[]span{{10, 20}}, trails([]uint64{10}, []uint64{15}, []uint64{20}), 3},
		"before and after":          {[]span{{10, 20}}, trails([]uint64{9, 21}, []uint64{15}, []uint64{1, 2, 12, 30}), 2},
		"the least of all counts":   {[]span{{10, 20}, {30, 40}}, trails([]uint64{15, 35}, []uint64{15, 35}, []uint64{15}), 2},
		"one fsync serves two":      {[]span{{10, 30}, {12, 20}}, trails([]uint64{15}, []uint64{16}, nil), 2},
		"none for one between them": {[]span{{10, 20}, {21, 29}, {30, 40}}, trails([]uint64{15, 35}, []uint64{15, 35}), 0},
	} {
		require.Equal(t, c.copies, syncedCopies(c.spans, c.trails), name)
	}
}

func TestPolicyIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		says   string
	}{
		"sync on all":             {Policy{Durability: Sync, Replicas: 3, SyncedCopies: 3, Fsyncs: 6.02, Counted: 6, Audited: true}, ""},
		"sync on a majority":      {Policy{Durability: Sync, Replicas: 5, SyncedCopies: 3, Fsyncs: 5, Counted: 5, Audited: true}, ""},
		"sync on less":            {Policy{Durability: Sync, Replicas: 5, SyncedCopies: 2, Fsyncs: 5, Counted: 5, Audited: true}, "less than 3 synced copies"},
		"memory":                  {Policy{Durability: Memory, Replicas: 3, Audited: true}, ""},
		"memory that syncs":       {Policy{Durability: Memory, Replicas: 3, Fsyncs: 1, Counted: 1, Audited: true}, "syncs in memory"},
		"counts too much":         {Policy{Durability: Sync, Replicas: 3, SyncedCopies: 2, Fsyncs: 3, Counted: 6, Audited: true}, "does not count its fsyncs right"},
		"counts too little":       {Policy{Durability: Sync, Replicas: 3, SyncedCopies: 2, Fsyncs: 6, Counted: 0, Audited: true}, "does not count its fsyncs right"},
		"nobody else has counted": {Policy{Durability: Sync, Replicas: 3, SyncedCopies: 2, Fsyncs: 6, Counted: 6}, ""},
	} {
		err := c.policy.check()
		if c.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, ErrPolicy, name)
		require.ErrorContains(t, err, c.says, name)
	}
}

// TestPolicyByCounters: where the kernel does not tell, the backends' own counts do, of an operation that is alone.
func TestPolicyByCounters(t *testing.T) {
	spans := []span{{1, 2}, {3, 4}, {5, 6}, {7, 8}}
	p := Policy{Durability: Sync, Replicas: 3, SyncedCopies: 3}
	p.see([]Meter{{Fsyncs: 5}, {}, {}}, []Meter{{Fsyncs: 13}, {Fsyncs: 8}, {Fsyncs: 2}}, make([]trail, 3), []trail{{Spans: spans}, {}, {}}, true)
	require.Equal(t, Policy{Durability: Sync, Replicas: 3, Operations: 4, SyncedCopies: 2, Fsyncs: 4.5, Counted: 4.5}, p)
	p.see(make([]Meter, 3), []Meter{{Fsyncs: 1}, {Fsyncs: 1}, {}}, make([]trail, 3), []trail{{Spans: spans}, {}, {}}, false)
	require.Equal(t, 2, p.SyncedCopies, "fsyncs that several operations share do not tell")
	require.NoError(t, p.check())
}

func TestJudge(t *testing.T) {
	state := State{Operations: 7, Hash: 1}
	for name, c := range map[string]struct {
		states []State
		least  uint64
		right  bool
	}{
		"as acknowledged":   {[]State{state, state}, 7, true},
		"one more, unknown": {[]State{state, state}, 6, true},
		"one is lost":       {[]State{state, state}, 8, false},
		"one too many":      {[]State{{Operations: 9}}, 7, false},
		"different":         {[]State{state, {Operations: 7, Hash: 2}}, 7, false},
		"twice":             {[]State{{Operations: 7, Repeated: 1}}, 7, false},
		"malformed":         {[]State{{Operations: 7, Malformed: 1}}, 7, false},
	} {
		var meters []Meter
		for _, s := range c.states {
			meters = append(meters, Meter{State: s})
		}
		err := judge(meters, c.least, c.least+1)
		if c.right {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, ErrDiffers, name)
		}
	}
}

func TestWhole(t *testing.T) {
	leads, follows := Meter{Leading: true, Protocol: "normal", View: 3}, Meter{Protocol: "normal", View: 3}
	for name, c := range map[string]struct {
		meters []Meter
		is     bool
	}{
		"whole":      {[]Meter{follows, leads, follows}, true},
		"nobody":     {[]Meter{follows, follows}, false},
		"two":        {[]Meter{leads, leads}, false},
		"other view": {[]Meter{leads, {Protocol: "normal", View: 2}}, false},
		"recovering": {[]Meter{leads, {Protocol: "recovering", View: 3}}, false},
	} {
		require.Equal(t, c.is, whole(c.meters), name)
	}
}
