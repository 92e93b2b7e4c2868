package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

// Backends, by the names that configurations have for them. A group keeps the one that it began with.
const (
	// BackendVR is Viewstamped Replication, the default: package replication/vr.
	BackendVR = "vr"
	// BackendRaft is hashicorp/raft: package replication/raft.
	BackendRaft = "raft"
)

// ErrBackend says that a data directory was made for another backend than its node's file has.
var ErrBackend = errors.New("cluster: the data directory is another backend's")

// backend is what replicates a group. All that this package knows of one is behind it, in a file of its own.
type backend interface {
	// name is the one that configurations have.
	name() string
	// handshake is what its replicas are among nodes: those of one group that have another do not hear each other.
	handshake() string
	// refuse says what of a group it does not have, and what to do then, or returns nil.
	refuse(group *groupConfig) error
	// log is what a newcomer's file says of the log, where members say that they keep theirs so.
	log(reported string) string
	// holds reports whether a data directory was made for it.
	holds(data string) (bool, error)
	// create makes a replica's empty storage. One that an interrupted run has made already stays.
	create(config *NodeConfig) error
	// open opens what create made.
	open(config *NodeConfig) (openedStorage, error)
	// forces reports whether a group can be made to go on from what a minority has; see Forcing.
	forces() bool
}

// openedStorage is a replica's storage, ready for the replica.
type openedStorage interface {
	// replica opens the replica, which ends before the storage.
	replica(o *opening) (replication.Replicator, error)
	// Close closes the storage.
	Close() error
}

// opening is what a replica is opened with beside its storage.
type opening struct {
	config   *NodeConfig
	identity node.Identity
	via      *transport.Group
	machine  replication.StateMachine // nil: it is a witness
	options  NodeOptions
}

// members are those that the group began with, or whom a newcomer asks.
func (o *opening) members() []replication.ReplicaID {
	members := make([]replication.ReplicaID, len(o.config.Members))
	for i, member := range o.config.Members {
		members[i] = replication.ReplicaID(member.Replica)
	}
	return members
}

func backends() []backend { return []backend{vrBackend{}, raftBackend{}} }

// backendOf finds a backend by its name in a configuration; "": Viewstamped Replication.
func backendOf(name string) (backend, error) {
	if name == "" {
		name = BackendVR
	}
	var known []string
	for _, b := range backends() {
		if b.name() == name {
			return b, nil
		}
		known = append(known, b.name())
	}
	return nil, fmt.Errorf("%w: backend is %q, there are %s", ErrConfig, name, strings.Join(known, " and "))
}

// checkHolder refuses a data directory that was made for another backend.
func checkHolder(own backend, data string) error {
	for _, other := range backends() {
		if other.name() == own.name() {
			continue
		}
		switch holds, err := other.holds(data); {
		case err != nil:
			return fmt.Errorf("cluster: %w", err)
		case holds:
			return fmt.Errorf("%w: %s was made for backend %s, and this node's file says %s: a group keeps the backend it began with, so set "+
				"backend = %q there again; for a group with another, set up a new cluster and copy what is stored", ErrBackend, data, other.name(), own.name(), other.name())
		}
	}
	return nil
}
