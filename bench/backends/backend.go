package backends

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

// Durabilities that are compared. What they mean is the same for every backend: on the disks of a majority, or in their
// memories, before the acknowledgement.
const (
	Sync   = "sync"
	Memory = "memory"
)

// backend is one way to replicate a group.
type backend struct {
	name string
	// wire is its name in handshakes.
	wire string
	// alone: it keeps its log as no other backend does, and has a column of its own.
	alone        bool
	durabilities []string
	create       func(directory, durability string) error
	open         func(o opening) (replication.Replicator, error)
}

// opening is what a replica is opened with.
type opening struct {
	self       replication.ReplicaID
	members    []replication.ReplicaID
	group      *transport.Group
	directory  string
	durability string
	terms      Terms
	machine    replication.StateMachine
	logger     *slog.Logger
}

// registry is every backend there is, in the order in which they are shown.
func registry() []backend { return []backend{viewstamped(), raftBoltDB(), viewstampedWAL()} }

func find(known []backend, name string) (backend, bool) {
	at := slices.IndexFunc(known, func(b backend) bool { return b.name == name })
	if at < 0 {
		return backend{}, false
	}
	return known[at], true
}

func namesOf(known []backend) string {
	names := make([]string, len(known))
	for i, b := range known {
		names[i] = b.name
	}
	return strings.Join(names, ", ")
}
