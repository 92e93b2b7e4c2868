package placement_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/placement"
)

// TestHashIsFixed: what is on disk was placed by this function; another one would lose it.
func TestHashIsFixed(t *testing.T) {
	for _, c := range []struct {
		oid  string
		hash string
		slot uint16
	}{
		{"", "e3b0c44298fc1c149afbf4c8996fb924", 0xe3b0 >> 6},
		{"abc", "ba7816bf8f01cfea414140de5dae2223", 0xba78 >> 6},
		{"hello world", "b94d27b9934d3e08a52e52d7da7dabfa", 0xb94d >> 6},
	} {
		hash := placement.Hash(c.oid)
		require.Equal(t, c.hash, hex.EncodeToString(hash[:]), c.oid)
		require.Equal(t, c.slot, placement.Slot(c.oid), c.oid)
	}
}

// TestSlotsOfNumberedNamesAreSpread: a thousand names that differ in their last digits fill more than half of
// the slots (1,024 balls in 1,024 bins fill about 63 %), and none takes many.
func TestSlotsOfNumberedNamesAreSpread(t *testing.T) {
	used := map[uint16]int{}
	for i := range 1000 {
		slot := placement.Slot(fmt.Sprintf("acct/%04d", i))
		require.Less(t, int(slot), placement.SlotCount)
		used[slot]++
	}
	require.Greater(t, len(used), 550)
	for slot, count := range used {
		require.Less(t, count, 9, "slot %d", slot)
	}
}

func TestEvenGivesEqualRuns(t *testing.T) {
	for _, count := range []int{1, 2, 3, 5, 8, 1000, 1023, 1024, 1025, 2000} {
		shards := make([]uint32, count)
		for i := range shards {
			shards[i] = uint32(7 + 3*i)
		}
		slots := placement.Even(shards)
		have := map[uint32]int{}
		for slot, shard := range slots {
			have[shard]++
			if slot > 0 {
				require.LessOrEqual(t, slots[slot-1], shard, "%d shards: neighbours are no runs", count)
			}
		}
		least, most := placement.SlotCount, 0
		for _, shard := range shards[:min(count, placement.SlotCount)] {
			least, most = min(least, have[shard]), max(most, have[shard])
		}
		require.LessOrEqual(t, most-least, 1, "%d shards", count)
		require.Positive(t, least, "%d shards", count)
		require.Len(t, have, min(count, placement.SlotCount))
	}
}

func TestEvenWithoutShardsNamesNone(t *testing.T) {
	require.Equal(t, [placement.SlotCount]uint32{}, placement.Even(nil))
}

func BenchmarkSlot(b *testing.B) {
	for b.Loop() {
		placement.Slot("acct/0000000042")
	}
}
