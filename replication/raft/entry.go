package raft

import (
	"encoding/binary"
	"hash/crc32"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// What viewline writes into a command's Extensions is one byte of these, and the view in which it was proposed, as 8 bytes in
// little-endian.
const (
	// extensionOperation: the command is an operation.
	extensionOperation = 1
	// extensionMembers: it begins an epoch.
	extensionMembers = 2
)

const extensionBytes = 9

func extension(view replication.ViewNumber) []byte { return extensionOf(extensionOperation, view) }

func extensionOf(kind byte, view replication.ViewNumber) []byte {
	return binary.LittleEndian.AppendUint64(append(make([]byte, 0, extensionBytes), kind), uint64(view))
}

// inItsView reports whether a command stands in the log under the term that it was proposed in. hashicorp/raft takes a
// command whenever it leads, also when it has lost the leadership in between and got it back; whoever proposed it under
// the first must not see it done under the second. Every replica decides it alike, since it goes by the log alone.
func inItsView(log *hraft.Log) bool {
	return len(log.Extensions) == extensionBytes && binary.LittleEndian.Uint64(log.Extensions[1:]) == log.Term
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sealBytes = 4

// entryChecksum covers everything of an entry but the time of it, which nobody reads.
func entryChecksum(log *hraft.Log, extensions []byte) uint32 {
	var head [25]byte
	binary.LittleEndian.PutUint64(head[0:], log.Index)
	binary.LittleEndian.PutUint64(head[8:], log.Term)
	head[16] = byte(log.Type)
	binary.LittleEndian.PutUint64(head[17:], uint64(len(log.Data)))
	sum := crc32.Update(0, castagnoli, head[:])
	sum = crc32.Update(sum, castagnoli, log.Data)
	return crc32.Update(sum, castagnoli, extensions)
}

// seal returns the entry as it is stored: hashicorp's stores have no checksum of their own, so one goes behind the
// Extensions.
func seal(log *hraft.Log) *hraft.Log {
	sealed := *log
	sum := entryChecksum(log, log.Extensions)
	sealed.Extensions = binary.LittleEndian.AppendUint32(append(make([]byte, 0, len(log.Extensions)+sealBytes), log.Extensions...), sum)
	return &sealed
}

// unseal takes the checksum off, and reports whether the entry is what was stored at that index.
func unseal(index uint64, log *hraft.Log) bool {
	n := len(log.Extensions) - sealBytes
	if n < 0 || log.Index != index {
		return false
	}
	extensions, sum := log.Extensions[:n:n], binary.LittleEndian.Uint32(log.Extensions[n:])
	if entryChecksum(log, extensions) != sum {
		return false
	}
	log.Extensions = extensions
	return true
}
