package cluster

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/streams"
)

// vrBackend is Viewstamped Replication.
type vrBackend struct{}

func (vrBackend) name() string      { return BackendVR }
func (vrBackend) handshake() string { return "" }
func (vrBackend) forces() bool      { return true }

func (vrBackend) log(reported string) string { return reported }

func (vrBackend) holds(data string) (bool, error) { return storage.Holds(data) }

func (vrBackend) refuse(group *groupConfig) error {
	_, err := vr.ParseDurability(group.durability)
	if err == nil {
		_, err = storage.ParseLog(group.log)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return validateWitness(group.name, group.members)
}

func (vrBackend) create(config *NodeConfig) error {
	log, err := storage.ParseLog(config.Log)
	if err != nil {
		return err
	}
	if err := storage.CreateLog(config.Data, log); err != nil && !errors.Is(err, storage.ErrFormatted) {
		return err
	}
	return nil
}

func (vrBackend) open(config *NodeConfig) (openedStorage, error) {
	durability, err := vr.ParseDurability(config.Durability)
	if err != nil {
		return nil, err
	}
	log, err := storage.ParseLog(config.Log)
	if err != nil {
		return nil, err
	}
	disk, err := storage.Open(config.Data, storage.Options{Durability: durability, Log: log})
	if err != nil {
		return nil, err
	}
	return &vrStorage{disk, durability}, nil
}

// vrStorage is a storage of Viewstamped Replication.
type vrStorage struct {
	vr.Storage
	durability vr.Durability
}

func (s *vrStorage) replica(o *opening) (replication.Replicator, error) {
	tuning := &o.options.Tuning
	replica, err := vr.Open(vr.Options{
		LeaseDuration: o.config.leaseDuration(),
		Group:         replication.GroupID(o.config.Group), Self: replication.ReplicaID(o.config.Replica), Members: o.members(), Joining: o.config.Joining,
		Witness: replication.ReplicaID(o.config.witness()),
		// A directory's first life is 1, a membership's 0.
		Cluster: o.identity.Cluster, Incarnation: o.identity.Incarnation - 1,
		Transport: streams.Of(o.via), Storage: s.Storage, Durability: s.durability, RefuseDamage: o.options.RefuseDamage,
		StateMachine: o.machine, Logger: o.options.Logger,
		HeartbeatInterval: tuning.HeartbeatInterval, ViewChangeTimeoutMin: tuning.ViewChangeTimeoutMin,
		ViewChangeTimeoutMax: tuning.ViewChangeTimeoutMax, CheckpointEvery: tuning.CheckpointEvery,
	})
	if err != nil {
		return nil, err
	}
	return replica, nil
}
