package node

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func someone() Identity {
	return Identity{Format: 1, Cluster: [16]byte{1, 2, 3, 15: 255}, Group: 3, Replica: 2, Incarnation: 9}
}

func TestIdentityRoundTrip(t *testing.T) {
	for _, identity := range []Identity{
		someone(),
		{Format: 1, Cluster: [16]byte{1}, Replica: 1},
		{Format: 1, Cluster: [16]byte{15: 1}, Group: math.MaxUint32, Replica: math.MaxUint32, Incarnation: math.MaxUint64},
	} {
		decoded, err := decodeIdentity(identity.encode())
		require.NoError(t, err)
		require.Equal(t, identity, decoded)
	}
}

func TestIdentityIsReadable(t *testing.T) {
	require.Equal(t, "viewline identity\nformat 1\ncluster 010203000000000000000000000000ff\ngroup 3\nreplica 2\nincarnation 9\nchecksum a24f9538\n",
		string(someone().encode()))
}

// signed gives a text the checksum that belongs to it, so that a test reaches what lies behind the checksum.
func signed(text string) []byte {
	return fmt.Appendf(nil, "%schecksum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func TestIdentityRefusesEveryDamage(t *testing.T) {
	whole := someone().encode()
	for at := range whole {
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 1 << bit
			_, err := decodeIdentity(damaged)
			require.ErrorIs(t, err, ErrIdentity, "%q", damaged)
		}
		_, err := decodeIdentity(whole[:at])
		require.ErrorIs(t, err, ErrIdentity)
	}
}

func TestIdentityRefusesOtherTexts(t *testing.T) {
	text, _, _ := strings.Cut(string(someone().encode()), "checksum")
	for _, test := range []struct{ name, old, new string }{
		{"a later format", "format 1", "format 2"},
		{"format 0", "format 1", "format 0"},
		{"no replica", "replica 2", "replica 0"},
		{"no cluster", "010203000000000000000000000000ff", "00000000000000000000000000000000"},
		{"a long cluster", "0000ff", "0000ff00"},
		{"a short cluster", "0000ff", "00ff"},
		{"a cluster in capitals", "0000ff", "0000FF"},
		{"a number with a sign", "group 3", "group +3"},
		{"a number with zeros", "group 3", "group 03"},
		{"a large number", "group 3", "group 4294967296"},
		{"a line too many", "group 3", "group 3\nsurplus 1"},
		{"lines exchanged", "group 3\nreplica 2", "replica 2\ngroup 3"},
		{"another file", "viewline identity", "somebody identity"},
		{"a long one", "viewline identity", "viewline identity" + strings.Repeat(" ", 2000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Contains(t, text, test.old)
			_, err := decodeIdentity(signed(strings.Replace(text, test.old, test.new, 1)))
			require.ErrorIs(t, err, ErrIdentity)
		})
	}
	_, err := decodeIdentity(signed(text))
	require.NoError(t, err)
}

// FuzzIdentity: any bytes are refused, or are exactly what encode writes.
func FuzzIdentity(f *testing.F) {
	whole := someone().encode()
	f.Add(whole)
	f.Add(whole[:40])
	f.Add(bytes.Replace(whole, []byte("format 1"), []byte("format 2"), 1))
	f.Add([]byte(strings.Repeat("\n", 7)))
	f.Fuzz(func(t *testing.T, data []byte) {
		identity, err := decodeIdentity(data)
		if err != nil {
			require.ErrorIs(t, err, ErrIdentity)
			return
		}
		require.Equal(t, string(data), string(identity.encode()))
		require.NoError(t, identity.validate())
	})
}
