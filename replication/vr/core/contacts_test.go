package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// reached are the ids of a replica's contacts.
func reached(b *bench) []ReplicaID {
	var ids []ReplicaID
	for _, m := range b.Contacts() {
		ids = append(ids, m.ID)
	}
	return ids
}

// Those who leave are reached while they may wait for EPOCHSTARTED, and for a while after they were last heard to tell
// of the epoch.
func TestThoseWhoLeaveAreReachedForAWhile(t *testing.T) {
	next := membersOf(1, 2, 4)
	next[2].Address = "host-4:1"
	b := reconfiguring2(t, next)
	require.Equal(t, []ReplicaID{1, 3}, reached(b))
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.EqualValues(t, 1, b.Status().Epoch)
	require.Equal(t, []Member{{ID: 1}, {ID: 4, Address: "host-4:1"}, {ID: 3}}, b.Contacts())
	patience := b.parting
	for range patience - 1 {
		b.Tick()
		b.act()
	}
	require.Equal(t, []ReplicaID{1, 4, 3}, reached(b))
	b.step(Message{Kind: KindStartEpoch, From: 3, Epoch: 1, View: 2, Membership: b.record}) // it has lost the answers
	for range patience - 1 {
		b.Tick()
		b.act()
	}
	require.Equal(t, []ReplicaID{1, 4, 3}, reached(b))
	b.Tick()
	require.True(t, b.recontact)
	b.broadcast(Message{Kind: KindProbe, View: 2})
	require.Equal(t, []Member{{ID: 1}, {ID: 4, Address: "host-4:1"}}, b.Ready().Contacts)
	b.Advance()
	require.Nil(t, b.Ready().Contacts, "they are told once")
}

// Whoever hears of an epoch reaches those who have what is missing to enter it.
func TestThoseOfAnEpochHeardOfAreReached(t *testing.T) {
	b := newBench(t, 1, Restored{})
	told := Membership{
		Epoch: 2, Op: 9, View: 5, Hash: 7, Members: []Member{{ID: 1}, {ID: 2, Address: "moved:1"}, {ID: 7, Address: "host-7:1"}},
		Previous: []ReplicaID{2, 5}, LargestID: 7,
	}
	b.step(Message{Kind: KindStartEpoch, From: 7, Epoch: 2, View: 5, Membership: told.Encode()})
	require.Zero(t, b.Status().Epoch)
	require.Equal(t, []Member{{ID: 2, Address: "moved:1"}, {ID: 7, Address: "host-7:1"}, {ID: 3}, {ID: 5}}, b.Contacts())
}

// Those who learn are told when an epoch begins: whom they were to ask may be a member no more.
func TestLearnersAreToldOfAnEpoch(t *testing.T) {
	b := reconfiguring2(t, membersOf(1, 2))
	sent := of(b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2}), KindStartEpoch)
	require.Len(t, sent, 1)
	require.EqualValues(t, 4, sent[0].To)
	require.Equal(t, b.record, sent[0].Membership)
}

// Somebody else's change in between is found by the epoch.
func TestTheNextEpochIsExpected(t *testing.T) {
	b := primary2(t)
	require.NoError(t, b.ExpectNext(1))
	require.ErrorIs(t, b.ExpectNext(0), ErrMembership)
	require.ErrorIs(t, b.ExpectNext(2), ErrMembership)
	require.NoError(t, backup1(t, nil).ExpectNext(2), "who is not primary refuses for that")
}
