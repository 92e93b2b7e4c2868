package raft

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/viewline/viewline/replication"
)

const (
	markName   = "RAFT"
	markFormat = 3
)

// life is how far a storage is in its own.
type life uint8

const (
	// lifeFresh: no replica has run on it.
	lifeFresh life = iota
	// lifeJoining: one runs on it, or did, that has got nothing of its group's log yet.
	lifeJoining
	// lifeRunning: one runs on it, or did when it ended.
	lifeRunning
	// lifeClean: the replica ended with Close and has written everything; of durability memory only.
	lifeClean
)

// String is the name in the mark.
func (l life) String() string {
	switch l {
	case lifeFresh:
		return "fresh"
	case lifeJoining:
		return "joining"
	case lifeRunning:
		return "running"
	default:
		return "clean"
	}
}

// mark says whose a directory is, and how its log is kept. It is a file that an operator can read.
type mark struct {
	durability Durability
	life       life
	cluster    [16]byte
	group      replication.GroupID
	replica    replication.ReplicaID // 0: nobody's yet
	// incarnation is the replica's life that it is of.
	incarnation uint64
}

func (m mark) encode() []byte {
	text := fmt.Sprintf("viewline raft\nformat %d\ndurability %s\nlife %s\ncluster %s\ngroup %d\nreplica %d\nincarnation %d\n",
		markFormat, m.durability, m.life, hex.EncodeToString(m.cluster[:]), m.group, m.replica, m.incarnation)
	return fmt.Appendf(nil, "%schecksum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// decodeMark reads what encode wrote, to the byte, and nothing else.
func decodeMark(data []byte) (mark, error) {
	var format, group, replica, sum uint32
	var durability, was, cluster string
	var incarnation uint64
	_, err := fmt.Sscanf(string(data), "viewline raft\nformat %d\ndurability %s\nlife %s\ncluster %s\ngroup %d\nreplica %d\nincarnation %d\nchecksum %x\n",
		&format, &durability, &was, &cluster, &group, &replica, &incarnation, &sum)
	if err != nil {
		return mark{}, errors.New("not a mark")
	}
	m := mark{group: replication.GroupID(group), replica: replication.ReplicaID(replica), incarnation: incarnation}
	if m.durability, err = ParseDurability(durability); err != nil {
		return mark{}, err
	}
	id, err := hex.DecodeString(cluster)
	if err != nil || len(id) != len(m.cluster) || format != markFormat {
		return mark{}, fmt.Errorf("format %d, cluster %q", format, cluster)
	}
	copy(m.cluster[:], id)
	for m.life < lifeClean && m.life.String() != was {
		m.life++
	}
	if string(m.encode()) != string(data) {
		return mark{}, errors.New("it does not have its checksum")
	}
	return m, nil
}

// readMark reads a directory's mark; there is none: os.ErrNotExist.
func readMark(directory string) (mark, error) {
	path := filepath.Join(directory, markName)
	data, err := os.ReadFile(path)
	if err != nil {
		return mark{}, err
	}
	m, err := decodeMark(data)
	if err != nil {
		return mark{}, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return m, nil
}

// writeMark writes it durably, whole or not at all.
func writeMark(directory string, m mark) error {
	path := filepath.Join(directory, markName)
	file, err := os.OpenFile(path+temporarySuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(m.encode())
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+temporarySuffix, path)
	}
	if err != nil {
		return err
	}
	return syncDirectory(directory)
}
