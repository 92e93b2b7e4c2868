package cluster

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const goodLayout = `
directory = "data"
[[coordinator]]
replica = 1
address = "127.0.0.1:7000"
[[shard]]
id = 1
[[shard.replica]]
replica = 1
address = "127.0.0.1:7101"
[[shard.replica]]
replica = 3
address = "127.0.0.1:7103"
`

func writeLayout(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestReadLayout(t *testing.T) {
	path := writeLayout(t, goodLayout)
	layout, err := ReadLayout(path)
	require.NoError(t, err)
	require.Equal(t, &Layout{
		Directory: filepath.Join(filepath.Dir(path), "data"), Placement: "hash", Backend: "vr", Durability: "sync",
		Coordinator: []Member{{Replica: 1, Address: "127.0.0.1:7000"}},
		Shards:      []ShardLayout{{ID: 1, Replicas: []Member{{Replica: 1, Address: "127.0.0.1:7101"}, {Replica: 3, Address: "127.0.0.1:7103"}}}},
	}, layout)
	require.Len(t, layout.Groups(), 2)
}

// TestLeasesGoFromTheLayoutToEveryNode: who says nothing has them.
func TestLeasesGoFromTheLayoutToEveryNode(t *testing.T) {
	off := false
	for text, want := range map[string]*bool{"": nil, "leases = false\n": &off} {
		layout, err := ReadLayout(writeLayout(t, text+goodLayout))
		require.NoError(t, err)
		set, err := Initialise(layout)
		require.NoError(t, err)
		require.Len(t, set.Nodes, 3)
		for _, file := range set.Nodes {
			config, err := ReadNodeConfig(file)
			require.NoError(t, err)
			require.Equal(t, want, config.Leases)
			require.Equal(t, want != nil, config.leaseDuration() < 0)
		}
	}
}

func TestReadLayoutRefuses(t *testing.T) {
	shard := "\n[[shard]]\nid = %s\n[[shard.replica]]\nreplica = 1\naddress = \"127.0.0.1:1\"\n"
	for name, text := range map[string]string{
		"nothing":                         "",
		"no TOML":                         "directory =",
		"an unknown key":                  "color = 1\n" + goodLayout,
		"an unknown placement":            "placement = \"range\"\n" + goodLayout,
		"an unknown backend":              "backend = \"paxos\"\n" + goodLayout,
		"an unknown one of a coordinator": "coordinator_backend = \"paxos\"\n" + goodLayout,
		"an unknown one of a shard":       goodLayout + "\n[[shard]]\nid = 2\nbackend = \"paxos\"\n[[shard.replica]]\nreplica = 1\naddress = \"127.0.0.1:2\"\n",
		"an unknown log":                  "log = \"paper\"\n" + goodLayout,
		"an unknown durability":           "durability = \"hope\"\n" + goodLayout,
		"memory in a group of 1":          "durability = \"memory\"\n" + goodLayout,
		"no shard":                        "[[coordinator]]\nreplica = 1\naddress = \"127.0.0.1:7000\"\n",
		"no coordinator":                  "[[shard]]\nid = 1\n[[shard.replica]]\nreplica = 1\naddress = \"127.0.0.1:1\"\n",
		"a shard without anyone":          goodLayout + "\n[[shard]]\nid = 2\n",
		"shard 0":                         goodLayout + string(replaceFirst(shard, "0")),
		"a shard twice":                   goodLayout + string(replaceFirst(shard, "1")),
		"replica 0":                       goodLayout + "[[shard.replica]]\nreplica = 0\naddress = \"127.0.0.1:9\"\n",
		"a replica twice":                 goodLayout + "[[shard.replica]]\nreplica = 3\naddress = \"127.0.0.1:9\"\n",
		"no port":                         goodLayout + "[[shard.replica]]\nreplica = 4\naddress = \"127.0.0.1\"\n",
		"port 0":                          goodLayout + "[[shard.replica]]\nreplica = 4\naddress = \"127.0.0.1:0\"\n",
		"an address twice":                goodLayout + "[[shard.replica]]\nreplica = 4\naddress = \"127.0.0.1:7000\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := writeLayout(t, text)
			_, err := ReadLayout(path)
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, path)
		})
	}
	_, err := ReadLayout(filepath.Join(t.TempDir(), "none.toml"))
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func replaceFirst(format, id string) []byte {
	return []byte(format[:len("\n[[shard]]\nid = ")] + id + format[len("\n[[shard]]\nid = %s"):])
}

