package cluster

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/placement"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// CoordinatorGroup is the id of the coordinator's group.
const CoordinatorGroup = 0

// incarnationMax is above every incarnation.
const incarnationMax = 1 << 62

// NodeConfig is one node's file, which init writes: one process with one replica.
type NodeConfig struct {
	// Cluster is the cluster's id, 32 hexadecimal digits.
	Cluster string `toml:"cluster"`
	// Group is 0 for a replica of the coordinator, else the shard.
	Group   uint32 `toml:"group"`
	Replica uint32 `toml:"replica"`
	// Joining: when this file was written the group existed and this replica was to become a member of it: Members are
	// those that it asks, and Address is its own. It stays set.
	Joining bool `toml:"joining,omitempty"`
	// Own is where the group's members reach this replica; empty: at its address among Members.
	Own string `toml:"address,omitempty"`
	// Incarnation is the data directory's life, and tells it from every other that was made for this replica. 0: 1, the
	// first, which only those have that the group began with.
	Incarnation uint64 `toml:"incarnation,omitempty"`
	// Witness: it joins as a witness; see Member.Witness.
	Witness bool `toml:"witness,omitempty"`
	// Listen is where the node listens. It defaults to the replica's own address among Members.
	Listen string `toml:"listen,omitempty"`
	// Admin is where the node serves /metrics and profiles over HTTP: a loopback address, port 0 for a free one. Empty:
	// it does not.
	Admin string `toml:"admin,omitempty"`
	// Data is the replica's data directory, relative to this file.
	Data      string `toml:"data"`
	Placement string `toml:"placement"`
	// Backend replicates the group: BackendVR or BackendRaft. It is for good, and all nodes of a group have the same.
	Backend    string `toml:"backend"`
	Durability string `toml:"durability"`
	// Leases is the layout's; nil: true.
	Leases *bool `toml:"leases,omitempty"`
	// Log is how the data directory keeps the log, bbolt or wal; empty: as it was made. Another than that is refused.
	Log string `toml:"log,omitempty"`
	// Members are the replicas that the group began with, this one included; of one that joins, those to ask. Who is a member
	// later, the group itself knows.
	Members []Member `toml:"member"`
	// Peers are other replicas of the group, present members or later ones, that this node reaches elsewhere than everyone
	// else does: over a network for replication alone, or through a proxy.
	Peers []Member `toml:"peer,omitempty"`
	// Coordinators are the coordinator's replicas.
	Coordinators []Member `toml:"coordinator"`
	// Shards are all shards, for a node of the coordinator: its group starts with this map.
	Shards []ShardLayout `toml:"shard,omitempty"`
}

// ReadNodeConfig reads and checks one node's file. Keys that it does not know are errors.
func ReadNodeConfig(path string) (*NodeConfig, error) {
	config := &NodeConfig{}
	if err := readStrictly(path, config); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(config.Data) {
		config.Data = filepath.Join(filepath.Dir(path), config.Data)
	}
	return config, inFile(path, config.Validate())
}

// leaseDuration is what vr.Options takes: its default, or none.
func (c *NodeConfig) leaseDuration() time.Duration {
	if c.Leases != nil && !*c.Leases {
		return -1
	}
	return 0
}

// Validate names the first thing that is wrong, or returns nil.
func (c *NodeConfig) Validate() error {
	if _, err := c.ClusterID(); err != nil {
		return err
	}
	if err := validatePlacement(c.Placement); err != nil {
		return err
	}
	if err := c.group(c.Members).validate(map[string]string{}); err != nil {
		return err
	}
	if err := validateMembers("coordinator", c.Coordinators, map[string]string{}); err != nil {
		return err
	}
	if err := c.validateOwn(); err != nil {
		return err
	}
	if err := c.validatePeers(); err != nil {
		return err
	}
	if c.Data == "" {
		return fmt.Errorf("%w: no data directory", ErrConfig)
	}
	if c.Group == CoordinatorGroup && len(c.Shards) == 0 {
		return fmt.Errorf("%w: a coordinator's file names no shard", ErrConfig)
	}
	return nil
}

// group is the node's group, with these members.
func (c *NodeConfig) group(members []Member) *groupConfig {
	return &groupConfig{
		name: groupName(c.Group), backend: c.Backend, durability: c.Durability, log: c.Log, leases: c.Leases, members: members,
		witness: c.Witness,
	}
}

