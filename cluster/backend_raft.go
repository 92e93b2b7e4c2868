package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/raft/streams"
)

// raftBackend is hashicorp/raft.
type raftBackend struct{}

func (raftBackend) name() string      { return BackendRaft }
func (raftBackend) handshake() string { return streams.Backend }
func (raftBackend) forces() bool      { return false }

// log: there is one way only.
func (raftBackend) log(string) string { return "" }

func (raftBackend) holds(data string) (bool, error) { return raft.Holds(data) }

func (raftBackend) refuse(group *groupConfig) error {
	refusal := ""
	switch witness := witnessOf(group.members); {
	case group.durability == "async":
		refusal = "no durability async: choose sync or memory"
	case group.log != "" && group.log != "bbolt":
		refusal = fmt.Sprintf("no log %q, but one in bbolt: leave log away", group.log)
	case group.leases != nil && *group.leases:
		refusal = "no leases: leave leases away, and every read asks a majority"
	case witness != 0:
		refusal = fmt.Sprintf("no witnesses: leave witness away, and replica %d has a state as the others", witness)
	case group.witness:
		refusal = "no witnesses: leave it away, and the newcomer has a state as the others"
	}
	if refusal != "" {
		return fmt.Errorf("%w: %s has backend raft, which has %s; or give it backend vr", ErrConfig, group.name, refusal)
	}
	if _, err := raft.ParseDurability(group.durability); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

func (b raftBackend) create(config *NodeConfig) error {
	durability, err := raft.ParseDurability(config.Durability)
	if err != nil {
		return err
	}
	if err := raft.Create(config.Data, durability); !errors.Is(err, raft.ErrExists) {
		return err
	}
	made, err := b.open(config)
	if err != nil {
		return err
	}
	return made.Close()
}

func (raftBackend) open(config *NodeConfig) (openedStorage, error) {
	durability, err := raft.ParseDurability(config.Durability)
	if err != nil {
		return nil, err
	}
	disk, err := raft.OpenStorage(config.Data, durability)
	if err != nil {
		return nil, err
	}
	return &raftStorage{disk: disk, durability: durability}, nil
}

// raftStorage is a storage of Raft. A replica that has been opened on it closes it.
type raftStorage struct {
	disk       *raft.Storage
	durability raft.Durability
	taken      bool
}

func (s *raftStorage) Close() error {
	if s.taken {
		return nil
	}
	return s.disk.Close()
}

func (s *raftStorage) replica(o *opening) (replication.Replicator, error) {
	timeout, err := electionTimeout(&o.options.Tuning)
	if err != nil {
		return nil, err
	}
	replica, err := raft.Open(raft.Options{
		Group: replication.GroupID(o.config.Group), Self: replication.ReplicaID(o.config.Replica), Members: o.members(), Joining: o.config.Joining,
		// A directory's first life is 1, a membership's 0.
		Cluster: o.identity.Cluster, Incarnation: o.identity.Incarnation - 1,
		Transport: streams.Of(o.via), Storage: s.disk, Durability: s.durability, StateMachine: o.machine, Logger: o.options.Logger,
		ViewChangeTimeout: timeout, CommitInterval: o.options.Tuning.HeartbeatInterval, CheckpointEvery: o.options.Tuning.CheckpointEvery,
	})
	if err != nil {
		return nil, err
	}
	s.taken = true
	return replica, nil
}

// electionTimeout translates the time-outs of Viewstamped Replication. A follower of Raft draws its own between one time and
// twice that, as a backup does by default, and cannot be told otherwise.
func electionTimeout(tuning *Tuning) (time.Duration, error) {
	least, most := tuning.ViewChangeTimeoutMin, tuning.ViewChangeTimeoutMax
	if least == 0 {
		least = raft.ViewChangeTimeoutDefault
	}
	if most != 0 && most != 2*least {
		return 0, fmt.Errorf("%w: backend raft draws time-outs between ViewChangeTimeoutMin and twice that, and %v is not twice %v", ErrConfig, most, least)
	}
	return least, nil
}
