package group

import (
	"encoding/binary"
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

// chunkMixture is how checkpoints travel. It has a stream of its own.
type chunkMixture struct {
	// countMax is of how many chunks a checkpoint is at the most; 1: it travels in one step, and nobody holds it.
	countMax int
	everyMax instant // between two chunks
	// Of a thousand chunks so many are damaged on their way; of a thousand restarts so many find a chunk damaged.
	damage, rot int
	// syncEvery is after how many chunks they are synced; 0: at the end only.
	syncEvery int
	// writings is in how many ways replicas write the same state.
	writings int
	// A checkpoint is held until nobody has read it for holdTimeout, or behindMax newer ones are here.
	holdTimeout instant
	behindMax   int
}

func drawChunks(seed uint64) chunkMixture {
	s := newStream(seed, streamChunks)
	drawn := chunkMixture{
		countMax: s.between(2, 9), everyMax: s.span(1, 3*momentsPerTick), damage: sometimes(&s, 5, 100), rot: sometimes(&s, 50, 500),
		syncEvery: s.between(0, 3), writings: s.between(1, 2), holdTimeout: s.span(1, 60) * momentsPerTick, behindMax: s.between(0, 4),
	}
	if !s.chance(600) {
		return oneStep()
	}
	return drawn
}

// oneStep is a transfer without chunks.
func oneStep() chunkMixture { return chunkMixture{countMax: 1, everyMax: 1, writings: 1} }

// Sizes of chunks: all are equal here.
const (
	chunkBytes = 8
	chunksMax  = 64
)

// parcel is a checkpoint as chunks.
type parcel struct {
	identity transfer.Identity
	chunks   []transfer.Chunk
	// idle is from when on nobody has read it.
	idle instant
}

func (p *parcel) bytes() uint64 { return uint64(len(p.chunks)) * chunkBytes }

// parcelOf writes a checkpoint as one replica does. The state is all chunks together, so that none can be another's.
func (s *simulation) parcelOf(h *host, c checkpoint) *parcel {
	writing := mix(uint64(h.number%s.mixture.chunks.writings), c.state)
	count := 1 + int(writing%uint64(s.mixture.chunks.countMax))
	rest, sums := c.state, make([]uint32, count)
	p := &parcel{identity: transfer.Identity{Meta: c.meta}, chunks: make([]transfer.Chunk, count)}
	for i := range p.chunks {
		value := mix(writing, uint64(i))
		if i == count-1 {
			value = rest
		}
		rest ^= value
		data := binary.LittleEndian.AppendUint64(nil, value)
		sums[i] = transfer.Checksum(uint32(i), data)
		p.chunks[i] = transfer.Chunk{Index: uint64(i), Checksum: sums[i], Data: data}
	}
	p.identity.Digest = transfer.DigestOf(sums)
	return p
}

// part is what is on a disk of another replica's checkpoint.
type part struct {
	here     bool
	identity transfer.Identity
	chunks   []transfer.Chunk
	synced   int    // chunks
	life     uint32 // the incarnation that last went on with it
	from     core.ReplicaID
}

func (p *part) received() transfer.Received {
	count := uint64(len(p.chunks))
	return transfer.Received{Chunks: count, Bytes: count * chunkBytes, ChunkBytes: chunkBytes, ChunksMax: chunksMax}
}

func (p *part) checksums() []uint32 {
	sums := make([]uint32, len(p.chunks))
	for i := range p.chunks {
		sums[i] = p.chunks[i].Checksum
	}
	return sums
}

// state puts the chunks together.
func (p *part) state() (state uint64) {
	for i := range p.chunks {
		state ^= binary.LittleEndian.Uint64(p.chunks[i].Data)
	}
	return state
}

// losePart is what an end of the process, or of the power, leaves of a part.
func (s *simulation) losePart(h *host, powerFails bool) {
	p := &h.disk.part
	if h.inMemory() || s.mixture.chunks.countMax == 1 {
		h.disk.part = part{}
		return
	}
	if p.here && powerFails {
		p.chunks = p.chunks[:p.synced+s.chunkRandom.below(len(p.chunks)-p.synced+1)]
	}
	p.synced = min(p.synced, len(p.chunks))
	if len(p.chunks) > 0 && s.chunkRandom.chance(s.mixture.chunks.rot) {
		at := s.chunkRandom.below(len(p.chunks))
		p.chunks[at] = damagedChunk(p.chunks[at])
	}
}

// verifyPart reads what is here, chunk by chunk, and cuts off what is not to be used.
func (s *simulation) verifyPart(h *host) {
	p := &h.disk.part
	found := p.chunks
	p.chunks = nil
	for _, chunk := range found {
		if p.received().Check(chunk, s.options.OmitTransfer) != nil {
			s.covered.count(EventPartCut)
			break
		}
		p.chunks = append(p.chunks, chunk)
	}
	p.synced = min(p.synced, len(p.chunks))
}

// onTheWay is a chunk as it arrives.
func (s *simulation) onTheWay(chunk transfer.Chunk) transfer.Chunk {
	if s.mixture.chunks.damage > 0 && s.chunkRandom.chance(s.mixture.chunks.damage) {
		return damagedChunk(chunk)
	}
	return chunk
}

func damagedChunk(chunk transfer.Chunk) transfer.Chunk {
	chunk.Data = slices.Clone(chunk.Data)
	chunk.Data[0] ^= 1
	return chunk
}
