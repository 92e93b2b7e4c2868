package cluster

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"

	"github.com/viewline/viewline/internal/node"
)

// Names of the files that init writes.
const (
	// NodeFile is each node's configuration, in the node's directory.
	NodeFile      = "node.toml"
	dataDirectory = "data"
	// idFile holds the cluster's id; doneFile says that every directory was set up. A replica whose
	// directory is gone after that is not set up again: it has forgotten what it promised.
	idFile   = "cluster-id"
	doneFile = "cluster-initialised"
)

// ErrLayoutChanged says that a cluster exists already and was set up from another layout.
var ErrLayoutChanged = errors.New("cluster: the directory holds a cluster of another layout")

// ErrDataMissing says that a replica's data directory is gone from a cluster that was set up before.
var ErrDataMissing = errors.New("cluster: a replica's data directory is missing")

// Initialised is what Initialise did.
type Initialised struct {
	Cluster string
	// Nodes are the files of all nodes, coordinators first.
	Nodes []string
	// Changed is false when everything stood already.
	Changed bool
}

// Initialise mints a cluster's id and sets up one directory for each node. Run again on the same layout it
// changes nothing; an interrupted run is finished by the next.
func Initialise(layout *Layout) (*Initialised, error) {
	if err := layout.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(layout.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("cluster: init: %w", err)
	}
	_, err := os.Stat(filepath.Join(layout.Directory, doneFile))
	done := err == nil
	id, err := mintID(filepath.Join(layout.Directory, idFile))
	if err != nil {
		return nil, err
	}
	result := &Initialised{Cluster: id, Changed: !done}
	for _, config := range layout.nodes(id) {
		directory := filepath.Join(layout.Directory, NodeName(config.Group, config.Replica))
		if err := setUpNode(directory, config, done); err != nil {
			return nil, err
		}
		result.Nodes = append(result.Nodes, filepath.Join(directory, NodeFile))
	}
	if done {
		return result, nil
	}
	return result, writeDurably(filepath.Join(layout.Directory, doneFile), []byte(id+"\n"))
}

func mintID(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return string(bytes.TrimSpace(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cluster: init: %w", err)
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("cluster: init: %w", err)
	}
	return hex.EncodeToString(id[:]), writeDurably(path, []byte(hex.EncodeToString(id[:])+"\n"))
}

// nodes gives every node's configuration, coordinators first.
func (l *Layout) nodes(id string) []*NodeConfig {
	var configs []*NodeConfig
	add := func(group uint32, backend string, members []Member) {
		for _, member := range members {
			config := &NodeConfig{
				Cluster: id, Group: group, Replica: member.Replica, Listen: member.Address, Data: dataDirectory, Placement: l.Placement,
				Backend: cmp.Or(backend, l.Backend), Durability: l.Durability, Leases: l.Leases, Log: l.Log, Members: members, Coordinators: l.Coordinator,
			}
			if group == CoordinatorGroup {
				config.Shards = withoutBackends(l.Shards)
			}
			configs = append(configs, config)
		}
	}
	add(CoordinatorGroup, l.CoordinatorBackend, l.Coordinator)
	for _, shard := range l.Shards {
		add(shard.ID, shard.Backend, shard.Replicas)
	}
	return configs
}

// withoutBackends are shards as those know them who have nothing to do with what replicates them.
func withoutBackends(shards []ShardLayout) []ShardLayout {
	shards = slices.Clone(shards)
	for i := range shards {
		shards[i].Backend = ""
	}
	return shards
}

func setUpNode(directory string, config *NodeConfig, done bool) error {
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(config); err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	file, data := filepath.Join(directory, NodeFile), filepath.Join(directory, dataDirectory)
	stands, err := os.ReadFile(file)
	switch {
	case err == nil && !bytes.Equal(stands, text.Bytes()):
		return layoutChanged(file, config)
	case err == nil:
		// The node's file is written last: its data directory stood once.
		return checkReplica(data, config)
	case done:
		return fmt.Errorf("%w: %s is not there: %w", ErrLayoutChanged, file, err)
	}
	if err := formatReplica(data, config); err != nil {
		return err
	}
	return writeDurably(file, text.Bytes())
}

// layoutChanged says that a node's file differs from what it would be, and where a group was to get another backend that.
func layoutChanged(file string, config *NodeConfig) error {
	if stands, err := ReadNodeConfig(file); err == nil && stands.Backend != config.Backend {
		return fmt.Errorf("%w: %s has backend %s, and by this one it would have %s: a group keeps the backend it began with",
			ErrLayoutChanged, file, stands.Backend, config.Backend)
	}
	return fmt.Errorf("%w: %s differs from it", ErrLayoutChanged, file)
}

// checkReplica refuses a data directory that is gone, or another replica's. One that is in use is in order.
func checkReplica(data string, config *NodeConfig) error {
	identity, err := config.identity()
	if err != nil {
		return err
	}
	directory, err := node.OpenDirectory(data, identity)
	switch {
	case errors.Is(err, node.ErrInUse):
		return nil
	case errors.Is(err, node.ErrNotFormatted):
		return fmt.Errorf("%w: %s; a replica that forgot its promises must not vote again under its old name: "+
			"put the directory itself back, never an old copy of it", ErrDataMissing, data)
	case err != nil:
		return fmt.Errorf("cluster: init: %w", err)
	}
	return directory.Close()
}

// formatReplica makes a replica's data directory: its identity, then its empty log. What an interrupted run has
// made already stays.
func formatReplica(data string, config *NodeConfig) error {
	identity, err := config.identity()
	if err != nil {
		return err
	}
	if err := node.FormatDirectory(data, identity); err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	backend, err := backendOf(config.Backend)
	if err != nil {
		return err
	}
	if err := checkHolder(backend, data); err != nil {
		return err
	}
	made := *config
	made.Data = data
	if err := backend.create(&made); err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	return nil
}

// writeDurably writes a file whole or not at all.
func writeDurably(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	if err := errors.Join(directory.Sync(), directory.Close()); err != nil {
		return fmt.Errorf("cluster: init: %w", err)
	}
	return nil
}
