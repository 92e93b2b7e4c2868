package node

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnectionsLeaveFilesForTheData(t *testing.T) {
	for _, test := range []struct {
		wanted, want int
		files        uint64
	}{
		{16384, 16384, 1 << 20},
		{16384, 16384, math.MaxUint64},
		{16384, 3072, 4096},
		{16384, 768, 1024},
		{100, 100, 1024},
		{16384, 0, 0},
	} {
		require.Equal(t, test.want, within(test.wanted, test.files), "%d of %d", test.wanted, test.files)
	}
	most, err := connectionsMax(math.MaxInt)
	require.NoError(t, err)
	require.Positive(t, most)
	n, err := Open(Options{Listen: "127.0.0.1:0", Cluster: [16]byte{1}, ConnectionsMax: math.MaxInt})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.Close()) }()
	require.Equal(t, most, n.listener.max)
}