// validateOwn wants the node's own address, and of one that joins all that tells it from others.
func (c *NodeConfig) validateOwn() error {
	switch {
	case c.Address() == "":
		return fmt.Errorf("%w: replica %d is not among its group's members", ErrConfig, c.Replica)
	case !c.Joining && (c.Own != "" || c.Incarnation > 1 || c.Witness):
		return fmt.Errorf("%w: only one that joins says its own address, incarnation, or that it is a witness", ErrConfig)
	case !c.Joining:
		return nil
	case c.Replica == 0 || c.Own == "" || c.Incarnation < 2 || c.Incarnation > incarnationMax:
		return fmt.Errorf("%w: replica %d at %q in incarnation %d cannot join", ErrConfig, c.Replica, c.Own, c.Incarnation)
	}
	for _, member := range c.Members {
		if member.Address == c.Own && member.Replica != c.Replica {
			return fmt.Errorf("%w: this node and replica %d both have address %s", ErrConfig, member.Replica, c.Own)
		}
	}
	return checkAddress(c.Own)
}

// validatePeers wants other replicas, each once. Who is a member changes while the configuration stays.
func (c *NodeConfig) validatePeers() error {
	if len(c.Peers) == 0 {
		return nil
	}
	for _, peer := range c.Peers {
		if peer.Replica == c.Replica {
			return fmt.Errorf("%w: peer %d is this replica", ErrConfig, peer.Replica)
		}
		if peer.Witness {
			return fmt.Errorf("%w: peer %d is only another address; the members say who is a witness", ErrConfig, peer.Replica)
		}
	}
	return validateMembers("peers", c.Peers, map[string]string{})
}

// ClusterID reads the cluster's id.
func (c *NodeConfig) ClusterID() ([16]byte, error) {
	var id [16]byte
	bytes, err := hex.DecodeString(c.Cluster)
	if err != nil || len(bytes) != len(id) {
		return id, fmt.Errorf("%w: cluster %q is not 32 hexadecimal digits", ErrConfig, c.Cluster)
	}
	copy(id[:], bytes)
	return id, nil
}

// identity is what the node's data directory must say.
func (c *NodeConfig) identity() (node.Identity, error) {
	id, err := c.ClusterID()
	return node.Identity{Cluster: id, Group: c.Group, Replica: c.Replica, Incarnation: max(c.Incarnation, 1)}, err
}

// Address is where the group's members reach this replica, or empty.
func (c *NodeConfig) Address() string {
	if c.Own != "" {
		return c.Own
	}
	return addressOf(c.Members, c.Replica)
}

func addressOf(members []Member, replica uint32) string {
	for _, member := range members {
		if member.Replica == replica {
			return member.Address
		}
	}
	return ""
}

func groupName(group uint32) string {
	if group == CoordinatorGroup {
		return "coordinator"
	}
	return fmt.Sprintf("shard %d", group)
}

// NodeName is the name of a replica's directory: coordinator-1, shard-2-3.
func NodeName(group, replica uint32) string {
	if group == CoordinatorGroup {
		return fmt.Sprintf("coordinator-%d", replica)
	}
	return fmt.Sprintf("shard-%d-%d", group, replica)
}

// shardMap is the map that a new cluster starts with: every shard has an even share of the slots.
func shardMap(coordinators []Member, shards []ShardLayout) *pb.ShardMap {
	result := &pb.ShardMap{
		Version: 1, Technique: pb.Technique_TECHNIQUE_HASH, Coordinator: &pb.Group{Id: CoordinatorGroup, Members: pbMembers(coordinators)},
	}
	ids := make([]uint32, len(shards))
	for i, shard := range shards {
		ids[i] = shard.ID
		result.Shards = append(result.Shards, &pb.Group{Id: shard.ID, Members: pbMembers(shard.Replicas)})
	}
	slots := placement.Even(ids)
	result.Slots = slots[:]
	return result
}

func pbMembers(members []Member) []*pb.Member {
	result := make([]*pb.Member, len(members))
	for i, member := range members {
		result[i] = &pb.Member{Replica: member.Replica, Address: member.Address, Witness: member.Witness}
	}
	return result
}
