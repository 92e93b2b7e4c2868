package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

func TestDrawKeepsToItsShards(t *testing.T) {
	shardOf := func(oid string) txn.ShardID { return txn.ShardID(1 + oid[len(oid)-1]%2) }
	for _, theta := range []float64{0, 0.99, 5} {
		random := rand.New(rand.NewPCG(1, 1))
		zipf, err := NewZipf(random, 100, theta)
		require.NoError(t, err)
		k := newKeyspace("k", 100, shardOf)
		for range 1000 {
			for shards := 1; shards <= 2; shards++ {
				oids := k.draw(zipf, random, 4, shards)
				different, on := map[string]bool{}, map[txn.ShardID]bool{}
				for _, oid := range oids {
					different[oid], on[shardOf(oid)] = true, true
				}
				require.Len(t, different, 4)
				require.Len(t, on, shards)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	require.NoError(t, Options{}.Validate())
	for name, o := range map[string]Options{
		"kind":     {Kind: "scan"},
		"negative": {Reads: -1},
		"shards":   {Shards: 3},
		"spread":   {Shards: 2, Reads: 1},
		"clerks":   {Callers: 2, Clerks: 3},
		"keys":     {Keys: 3},
		"value":    {ValueBytes: 2 << 20},
		"theta":    {Theta: -1},
		"duration": {Duration: -time.Second},
	} {
		require.ErrorIs(t, o.Validate(), ErrOptions, name)
	}
}

func TestEcho(t *testing.T) {
	result, err := Echo(t.Context(), 4, 128, 50*time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, result.Commits)
}
