package group

import (
	"encoding/binary"

	"github.com/viewline/viewline/replication/vr/core"
)

// machine is the replicated state: a hash over all operations applied so far, in their order. Two machines
// that applied the same operations have the same hash, and (but for chance) no others have.
type machine struct {
	applied core.OpNumber
	view    core.ViewNumber // of the last entry applied
	entry   core.Hash       // of the last entry applied
	state   uint64
	// membership is that of the last RECONFIGURATION applied.
	membership core.EncodedMembership
}

// checkpoint is a machine's state at an op-number, with what the protocol says of it.
type checkpoint struct {
	meta  core.CheckpointMeta
	state uint64
}

func (m *machine) apply(entry *core.Entry) {
	m.applied, m.view, m.entry = entry.Op, entry.View, entry.Hash
	if entry.Kind == core.EntryReconfiguration {
		m.membership, m.state = recordOf(entry), mix(m.state, mix(uint64(entry.Op), uint64(entry.Hash)))
		return
	}
	m.state = mix(m.state, mix(uint64(entry.Op), uint64(operationID(entry.Payload))))
}

func (m *machine) checkpoint() checkpoint {
	return checkpoint{meta: core.CheckpointMeta{Op: m.applied, View: m.view, Hash: m.entry, Membership: m.membership}, state: m.state}
}

func (m *machine) restore(c checkpoint) {
	*m = machine{applied: c.meta.Op, view: c.meta.View, entry: c.meta.Hash, membership: c.meta.Membership, state: c.state}
}

// operation is the number of one proposed operation; the client never uses one twice.
type operation uint64

const operationBytes = 8

// encode fills a payload with an operation. What is beyond its number makes it larger.
func (o operation) encode(payload []byte) {
	binary.LittleEndian.PutUint64(payload, uint64(o))
	for i := operationBytes; i < len(payload); i++ {
		payload[i] = byte(o)
	}
}

// payload is a payload with so many bytes beyond the operation's number.
func (o operation) payload(filler int) []byte {
	payload := make([]byte, operationBytes+filler)
	o.encode(payload)
	return payload
}

// span are operations that are proposed together.
type span struct{ first, last operation }

// operationID decodes a payload; 0 is not an operation.
func operationID(payload []byte) operation {
	if len(payload) < operationBytes {
		return 0
	}
	for _, b := range payload[operationBytes:] {
		if b != payload[0] {
			return 0
		}
	}
	return operation(binary.LittleEndian.Uint64(payload))
}

// mix is a cheap hash of two numbers, for event and state hashes.
func mix(a, b uint64) uint64 {
	a = (a ^ b) * 0x9e3779b97f4a7c15
	a = (a ^ a>>32) * 0xd6e8feb86659fd93
	return a ^ a>>29
}
