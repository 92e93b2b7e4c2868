package survey

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// member is a replica in its first life at an address of its own.
func member(replica uint32, address string) EpochMember {
	return EpochMember{Replica: replica, Address: address, Incarnation: 1}
}

// life is another one of it.
func life(replica uint32, address string, incarnation uint64) EpochMember {
	return EpochMember{Replica: replica, Address: address, Incarnation: incarnation}
}

func TestPlan(t *testing.T) {
	now := &Membership{Group: 2, Cluster: "c", Backend: "raft", Largest: 5, Members: []EpochMember{member(1, "a"), member(2, "b"), life(5, "e", 7)}}
	newcomer := func(self EpochMember) Membership { return Membership{Cluster: "c", Backend: "raft", Self: self} }
	six, seven := newcomer(life(6, "f", 90)), newcomer(life(7, "g", 91))
	for _, c := range []struct {
		name      string
		add       []Membership
		remove    []uint32
		returning bool
		next      []EpochMember
		says      string
	}{
		{"one more", []Membership{six}, nil, false, append(now.Members[:3:3], six.Self), ""},
		{"two more, in any order", []Membership{seven, six}, nil, false, append(now.Members[:3:3], six.Self, seven.Self), ""},
		{"one less", nil, []uint32{2}, false, []EpochMember{now.Members[0], now.Members[2]}, ""},
		{"one for another", []Membership{six}, []uint32{1}, true, []EpochMember{now.Members[1], now.Members[2], six.Self}, ""},
		{"a later life", []Membership{newcomer(life(2, "bb", 80))}, []uint32{2}, true, []EpochMember{now.Members[0], life(2, "bb", 80), now.Members[2]}, ""},
		{"an even later one at its address", []Membership{newcomer(life(5, "e", 80))}, []uint32{5}, true, []EpochMember{now.Members[0], now.Members[1], life(5, "e", 80)}, ""},

		{"nobody", nil, []uint32{1, 2, 5}, false, nil, "would have no members"},
		{"no change", nil, nil, false, nil, "already"},
		{"one who is none", nil, []uint32{3}, false, nil, "replica 3 is no member of group 2 (its members: replicas 1, 2 and 5)"},
		{"another cluster", []Membership{{Cluster: "d", Self: life(6, "f", 90)}}, nil, false, nil, "of cluster d, not of c"},
		{"another backend", []Membership{{Cluster: "c", Backend: "vr", Self: life(6, "f", 90)}}, nil, false, nil, "set up with backend vr, and group 2 has raft"},
		{"a member", []Membership{newcomer(member(2, "b"))}, nil, false, nil, "a member already"},
		{"a member for itself", []Membership{newcomer(member(2, "b"))}, []uint32{2}, true, nil, "a member already"},
		{"a life that is over", []Membership{newcomer(life(5, "e", 6))}, []uint32{5}, true, nil, "earlier life"},
		{"a later life beside the earlier", []Membership{newcomer(life(2, "bb", 80))}, nil, false, nil, "viewline member replace --group 2 2 at0"},
		{"a later life for another", []Membership{newcomer(life(2, "bb", 80))}, []uint32{1}, true, nil, "viewline member replace --group 2 2 at0"},
		{"an id of somebody who left", []Membership{newcomer(life(4, "d", 80))}, nil, false, nil, "never used again"},
		{"one id twice", []Membership{six, newcomer(life(6, "x", 99))}, nil, false, nil, "f and x both are replica 6"},
		{"one address twice", []Membership{newcomer(life(6, "a", 99))}, nil, false, nil, "replicas 1 and 6 both say"},
		{"no address", []Membership{newcomer(life(6, "", 99))}, nil, false, nil, "does not say where"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := append([]EpochMember(nil), now.Members...)
			changing := Changing{Remove: c.remove, Return: c.returning}
			for i := range c.add {
				changing.Add = append(changing.Add, "at"+string(rune('0'+i)))
			}
			next, err := changing.plan(now, c.add)
			require.Equal(t, before, now.Members)
			require.Equal(t, c.next, next)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrChange)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestAdvice(t *testing.T) {
	members := make([]EpochMember, 6)
	for _, c := range []struct{ before, after, worth int }{{3, 4, 1}, {3, 5, 0}, {3, 3, 0}, {4, 4, 0}, {3, 2, 1}, {4, 3, 0}} {
		advice := Advice(members[:c.before], members[:c.after])
		require.Equal(t, c.worth > 0, advice != "", "%d to %d", c.before, c.after)
	}
	require.Equal(t, "4 members survive the loss of no more than 3 do: an odd number is best", Advice(members[:3], members[:4]))
}
