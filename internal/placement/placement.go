package placement

import (
	"crypto/sha256"
	"encoding/binary"
)

// SlotCount is the number of even shares of the hash space. A slot is a number below it.
const SlotCount = 1 << slotBits

// slotBits is how many of the leading bits of a hash name its slot.
const slotBits = 10

// HashBytes is the size of a hash.
const HashBytes = 16

// Hash returns the first 128 bits of the SHA-256 of an oid. A weaker hash puts names that differ in their last
// digits only into few slots, and names like these are what people give to objects.
func Hash(oid string) [HashBytes]byte {
	sum := sha256.Sum256([]byte(oid))
	return [HashBytes]byte(sum[:HashBytes])
}

// Slot returns the slot of an oid: the top 10 bits of its hash.
func Slot(oid string) uint16 {
	hash := Hash(oid)
	return binary.BigEndian.Uint16(hash[:2]) >> (16 - slotBits)
}

// Even gives every shard, in the order given, an equal run of neighbouring slots; where they do not divide
// evenly, some shards get one slot more than others. Without a shard every slot is 0, which names none. Shards
// beyond the first 1,024 that there are slots for get none.
func Even(shards []uint32) [SlotCount]uint32 {
	var slots [SlotCount]uint32
	count := min(len(shards), SlotCount)
	if count == 0 {
		return slots
	}
	for slot := range slots {
		slots[slot] = shards[slot*count/SlotCount]
	}
	return slots
}
