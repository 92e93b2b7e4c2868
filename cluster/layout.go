package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/BurntSushi/toml"
)

// Bounds of a layout.
const (
	ReplicasMax = 7
	ShardsMax   = 1024
)

// Layout describes a whole cluster: the file that `viewline init` reads.
type Layout struct {
	// Directory is where init writes one directory for each node, relative to the layout's file.
	Directory string `toml:"directory"`
	// Placement is the technique that maps an oid to a shard; hash is the default and the only one.
	Placement string `toml:"placement,omitempty"`
	// Backend replicates every group that names no other: BackendVR (the default) or BackendRaft. It is for good.
	Backend string `toml:"backend,omitempty"`
	// CoordinatorBackend replicates the coordinator's group; empty: Backend does.
	CoordinatorBackend string `toml:"coordinator_backend,omitempty"`
	// Durability says what an acknowledged write survives: sync (the default: it is on the disks of a majority before
	// anyone is told), async or memory; see vr.Durability. The last two need groups of at least 3 replicas. A group of
	// Raft has no async.
	Durability string `toml:"durability,omitempty"`
	// Leases lets a primary answer reads by itself while a majority has promised to leave it for no other; see vr.Options.
	// nil: it does. false: every read takes a round of messages, as it does in a group of Raft, which has no leases.
	Leases *bool `toml:"leases,omitempty"`
	// Log is how a replica's directory keeps its log, for good: bbolt (the default) or wal; see storage.Log. init makes the
	// directories with it. Raft has bbolt only.
	Log string `toml:"log,omitempty"`

	Coordinator []Member      `toml:"coordinator"`
	Shards      []ShardLayout `toml:"shard"`
}

// Member is one replica of a group.
type Member struct {
	// Replica is its id within the group, from 1, never used again for another.
	Replica uint32 `toml:"replica"`
	// Address is where it listens and is reached: host and port.
	Address string `toml:"address"`
	// Witness: it keeps the log that the others need, has no state and is never primary; see vr.Options. One of a group at
	// most, beside one to three others.
	Witness bool `toml:"witness,omitempty"`
}

// ShardLayout is one shard.
type ShardLayout struct {
	ID uint32 `toml:"id"`
	// Backend replicates it; empty: the layout's does.
	Backend  string   `toml:"backend,omitempty"`
	Replicas []Member `toml:"replica"`
}

// ErrConfig is what every refusal of a configuration file is.
var ErrConfig = errors.New("cluster: bad configuration")

// ReadLayout reads and checks a layout's file. Keys that it does not know are errors.
func ReadLayout(path string) (*Layout, error) {
	layout := &Layout{}
	if err := readStrictly(path, layout); err != nil {
		return nil, err
	}
	layout.setDefaults()
	if !filepath.IsAbs(layout.Directory) {
		layout.Directory = filepath.Join(filepath.Dir(path), layout.Directory)
	}
	return layout, inFile(path, layout.Validate())
}

// inFile adds a file's name to the refusal of what stands in it.
func inFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, err)
}

func readStrictly(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	meta, err := toml.Decode(string(text), into)
	if err != nil {
		return inFile(path, fmt.Errorf("%w: %w", ErrConfig, err))
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return inFile(path, fmt.Errorf("%w: unknown key %s", ErrConfig, unknown[0]))
	}
	return nil
}

func (l *Layout) setDefaults() {
	for _, field := range []struct {
		value    *string
		standard string
	}{{&l.Directory, "viewline-data"}, {&l.Placement, "hash"}, {&l.Backend, BackendVR}, {&l.Durability, "sync"}} {
		if *field.value == "" {
			*field.value = field.standard
		}
	}
}

// Validate names the first thing that is wrong, or returns nil.
func (l *Layout) Validate() error {
	if err := validatePlacement(l.Placement); err != nil {
		return err
	}
	if _, err := backendOf(l.Backend); err != nil {
		return err
	}
	if len(l.Shards) == 0 || len(l.Shards) > ShardsMax {
		return fmt.Errorf("%w: %d shards, need 1 to %d", ErrConfig, len(l.Shards), ShardsMax)
	}
	addresses := map[string]string{}
	if err := l.group(CoordinatorGroup, l.CoordinatorBackend, l.Coordinator).validate(addresses); err != nil {
		return err
	}
	for i, shard := range l.Shards {
		if shard.ID == 0 || i > 0 && l.Shards[i-1].ID >= shard.ID {
			return fmt.Errorf("%w: shard ids start at 1 and ascend, shard %d does not", ErrConfig, shard.ID)
		}
		if err := l.group(shard.ID, shard.Backend, shard.Replicas).validate(addresses); err != nil {
			return err
		}
	}
	return nil
}

// group is a group as its nodes are configured.
func (l *Layout) group(id uint32, backend string, members []Member) *groupConfig {
	return &groupConfig{
		name: groupName(id), backend: cmp.Or(backend, l.Backend), durability: l.Durability, log: l.Log, leases: l.Leases, members: members,
	}
}

func validatePlacement(placement string) error {
	if placement != "hash" {
		return fmt.Errorf("%w: placement is %q, only \"hash\" is known", ErrConfig, placement)
	}
	return nil
}

// validateMembers checks one group; addresses holds who uses which, over all groups.
func validateMembers(group string, members []Member, addresses map[string]string) error {
	if len(members) == 0 || len(members) > ReplicasMax {
		return fmt.Errorf("%w: %s has %d replicas, need 1 to %d", ErrConfig, group, len(members), ReplicasMax)
	}
	for i, member := range members {
		if member.Replica == 0 || i > 0 && members[i-1].Replica >= member.Replica {
			return fmt.Errorf("%w: replica ids of %s start at 1 and ascend, %d does not", ErrConfig, group, member.Replica)
		}
		if err := checkAddress(member.Address); err != nil {
			return fmt.Errorf("%w: %s replica %d", err, group, member.Replica)
		}
		user := fmt.Sprintf("%s replica %d", group, member.Replica)
		if other, taken := addresses[member.Address]; taken {
			return fmt.Errorf("%w: %s and %s both have address %s", ErrConfig, other, user, member.Address)
		}
		addresses[member.Address] = user
	}
	return nil
}

func checkAddress(address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" || port == "0" {
		return fmt.Errorf("%w: address %q is not host:port", ErrConfig, address)
	}
	return nil
}
