package raft

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// TestFormats holds the bytes of docs/FORMATS.md.
func TestFormats(t *testing.T) {
	require.Equal(t, "010700000000000000", hex.EncodeToString(extension(7)))
	require.Equal(t, "020700000000000000", hex.EncodeToString(extensionOf(extensionMembers, 7)))
	members := &membership{index: 9, term: 7}
	members.Epoch, members.LargestID = 2, 4
	members.Members = []replication.Member{{ID: 1}, {ID: 4, Incarnation: 1, Address: "a:1"}}
	require.Equal(t, "0802120208011209080410011a03613a31180420092807", hex.EncodeToString(members.encode()))
	sealed := seal(&hraft.Log{Index: 3, Term: 7, Type: hraft.LogCommand, Data: []byte("data"), Extensions: extension(7)})
	require.Equal(t, "01070000000000000045d2b6f8", hex.EncodeToString(sealed.Extensions))
	m := mark{durability: DurabilityMemory, life: lifeClean, cluster: [16]byte{1}, group: 7, replica: 2, incarnation: 1}
	require.Equal(t, "viewline raft\nformat 3\ndurability memory\nlife clean\ncluster 01000000000000000000000000000000\ngroup 7\nreplica 2\nincarnation 1\nchecksum 6629fa84\n", string(m.encode()))
	require.Equal(t, uint32(0x839065f0), chunkChecksum(1, []byte("chunk")))
	require.Equal(t, "0500000000000000", hex.EncodeToString(callToken(5)))

	directory := t.TempDir()
	k := &fileKeeper{directory: directory, storage: &Storage{}}
	configuration := bootstrap([]replication.ReplicaID{1})
	d, err := k.create(hraft.SnapshotMeta{ID: snapshotID(9, 2), Index: 9, Term: 2, Configuration: configuration, ConfigurationIndex: 1})
	require.NoError(t, err)
	_, err = d.Write([]byte("state"))
	require.NoError(t, err)
	require.NoError(t, d.commit())
	data, err := os.ReadFile(filepath.Join(directory, "snapshot-00000000000000000009-00000000000000000002"))
	require.NoError(t, err)
	header, err := json.Marshal(snapshotHeader{Index: 9, Term: 2, Configuration: hraft.EncodeConfiguration(configuration), ConfigurationIndex: 1})
	require.NoError(t, err)
	require.Equal(t, snapshotMagic, string(data[:8]))
	require.Equal(t, `{"index":9,"term":2,"configuration":"gadTZXJ2ZXJzkYOnQWRkcmVzc6ExoklEoTGoU3VmZnJhZ2UA","configuration_index":1}`, string(header))
	require.Equal(t, string(header), string(data[16:16+len(header)]))
	require.Equal(t, "0500000000000000ff62686c7374617465000000000100000032186d51", hex.EncodeToString(data[16+len(header):]))
}
