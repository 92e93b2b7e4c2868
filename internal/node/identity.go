package node

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// IdentityFormat is the version of the identity file that this package writes.
const IdentityFormat = 1

// identityBytesMax is more than any identity file has.
const identityBytesMax = 1024

// castagnoli is the table of CRC-32C; it is never changed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Identity says whose data a directory holds.
type Identity struct {
	// Format is the version of the file; 0 stands for IdentityFormat.
	Format  uint32
	Cluster [16]byte
	Group   uint32
	Replica uint32 // not 0
	// Incarnation counts how often the replica lost its data and came back.
	Incarnation uint64
}

func (i Identity) validate() error {
	if i.Format != 0 && i.Format != IdentityFormat {
		return fmt.Errorf("%w: format %d, only %d is known", ErrIdentity, i.Format, IdentityFormat)
	}
	if i.Cluster == [16]byte{} {
		return fmt.Errorf("%w: no cluster", ErrIdentity)
	}
	if i.Replica == 0 {
		return fmt.Errorf("%w: replica 0", ErrIdentity)
	}
	return nil
}

// encode returns the file's bytes: lines of text, so that an operator can read them, the last of them the
// CRC-32C of those before it.
func (i Identity) encode() []byte {
	text := fmt.Sprintf("viewline identity\nformat %d\ncluster %s\ngroup %d\nreplica %d\nincarnation %d\n",
		IdentityFormat, hex.EncodeToString(i.Cluster[:]), i.Group, i.Replica, i.Incarnation)
	return fmt.Appendf(nil, "%schecksum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// decodeIdentity reads what encode wrote and nothing else; every error is an ErrIdentity.
func decodeIdentity(data []byte) (Identity, error) {
	if len(data) > identityBytesMax {
		return Identity{}, fmt.Errorf("%w: %d bytes", ErrIdentity, len(data))
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 8 || lines[0] != "viewline identity" || lines[7] != "" {
		return Identity{}, fmt.Errorf("%w: not an identity", ErrIdentity)
	}
	var fields [5]string
	for at, name := range []string{"format", "cluster", "group", "replica", "incarnation"} {
		value, found := strings.CutPrefix(lines[at+1], name+" ")
		if !found {
			return Identity{}, fmt.Errorf("%w: line %d is not its %s", ErrIdentity, at+2, name)
		}
		fields[at] = value
	}
	i, err := parseIdentity(fields)
	if err != nil {
		return Identity{}, err
	}
	// Numbers have one spelling, and the checksum is of exactly those bytes: whatever differs is damage.
	if string(i.encode()) != string(data) {
		return Identity{}, fmt.Errorf("%w: checksum or spelling is wrong", ErrIdentity)
	}
	return i, i.validate()
}

func parseIdentity(fields [5]string) (i Identity, err error) {
	number := func(text string, bits int) uint64 {
		value, problem := strconv.ParseUint(text, 10, bits)
		if problem != nil && err == nil {
			err = fmt.Errorf("%w: %w", ErrIdentity, problem)
		}
		return value
	}
	i = Identity{
		Format:      uint32(number(fields[0], 32)),
		Group:       uint32(number(fields[2], 32)),
		Replica:     uint32(number(fields[3], 32)),
		Incarnation: number(fields[4], 64),
	}
	if err == nil {
		err = Identity{Format: i.Format, Cluster: [16]byte{1}, Replica: 1}.validate()
	}
	if err != nil {
		return Identity{}, err
	}
	cluster, err := hex.DecodeString(fields[1])
	if err != nil || len(cluster) != len(i.Cluster) {
		return Identity{}, fmt.Errorf("%w: cluster %q", ErrIdentity, fields[1])
	}
	copy(i.Cluster[:], cluster)
	return i, nil
}
