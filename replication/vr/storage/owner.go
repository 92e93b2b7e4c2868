package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
)

const (
	ownerName = "OWNER"
	// ownerFormat is the version of the file.
	ownerFormat = 1
)

// Claim makes the directory a replica's, durably, when it is nobody's yet; see vr.Storage.
func (d *Disk) Claim(owner vr.Owner) error {
	if err := d.usable(); err != nil {
		return err
	}
	have, err := readOwner(d.directory)
	if err != nil {
		return err
	}
	next, err := owner.Succeeds(have)
	if err != nil {
		return fmt.Errorf("storage: %s: %w", d.directory, err)
	}
	if next == have {
		return nil
	}
	d.syncs.Add(2)
	if err := writeWhole(filepath.Join(d.directory, ownerName), encodeOwner(next)); err != nil {
		return d.fail(fmt.Errorf("storage: claim: %w", err))
	}
	return nil
}

// encodeOwner returns the file's bytes: lines that an operator can read, the last of them the CRC-32C of those before.
func encodeOwner(o vr.Owner) []byte {
	text := fmt.Sprintf("viewline owner\nformat %d\ncluster %s\ngroup %d\nreplica %d\nincarnation %d\nwitness %t\n",
		ownerFormat, hex.EncodeToString(o.Cluster[:]), o.Group, o.Replica, o.Incarnation, o.Witness)
	return fmt.Appendf(nil, "%schecksum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// readOwner reads whose a directory is; the zero value: nobody's yet.
func readOwner(directory string) (vr.Owner, error) {
	path := filepath.Join(directory, ownerName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return vr.Owner{}, nil
	} else if err != nil {
		return vr.Owner{}, fmt.Errorf("storage: %w", err)
	}
	owner, err := decodeOwner(data)
	if err != nil {
		return vr.Owner{}, damagedRecord(path, "owner", err)
	}
	return owner, nil
}

// decodeOwner reads what encodeOwner wrote, to the byte, and nothing else.
func decodeOwner(data []byte) (vr.Owner, error) {
	var (
		format                      uint32
		cluster                     string
		group, replica, incarnation uint64
		sum                         uint32
		witness                     bool
	)
	_, err := fmt.Sscanf(string(data), "viewline owner\nformat %d\ncluster %s\ngroup %d\nreplica %d\nincarnation %d\nwitness %t\nchecksum %x\n",
		&format, &cluster, &group, &replica, &incarnation, &witness, &sum)
	if err != nil {
		return vr.Owner{}, errMagic
	}
	id, err := hex.DecodeString(cluster)
	owner := vr.Owner{Group: replication.GroupID(group), Replica: replication.ReplicaID(replica), Incarnation: incarnation, Witness: witness}
	if err != nil || len(id) != len(owner.Cluster) || format != ownerFormat {
		return vr.Owner{}, fmt.Errorf("format %d, cluster %q", format, cluster)
	}
	copy(owner.Cluster[:], id)
	if string(encodeOwner(owner)) != string(data) {
		return vr.Owner{}, errChecksum
	}
	return owner, nil
}

// writeWhole writes a small file, durably, whole or not at all.
func writeWhole(path string, data []byte) error {
	file, err := os.OpenFile(path+temporaryName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+temporaryName, path)
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}
