package survey

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoseMembershipIsBelieved(t *testing.T) {
	members := []EpochMember{{Replica: 1, Incarnation: 1}, {Replica: 2, Incarnation: 1}, {Replica: 3, Incarnation: 9}}
	said := func(epoch uint64, replica uint32, incarnation uint64, members []EpochMember) Membership {
		return Membership{Epoch: epoch, Members: members, Self: EpochMember{Replica: replica, Incarnation: incarnation}}
	}
	for _, c := range []struct {
		name            string
		believed, other Membership
	}{
		{"a later epoch", said(2, 9, 1, members), said(1, 1, 1, members)},
		{"a member, rather than who joins", said(0, 2, 1, members), said(0, 1, 5, members[1:])},
		{"a member, rather than an earlier life of one", said(4, 2, 1, members), said(4, 3, 8, members)},
		{"a member, rather than its own later life", said(0, 2, 1, members), said(0, 1, 5, members)},
		{"the smaller of two members", said(4, 1, 1, members), said(4, 2, 1, members)},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.True(t, c.believed.newer(&c.other))
			require.False(t, c.other.newer(&c.believed))
			for _, order := range [][]Membership{{c.believed, c.other}, {c.other, c.believed}} {
				f := finding{asked: map[string]Membership{"a": order[0], "b": order[1]}}
				newest, err := f.newest()
				require.NoError(t, err)
				require.Equal(t, c.believed, newest)
			}
		})
	}
}
