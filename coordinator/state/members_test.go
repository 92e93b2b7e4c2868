package state

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestChangeGroup(t *testing.T) {
	for name, c := range map[string]struct {
		before []Group
		group  Group
		change func(*Map) // what becomes of the map; nil: nothing
	}{
		"a shard's members":             {nil, epoch(1, 1, 2, 3, 4), func(m *Map) { m.Shards[0] = epoch(1, 1, 2, 3, 4) }},
		"the coordinator's members":     {nil, epoch(0, 1, 4, 5, 6), func(m *Map) { m.Coordinator = epoch(0, 1, 4, 5, 6) }},
		"several epochs at once":        {nil, epoch(2, 9, 7), func(m *Map) { m.Shards[1] = epoch(2, 9, 7) }},
		"the next epoch":                {[]Group{epoch(2, 3, 2)}, epoch(2, 4, 7), func(m *Map) { m.Shards[1] = epoch(2, 4, 7) }},
		"the same epoch":                {[]Group{epoch(1, 1, 2, 3, 4)}, epoch(1, 1, 5), nil},
		"an earlier epoch":              {[]Group{epoch(1, 3, 2, 3, 4)}, epoch(1, 2, 1, 2, 3), nil},
		"epoch 0":                       {nil, epoch(1, 0, 4, 5, 6), nil},
		"no such group":                 {nil, epoch(3, 1, 4, 5, 6), nil},
		"nobody":                        {nil, epoch(1, 1), nil},
		"a member without address":      {nil, Group{ID: 1, Epoch: 1, Members: []Member{{Replica: 4}}}, nil},
		"members that do not ascend":    {nil, epoch(1, 1, 5, 4), nil},
		"witnesses alone":               {nil, Group{ID: 1, Epoch: 1, Members: []Member{{Replica: 4, Address: "d:1", Witness: true}}}, nil},
		"more than there may be":        {nil, Group{ID: 1, Epoch: 1, Members: make([]Member, MembersMax+1)}, nil},
		"an epoch beside another group": {[]Group{epoch(2, 5, 4)}, epoch(1, 1, 4), func(m *Map) { m.Shards[0] = epoch(1, 1, 4) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := changed(Options{}, c.before...)
			before := s.Map()
			kept := *before
			kept.Shards = slices.Clone(before.Shards)
			err := s.Apply(ChangeGroup{Group: c.group})
			require.Equal(t, &kept, before, "who reads a map sees it as it was")
			if c.change == nil {
				require.Error(t, err)
				require.Same(t, before, s.Map())
				return
			}
			require.NoError(t, err)
			want := kept
			want.Shards = slices.Clone(kept.Shards)
			want.Version++
			c.change(&want)
			require.Equal(t, &want, s.Map())
			require.NoError(t, s.Map().Validate())
		})
	}
}

func TestChangeGroupIsTotal(t *testing.T) {
	require.Error(t, New(Options{}).Apply(ChangeGroup{Group: epoch(1, 1, 2)}), "before there is a layout")
	last := layout()
	last.Version = math.MaxUint64
	s, err := Restore(Options{}, 0, last)
	require.NoError(t, err)
	require.ErrorIs(t, s.Apply(ChangeGroup{Group: epoch(1, 1, 2)}), ErrLayout, "versions do not begin again")
	require.Same(t, last, s.Map())
}

// TestTheLastEpochCounts: whatever order the reports of a group's primaries come in, the map ends with the members of the
// latest epoch, and its version says how often it changed.
func TestTheLastEpochCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := changed(Options{})
		latest := map[uint32]uint64{0: 0, 1: 0, 2: 0}
		version := s.Map().Version
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			group := epoch(rapid.Uint32Range(0, 2).Draw(t, "group"), rapid.Uint64Range(0, 9).Draw(t, "epoch"), 1, 2)
			group.Members[1].Replica = uint32(group.Epoch) + 2
			if s.Apply(ChangeGroup{Group: group}) == nil {
				version++
			}
			latest[group.ID] = max(latest[group.ID], group.Epoch)
		}
		require.Equal(t, version, s.Map().Version)
		for id, epoch := range latest {
			require.Equal(t, epoch, s.Map().Group(id).Epoch)
			if epoch > 0 {
				require.EqualValues(t, epoch+2, s.Map().Group(id).Members[1].Replica)
			}
		}
		require.Equal(t, layout().Slots, s.Map().Slots, "slots stay where they are")
	})
}

func TestCheckOfAReport(t *testing.T) {
	later := epoch(1, 2, 2, 3, 4)
	of := func(epoch uint64, replica uint32, address string) Primary {
		return Primary{Group: 1, Epoch: epoch, View: 9, Replica: replica, Address: address}
	}
	witnessed := epoch(1, 2, 2, 3, 4)
	witnessed.Members[2].Witness = true
	for name, c := range map[string]struct {
		primary Primary
		named   *Group
		change  bool
		err     error
	}{
		"of the map's epoch":               {of(1, 1, "a:1"), nil, false, nil},
		"the same, with members":           {of(1, 1, "a:1"), &later, false, nil},
		"of a later epoch":                 {of(2, 4, "d:1"), &later, true, nil},
		"of a later epoch, and no members": {of(2, 4, "d:1"), nil, false, ErrEpoch},
		"of an earlier epoch":              {of(0, 1, "a:1"), nil, false, ErrEpoch},
		"who has left":                     {of(2, 1, "a:1"), &later, false, ErrStranger},
		"at another address":               {of(2, 4, "e:1"), &later, false, ErrStranger},
		"a witness":                        {of(2, 4, "d:1"), &witnessed, false, ErrStranger},
		"of another epoch than its group":  {of(3, 4, "d:1"), &later, false, ErrLayout},
		"of another group":                 {of(2, 4, "d:1"), &Group{ID: 2, Epoch: 2, Members: later.Members}, false, ErrLayout},
		"malformed":                        {of(2, 4, "d:1"), &Group{ID: 1, Epoch: 2}, false, ErrLayout},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := NewPrimaries(Options{}), changed(Options{}, epoch(1, 1, 1, 2, 3))
			change, err := p.Check(s.Map(), c.primary, c.named)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.change, change != nil)
			if change != nil {
				require.NoError(t, s.Apply(*change))
			}
			news, err := p.Report(s.Map(), c.primary)
			require.Equal(t, c.err == nil, err == nil, err)
			require.Equal(t, c.err == nil, news)
		})
	}
}
