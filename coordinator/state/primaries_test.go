package state

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrimariesNewestWins(t *testing.T) {
	of := func(view uint64, replica uint32) Primary {
		return Primary{Group: 2, View: view, Replica: replica, Address: string(rune('a'+replica-1)) + ":1"}
	}
	for _, c := range []struct {
		name     string
		known    Primary
		reported Primary
		news     bool
	}{
		{"later view", of(5, 1), of(6, 2), true},
		{"earlier view", of(5, 1), of(4, 2), false},
		{"same view", of(5, 1), of(5, 2), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Primaries
			news, err := p.Report(layout(), c.known)
			require.NoError(t, err)
			require.True(t, news)
			news, err = p.Report(layout(), c.reported)
			require.NoError(t, err)
			require.Equal(t, c.news, news)
			want := c.known
			if c.news {
				want = c.reported
			}
			require.Equal(t, []Primary{want}, p.All())
			got, found := p.Of(2)
			require.True(t, found)
			require.Equal(t, want, got)
			p.Forget()
			require.Empty(t, p.All())
		})
	}
}

func TestPrimariesBelieveMembersOnly(t *testing.T) {
	var p Primaries
	layout := func() *Map {
		m := layout()
		m.Shards[0].Members = append(slices.Clone(m.Shards[0].Members), Member{Replica: 4, Address: "d:1", Witness: true})
		return m
	}
	for name, stranger := range map[string]Primary{
		"unknown group":   {Group: 9, Replica: 1, Address: "a:1"},
		"unknown replica": {Group: 1, Replica: 9, Address: "a:1"},
		"another address": {Group: 1, Replica: 1, Address: "b:1"},
		"a witness":       {Group: 1, Replica: 4, Address: "d:1"},
	} {
		_, err := p.Report(layout(), stranger)
		require.ErrorIs(t, err, ErrStranger, name)
	}
	_, err := p.Report(nil, Primary{Group: 1, Replica: 1, Address: "a:1"})
	require.ErrorIs(t, err, ErrStranger)
	require.Empty(t, p.All())
	for _, group := range []uint32{2, 0, 1} {
		_, err := p.Report(layout(), Primary{Group: group, Replica: 1, Address: "a:1"})
		require.NoError(t, err)
	}
	require.Equal(t, []uint32{0, 1, 2}, []uint32{p.All()[0].Group, p.All()[1].Group, p.All()[2].Group})
	_, found := p.Of(3)
	require.False(t, found)
}

func TestHash(t *testing.T) {
	base := New(Options{})
	require.NoError(t, base.Apply(Bootstrap{Map: layout()}))
	same := New(Options{})
	require.NoError(t, same.Apply(Bootstrap{Map: layout()}))
	require.Equal(t, base.Hash(), same.Hash())
	require.NotEqual(t, New(Options{}).Hash(), base.Hash())
	for name, change := range map[string]func(*Map){
		"version": func(m *Map) { m.Version++ },
		"slot":    func(m *Map) { m.Slots[9] = 2 },
		"epoch":   func(m *Map) { m.Coordinator.Epoch++ },
		"witness": func(m *Map) {
			m.Shards[0].Members = []Member{{Replica: 1, Address: "a:1"}, {Replica: 2, Address: "b:1"}, {Replica: 3, Address: "c:1", Witness: true}}
		},
		"address": func(m *Map) { m.Shards[0].Members = []Member{{Replica: 1, Address: "a:2"}} },
	} {
		m := layout()
		change(m)
		other := New(Options{})
		require.NoError(t, other.Apply(Bootstrap{Map: m}))
		require.NotEqual(t, base.Hash(), other.Hash(), name)
	}
	require.NoError(t, same.Apply(RaiseMark{Mark: 1}))
	require.NotEqual(t, base.Hash(), same.Hash())
}
