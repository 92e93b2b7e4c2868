package core

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// version1 is a membership as it was written before there were incarnations and witnesses.
func version1(m *Membership) EncodedMembership {
	data := []byte(m.Encode()[:membershipHead])
	data = binary.BigEndian.AppendUint64(append(data, 1), uint64(m.Epoch))
	data = binary.BigEndian.AppendUint32(data, uint32(m.LargestID))
	data = append(data, byte(len(m.Members)))
	for _, member := range m.Members {
		data = binary.BigEndian.AppendUint32(data, uint32(member.ID))
		data = append(append(data, byte(len(member.Address))), member.Address...)
	}
	data = append(data, byte(len(m.Previous)))
	for _, id := range m.Previous {
		data = binary.BigEndian.AppendUint32(data, uint32(id))
	}
	return EncodedMembership(data)
}

func TestMembershipsAreReadAsTheyWereWritten(t *testing.T) {
	_, m := epochLog([]Member{{ID: 1, Address: "host:1"}, {ID: 4}}, []ReplicaID{1, 2, 3}, 2)
	back, err := version1(&m).Decode()
	require.NoError(t, err)
	require.Equal(t, m, back, "in version 1 nobody has an incarnation, or is a witness")
	m.Members[0].Incarnation, m.Members[1].Incarnation, m.Members[1].Witness = 7, incarnationMax, true
	data := m.Encode()
	back, err = data.Decode()
	require.NoError(t, err)
	require.Equal(t, m, back)
	require.Equal(t, "epoch 1 from 3 on: [1(incarnation 7) 4(incarnation 4611686018427387904, witness)]", data.String())
	for cut := range len(data) {
		_, err := data[:cut].Decode()
		require.Error(t, err)
	}
	_, err = (data + "x").Decode()
	require.Error(t, err)
	for name, spoil := range map[string]func(m *Membership){
		"the largest id is below a member's":  func(m *Membership) { m.LargestID = 3 },
		"nobody has a state":                  func(m *Membership) { m.Members[0].Witness = true },
		"an incarnation cannot be counted on": func(m *Membership) { m.Members[0].Incarnation = incarnationMax + 1 },
		"the members do not ascend":           func(m *Membership) { m.Members[0].ID = 4 },
		"an epoch that has no beginning":      func(m *Membership) { m.Op = 0 },
	} {
		spoilt := m
		spoilt.Members = append([]Member{}, m.Members...)
		spoil(&spoilt)
		_, err := spoilt.Encode().Decode()
		require.ErrorIs(t, err, errMembership, name)
	}
	for name, at := range map[string]int{"version 0": membershipHead, "version 3": membershipHead, "an unknown flag": membershipHead + 14 + 12} {
		spoilt := []byte(data)
		spoilt[at] = map[string]byte{"version 0": 0, "version 3": 3, "an unknown flag": 2}[name]
		_, err := EncodedMembership(spoilt).Decode()
		require.ErrorIs(t, err, errMembership, name)
	}
}

// The largest membership fits in what storage and wire give it.
func TestMembershipsAreBounded(t *testing.T) {
	m := Membership{Epoch: 1, Op: 1, View: 1, LargestID: math.MaxUint32}
	for i := range ReplicaID(MembersMax) {
		m.Members = append(m.Members, Member{ID: math.MaxUint32 - MembersMax + i + 1, Incarnation: incarnationMax, Address: strings.Repeat("a", AddressBytesMax)})
		m.Previous = append(m.Previous, i+1)
	}
	back, err := m.Encode().Decode()
	require.NoError(t, err)
	require.Equal(t, m, back)
	require.Less(t, len(m.Encode()), 1<<16)
}

// FuzzMembership: what is read is written again the same, but for what is of version 1.
func FuzzMembership(f *testing.F) {
	_, m := epochLog(membersOf(1, 2), []ReplicaID{1, 2, 3}, 1)
	f.Add(string(m.Encode()))
	f.Add(string(version1(&m)))
	m.Members[0].Incarnation, m.Members[1].Witness = 3, true
	f.Add(string(m.Encode()))
	f.Fuzz(func(t *testing.T, data string) {
		m, err := EncodedMembership(data).Decode()
		switch {
		case err != nil:
		case data[membershipHead] == membershipVersionOldest:
			require.Equal(t, EncodedMembership(data), version1(&m))
			back, err := m.Encode().Decode()
			require.NoError(t, err)
			require.Equal(t, m, back)
		default:
			require.Equal(t, EncodedMembership(data), m.Encode())
		}
	})
}
