package backends

import (
	"fmt"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/streams"
)

// viewstamped is Viewstamped Replication with a log that is kept as raft's is: in bbolt, with the same options.
func viewstamped() backend { return viewstampedOf("vr", storage.LogBolt, Sync, Memory) }

// viewstampedWAL has one fsync for a batch where bbolt has two.
func viewstampedWAL() backend { return viewstampedOf("vr/wal", storage.LogWAL, Sync) }

func viewstampedOf(name string, log storage.Log, durabilities ...string) backend {
	return backend{
		name: name, alone: log != storage.LogBolt, durabilities: durabilities,
		create: func(directory, _ string) error { return storage.CreateLog(directory, log) },
		open:   openViewstamped,
	}
}

// openViewstamped opens a replica that closes its storage.
func openViewstamped(o opening) (replication.Replicator, error) {
	durability := storage.DurabilitySync
	if o.durability == Memory {
		durability = storage.DurabilityMemory
	}
	disk, err := storage.Open(o.directory, storage.Options{Durability: durability, LockTimeout: lockTimeout})
	if err != nil {
		return nil, err
	}
	replica, err := vr.Open(vr.Options{
		Self: o.self, Members: o.members, Transport: streams.Of(o.group), Storage: disk, Durability: durability,
		StateMachine: o.machine, Logger: o.logger,
		HeartbeatInterval: o.terms.Heartbeat, ViewChangeTimeoutMin: o.terms.ViewChangeTimeout, ViewChangeTimeoutMax: 2 * o.terms.ViewChangeTimeout,
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

// lockTimeout is how long a process that was just killed may still have the files.
const lockTimeout = 2 * time.Second
