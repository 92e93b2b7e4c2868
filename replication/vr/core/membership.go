package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// EpochNumber is the paper's epoch-number; the first epoch is 0.
type EpochNumber uint64

// AddressBytesMax bounds a member's address.
const AddressBytesMax = 255

// Member is one replica of an epoch.
type Member struct {
	ID ReplicaID
	// Incarnation tells the lives of a replica apart that has lost its storage in between. It is never lower in a later
	// epoch, and 0 in a group's first.
	Incarnation uint64
	// Witness: it holds log entries and counts in quorums, and has no state machine.
	Witness bool
	// Address is for the transport alone, which knows what it means; "" where it knows the address another way.
	Address string
}

// String is the id, with what is out of the ordinary.
func (m Member) String() string {
	var more []string
	if m.Incarnation > 0 {
		more = append(more, fmt.Sprintf("incarnation %d", m.Incarnation))
	}
	if m.Witness {
		more = append(more, "witness")
	}
	if more == nil {
		return fmt.Sprint(uint32(m.ID))
	}
	return fmt.Sprintf("%d(%s)", m.ID, strings.Join(more, ", "))
}

// Membership says who the replicas of an epoch are, and where it began.
type Membership struct {
	Epoch EpochNumber
	// Op, View and Hash are those of the epoch's beginning: the RECONFIGURATION that made it is at Op, with Hash, and
	// View is the first of the epoch, one above the view of that entry. All 0 in epoch 0.
	Op   OpNumber
	View ViewNumber
	Hash Hash
	// Members ascend by their ids.
	Members []Member
	// Previous are the members of the epoch before, ascending.
	Previous []ReplicaID
	// LargestID is the largest id that was ever a member's. Whoever joins has a larger one, so that none is used twice.
	LargestID ReplicaID
}

// EncodedMembership is a Membership's bytes, as they are stored and sent; "": not known. It is a string so that it can
// be compared, and never changes.
type EncodedMembership string

const (
	// membershipVersion is the one that is written. Version 1 had neither incarnations nor witnesses.
	membershipVersion       = 2
	membershipVersionOldest = 1
	// membershipHead is Op, View and Hash, which a RECONFIGURATION's payload lacks: they are its place in the log.
	membershipHead = 24
	// flagWitness is the only flag of a member.
	flagWitness = 1
	// incarnationMax leaves room to count on.
	incarnationMax = 1 << 62
)

var errMembership = errors.New("vr: not a membership")

// IDs are the members' ids, ascending.
func (m *Membership) IDs() []ReplicaID {
	ids := make([]ReplicaID, len(m.Members))
	for i := range m.Members {
		ids[i] = m.Members[i].ID
	}
	return ids
}

// Has reports whether a replica is a member.
func (m *Membership) Has(id ReplicaID) bool {
	_, found := m.Member(id)
	return found
}

// Member finds a member.
func (m *Membership) Member(id ReplicaID) (Member, bool) {
	for i := range m.Members {
		if m.Members[i].ID == id {
			return m.Members[i], true
		}
	}
	return Member{}, false
}

// quorum is f+1 of 2f+1 members, and a majority of an even number.
func (m *Membership) quorum() int { return len(m.Members)/2 + 1 }

// Encode returns the membership's bytes.
func (m *Membership) Encode() EncodedMembership {
	data := binary.BigEndian.AppendUint64(nil, uint64(m.Op))
	data = binary.BigEndian.AppendUint64(data, uint64(m.View))
	data = binary.BigEndian.AppendUint64(data, uint64(m.Hash))
	return EncodedMembership(append(data, m.payload()...))
}

// payload is what a RECONFIGURATION carries: version, epoch, largest id, members with all that is said of each, members
// before.
func (m *Membership) payload() []byte {
	data := binary.BigEndian.AppendUint64([]byte{membershipVersion}, uint64(m.Epoch))
	data = binary.BigEndian.AppendUint32(data, uint32(m.LargestID))
	data = append(data, byte(len(m.Members)))
	for _, member := range m.Members {
		data = binary.BigEndian.AppendUint32(data, uint32(member.ID))
		data = binary.BigEndian.AppendUint64(data, member.Incarnation)
		flags := byte(0)
		if member.Witness {
			flags = flagWitness
		}
		data = append(data, flags, byte(len(member.Address)))
		data = append(data, member.Address...)
	}
	data = append(data, byte(len(m.Previous)))
	for _, id := range m.Previous {
		data = binary.BigEndian.AppendUint32(data, uint32(id))
	}
	return data
}

