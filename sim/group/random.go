package group

import (
	"math/bits"
	"math/rand/v2"
)

// The streams of randomness of one seed. Replicas draw from streamReplica and the numbers after it.
const (
	streamMixture uint64 = iota + 1
	streamNetwork
	streamDisk
	streamFaults
	streamClient
	streamTransfer
	streamLiveness
	streamReplica

	streamDurability        = streamReplica + membersMax
	streamDamage     uint64 = 1 << 33
	streamHandover   uint64 = 1 << 32
	streamLeases     uint64 = 1 << 34
	// Those of reconfigurations, and of the replicas beyond the largest first group.
	streamReconfiguration uint64 = 1 << 35
	streamNewcomers       uint64 = 1 << 36
	streamWipes           uint64 = 1 << 37
	streamWitnesses       uint64 = 1 << 38
	streamChunks          uint64 = 1 << 38
	streamStaleness       uint64 = 1 << 39
	streamSlow            uint64 = 1 << 40
	streamForce           uint64 = 1 << 41
	streamBehind          uint64 = 1 << 42
)

// stream is the randomness of one subsystem. Each subsystem has its own, so that one more draw in one of
// them leaves the others as they were.
type stream struct{ source rand.PCG }

func newStream(seed, number uint64) stream {
	return stream{source: *rand.NewPCG(seed, number*0x9e3779b97f4a7c15)}
}

// below draws from 0 to n-1; n is at least 1.
func (s *stream) below(n int) int {
	high, _ := bits.Mul64(s.source.Uint64(), uint64(n))
	return int(high)
}

// between draws from low to high, both included.
func (s *stream) between(low, high int) int { return low + s.below(high-low+1) }

// chance is true in so many of a thousand draws. It always draws, so that a rate of zero does not move
// what comes after it.
func (s *stream) chance(permille int) bool { return s.below(1000) < permille }

// span is between, for lengths of time.
func (s *stream) span(low, high instant) instant { return instant(s.between(int(low), int(high))) }