// FuzzReadLayout: whatever is accepted describes a cluster that can be set up: every node has a file that is
// accepted in turn.
func FuzzReadLayout(f *testing.F) {
	f.Add(goodLayout)
	f.Add("backend = \"raft\"\ncoordinator_backend = \"vr\"\n" + goodLayout)
	f.Fuzz(func(t *testing.T, text string) {
		layout, err := ReadLayout(writeLayout(t, text))
		if err != nil {
			require.ErrorIs(t, err, ErrConfig)
			return
		}
		for _, config := range layout.nodes("000102030405060708090a0b0c0d0e0f") {
			require.NoError(t, config.Validate())
		}
	})
}

func TestLocalLayoutHasFreePorts(t *testing.T) {
	layout, err := LocalLayout(t.TempDir(), 3, 2, 3)
	require.NoError(t, err)
	count := 0
	for _, group := range layout.Groups() {
		for _, member := range group.Members {
			listener, err := net.Listen("tcp", member.Address)
			require.NoError(t, err)
			require.NoError(t, listener.Close())
			count++
		}
	}
	require.Equal(t, 9, count)
}

// A group may have one witness, beside one to three replicas with a state; init tells every node of it who it is.
func TestWitnessesOfALayout(t *testing.T) {
	for name, test := range map[string]struct {
		replicas, witnesses int
		refusal             string
	}{
		"two and a witness":    {3, 1, ""},
		"one and a witness":    {2, 1, ""},
		"three and a witness":  {4, 1, ""},
		"four and a witness":   {5, 1, "shard 1 has a witness and 4 other replicas, need 1 to 3 beside it"},
		"nobody with a state":  {1, 1, "shard 1 has a witness and 0 other replicas"},
		"more than one":        {3, 2, "shard 1 has 2 witnesses"},
		"nobody but witnesses": {2, 2, "shard 1 has 2 witnesses"},
	} {
		layout, err := LocalLayout(t.TempDir(), 1, 1, test.replicas)
		require.NoError(t, err, name)
		for n := range test.witnesses {
			layout.Shards[0].Replicas[n].Witness = true
		}
		set, err := Initialise(layout)
		if test.refusal != "" {
			require.ErrorIs(t, err, ErrConfig, name)
			require.ErrorContains(t, err, test.refusal, name)
			continue
		}
		require.NoError(t, err, name)
		for n, file := range set.Nodes[1:] {
			config, err := ReadNodeConfig(file)
			require.NoError(t, err, name)
			require.Equal(t, layout.Shards[0].Replicas, config.Members, name)
			require.Equal(t, n == 0, config.isWitness(), name)
			config.Peers = []Member{{Replica: config.Members[1-min(n, 1)].Replica, Address: "127.0.0.1:9", Witness: true}}
			require.ErrorIs(t, config.Validate(), ErrConfig, "%s: a peer is an address", name)
		}
		shards := shardMap(layout.Coordinator, layout.Shards).GetShards()
		require.True(t, shards[0].GetMembers()[0].GetWitness() && !shards[0].GetMembers()[1].GetWitness(), name)
	}
	layout, err := LocalLayout(t.TempDir(), 1, 2, 3)
	require.NoError(t, err)
	layout.MarkWitnesses()
	require.Equal(t, []uint32{0, 3, 3}, []uint32{
		witnessOf(layout.Coordinator), witnessOf(layout.Shards[0].Replicas), witnessOf(layout.Shards[1].Replicas),
	})
}
