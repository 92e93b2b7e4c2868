package state

import (
	"crypto/sha256"
	"encoding/binary"
)

// Hash digests the whole state; equal on all replicas that applied the same operations.
func (s *State) Hash() [sha256.Size]byte {
	bytes := binary.BigEndian.AppendUint64(nil, uint64(s.mark))
	if s.current != nil {
		bytes = s.current.append(bytes)
	}
	return sha256.Sum256(bytes)
}

// append writes the map in one form, each list after its length.
func (m *Map) append(bytes []byte) []byte {
	bytes = binary.BigEndian.AppendUint64(bytes, m.Version)
	bytes = append(bytes, byte(m.Technique))
	bytes = m.Coordinator.append(bytes)
	bytes = binary.BigEndian.AppendUint32(bytes, uint32(len(m.Shards)))
	for i := range m.Shards {
		bytes = m.Shards[i].append(bytes)
	}
	for _, shard := range m.Slots {
		bytes = binary.BigEndian.AppendUint32(bytes, shard)
	}
	return bytes
}

func (g *Group) append(bytes []byte) []byte {
	bytes = binary.BigEndian.AppendUint32(bytes, g.ID)
	bytes = binary.BigEndian.AppendUint64(bytes, g.Epoch)
	bytes = binary.BigEndian.AppendUint32(bytes, uint32(len(g.Members)))
	for _, member := range g.Members {
		bytes = binary.BigEndian.AppendUint32(bytes, member.Replica)
		bytes = binary.BigEndian.AppendUint32(bytes, uint32(len(member.Address)))
		bytes = append(bytes, member.Address...)
		bytes = append(bytes, flag(member.Witness))
	}
	return bytes
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}
