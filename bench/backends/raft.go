package backends

import (
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/raft/streams"
)

// raftBoltDB is hashicorp/raft over raft-boltdb. That library's heartbeats come every tenth to fifth of its time-out.
func raftBoltDB() backend {
	return backend{
		name: "raft", wire: streams.Backend, durabilities: []string{Sync, Memory},
		create: func(directory, durability string) error { return raft.Create(directory, raftDurability(durability)) },
		open:   openRaft,
	}
}

func raftDurability(name string) raft.Durability {
	if name == Memory {
		return raft.DurabilityMemory
	}
	return raft.DurabilitySync
}

// openRaft opens a replica that closes its storage.
func openRaft(o opening) (replication.Replicator, error) {
	durability := raftDurability(o.durability)
	disk, err := raft.OpenStorage(o.directory, durability)
	if err != nil {
		return nil, err
	}
	replica, err := raft.Open(raft.Options{
		Self: o.self, Members: o.members, Transport: streams.Of(o.group), Storage: disk, Durability: durability,
		StateMachine: o.machine, Logger: o.logger, ViewChangeTimeout: o.terms.ViewChangeTimeout,
		BatchEntriesMax: o.terms.BatchEntriesMax, BatchBytesMax: o.terms.BatchBytesMax, InFlightMax: o.terms.InFlightMax,
		CheckpointEvery: o.terms.CheckpointEvery, CheckpointBytes: o.terms.CheckpointBytes,
	})
	if err != nil {
		if closing := disk.Close(); closing != nil {
			err = fmt.Errorf("%w; and then %w", err, closing)
		}
		return nil, err
	}
	return replica, nil
}
