package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNodeConfigRefuses(t *testing.T) {
	good := func() *NodeConfig {
		return &NodeConfig{
			Cluster: "000102030405060708090a0b0c0d0e0f", Group: 1, Replica: 2, Data: "data",
			Placement: "hash", Backend: "vr", Durability: "sync",
			Members:      []Member{{Replica: 1, Address: "127.0.0.1:1"}, {Replica: 2, Address: "127.0.0.1:2"}},
			Coordinators: []Member{{Replica: 1, Address: "127.0.0.1:3"}},
		}
	}
	require.NoError(t, good().Validate())
	require.Equal(t, "127.0.0.1:2", good().Address())
	for name, change := range map[string]func(*NodeConfig){
		"no cluster":                func(c *NodeConfig) { c.Cluster = "" },
		"a short cluster":           func(c *NodeConfig) { c.Cluster = "0001" },
		"a cluster of other digits": func(c *NodeConfig) { c.Cluster = "zz0102030405060708090a0b0c0d0e0f" },
		"another backend":           func(c *NodeConfig) { c.Backend = "paxos" },
		"no members":                func(c *NodeConfig) { c.Members = nil },
		"a stranger":                func(c *NodeConfig) { c.Replica = 3 },
		"no coordinator":            func(c *NodeConfig) { c.Coordinators = nil },
		"no data":                   func(c *NodeConfig) { c.Data = "" },
		"itself as a peer":          func(c *NodeConfig) { c.Peers = []Member{{Replica: 2, Address: "127.0.0.1:9"}} },
		"a peer twice": func(c *NodeConfig) {
			c.Peers = []Member{{Replica: 1, Address: "127.0.0.1:9"}, {Replica: 1, Address: "127.0.0.1:8"}}
		},
		"a peer without a port":              func(c *NodeConfig) { c.Peers = []Member{{Replica: 1, Address: "127.0.0.1"}} },
		"a coordinator that knows no shards": func(c *NodeConfig) { c.Group = CoordinatorGroup },
	} {
		t.Run(name, func(t *testing.T) {
			config := good()
			change(config)
			require.ErrorIs(t, config.Validate(), ErrConfig)
		})
	}
}

// TestPeersOfLaterMembers: a peer may become a member long after the file was written.
func TestPeersOfLaterMembers(t *testing.T) {
	config := &NodeConfig{Members: []Member{{Replica: 1, Address: "127.0.0.1:1"}, {Replica: 2, Address: "127.0.0.1:2"}, {Replica: 3, Address: "127.0.0.1:3"}}, Replica: 2, Peers: []Member{{Replica: 3, Address: "127.0.0.1:9"}, {Replica: 7, Address: "127.0.0.1:8"}}}
	require.NoError(t, config.validatePeers())
}

func TestNodeConfigNamesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), NodeFile)
	require.NoError(t, os.WriteFile(path, []byte("cluster = \"x\"\n"), 0o600))
	_, err := ReadNodeConfig(path)
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, path)
}

func TestNodeConfigWithUnknownKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), NodeFile)
	require.NoError(t, os.WriteFile(path, []byte("cluster = \"x\"\nspeed = 11\n"), 0o600))
	_, err := ReadNodeConfig(path)
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "speed")
}
