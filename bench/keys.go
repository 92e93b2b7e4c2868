package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/viewline/viewline/txn"
)

// keyspace is the objects of one run and where they lie.
type keyspace struct {
	oids   []string
	shards []txn.ShardID
}

func newKeyspace(prefix string, count int, shardOf func(string) txn.ShardID) *keyspace {
	k := &keyspace{oids: make([]string, count), shards: make([]txn.ShardID, count)}
	for i := range k.oids {
		k.oids[i] = fmt.Sprintf("%s/%08d", prefix, i)
		k.shards[i] = shardOf(k.oids[i])
	}
	return k
}

// drawsMax bounds the draws for one object; after that the next suitable one is taken, which a very skewed
// distribution over few keys needs.
const drawsMax = 64

// draw picks different objects, all on one shard, or on at least two.
func (k *keyspace) draw(z *Zipf, random *rand.Rand, count, shards int) []string {
	chosen := make([]int, 0, count)
	for len(chosen) < count {
		chosen = append(chosen, k.drawOne(z, random, chosen, shards))
	}
	oids := make([]string, count)
	for i, key := range chosen {
		oids[i] = k.oids[key]
	}
	return oids
}

func (k *keyspace) drawOne(z *Zipf, random *rand.Rand, chosen []int, shards int) int {
	suits := func(key int) bool {
		if slices.Contains(chosen, key) {
			return false
		}
		switch {
		case len(chosen) == 0:
			return true
		case shards == 1:
			return k.shards[key] == k.shards[chosen[0]]
		default:
			return len(chosen) > 1 || k.shards[key] != k.shards[chosen[0]]
		}
	}
	for range drawsMax {
		if key := int(z.Rank() - 1); suits(key) {
			return key
		}
	}
	start := random.IntN(len(k.oids))
	for i := range k.oids {
		if key := (start + i) % len(k.oids); suits(key) {
			return key
		}
	}
	return start // a cluster of one shard cannot spread a transaction
}