// Decode reads and checks a membership. An error names what no correct replica writes.
func (e EncodedMembership) Decode() (Membership, error) {
	if len(e) < membershipHead {
		return Membership{}, fmt.Errorf("%w: %d bytes", errMembership, len(e))
	}
	head := []byte(e[:membershipHead])
	m, err := decodeMembership([]byte(e[membershipHead:]))
	m.Op, m.View = OpNumber(binary.BigEndian.Uint64(head)), ViewNumber(binary.BigEndian.Uint64(head[8:]))
	m.Hash = Hash(binary.BigEndian.Uint64(head[16:]))
	if err == nil && (m.Epoch == 0) != (m.Op == 0) {
		err = fmt.Errorf("%w: epoch %d begins at op-number %d", errMembership, m.Epoch, m.Op)
	}
	return m, err
}

// String tells epoch and members.
func (e EncodedMembership) String() string {
	m, err := e.Decode()
	if e == "" || err != nil {
		return fmt.Sprintf("membership of %d bytes", len(e))
	}
	return fmt.Sprintf("epoch %d from %d on: %v", m.Epoch, m.Op, m.Members)
}

// begunBy is the membership that a RECONFIGURATION of the log makes.
func begunBy(e *Entry) (Membership, error) {
	m, err := decodeMembership(e.Payload)
	m.Op, m.View, m.Hash = e.Op, e.View+1, e.Hash
	if err == nil && m.Epoch == 0 {
		err = fmt.Errorf("%w: a RECONFIGURATION into epoch 0", errMembership)
	}
	return m, err
}

func decodeMembership(data []byte) (Membership, error) {
	d := membershipDecoder{data: data}
	version := d.number(1)
	m := Membership{Epoch: EpochNumber(d.number(8)), LargestID: ReplicaID(d.number(4))}
	for range d.number(1) {
		member := Member{ID: ReplicaID(d.number(4))}
		if version > membershipVersionOldest {
			member.Incarnation = d.number(8)
			flags := d.number(1)
			member.Witness = flags == flagWitness
			d.bad = d.bad || flags > flagWitness
		}
		member.Address = string(d.take(int(d.number(1))))
		m.Members = append(m.Members, member)
	}
	for range d.number(1) {
		m.Previous = append(m.Previous, ReplicaID(d.number(4)))
	}
	ids := m.IDs()
	switch {
	case d.short || d.bad || len(d.data) > 0 || version < membershipVersionOldest || version > membershipVersion:
		return m, fmt.Errorf("%w: version %d in %d bytes", errMembership, version, len(data))
	case !ascending(ids) || !ascending(m.Previous) && len(m.Previous) > 0:
		return m, fmt.Errorf("%w: members %v after %v", errMembership, ids, m.Previous)
	case m.LargestID < ids[len(ids)-1] || m.Epoch > viewMax:
		return m, fmt.Errorf("%w: epoch %d, largest id %d of %v", errMembership, m.Epoch, m.LargestID, ids)
	}
	return m, m.checkMembers()
}

// checkMembers refuses what no member can be, and a group without a state.
func (m *Membership) checkMembers() error {
	for _, member := range m.Members {
		if member.Incarnation > incarnationMax {
			return fmt.Errorf("%w: incarnation %d of replica %d", errMembership, member.Incarnation, member.ID)
		}
	}
	active := len(m.active())
	if witnesses := len(m.Members) - active; witnesses > witnessesMax || active == 0 || witnesses > 0 && active > activeMax {
		return fmt.Errorf("%w: %d witnesses and %d active members", errMembership, witnesses, active)
	}
	return nil
}

// ascending reports whether these can be a group's members.
func ascending(ids []ReplicaID) bool {
	for i, id := range ids {
		if id == 0 || i > 0 && ids[i-1] >= id {
			return false
		}
	}
	return len(ids) > 0 && len(ids) <= MembersMax
}

// membershipDecoder takes numbers and bytes off; what is missing is zero, and noted.
type membershipDecoder struct {
	data  []byte
	short bool
	bad   bool // something in it means nothing
}

func (d *membershipDecoder) take(count int) []byte {
	if count > len(d.data) {
		d.short, d.data = true, nil
		return nil
	}
	taken := d.data[:count]
	d.data = d.data[count:]
	return taken
}

func (d *membershipDecoder) number(bytes int) uint64 {
	value := uint64(0)
	for _, b := range d.take(bytes) {
		value = value<<8 | uint64(b)
	}
	return value
}
