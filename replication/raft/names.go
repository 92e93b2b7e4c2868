package raft

import (
	"slices"
	"strconv"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// serverID is a replica's name for hashicorp/raft.
func serverID(id replication.ReplicaID) hraft.ServerID {
	return hraft.ServerID(strconv.FormatUint(uint64(id), 10))
}

// serverAddress is where hashicorp/raft believes a replica to be. The transport goes by ids, and knows the true address.
func serverAddress(id replication.ReplicaID) hraft.ServerAddress {
	return hraft.ServerAddress(serverID(id))
}

// replicaID is the replica of a name; 0: none.
func replicaID(name hraft.ServerID) replication.ReplicaID {
	id, err := strconv.ParseUint(string(name), 10, 32)
	if err != nil {
		return 0
	}
	return replication.ReplicaID(id)
}

// bootstrap is the configuration that a group begins with.
func bootstrap(members []replication.ReplicaID) hraft.Configuration {
	var configuration hraft.Configuration
	for _, id := range slices.Sorted(slices.Values(members)) {
		configuration.Servers = append(configuration.Servers, hraft.Server{Suffrage: hraft.Voter, ID: serverID(id), Address: serverAddress(id)})
	}
	return configuration
}

// voters are the members that count, ascending.
func voters(configuration hraft.Configuration) []replication.ReplicaID {
	var ids []replication.ReplicaID
	for _, server := range configuration.Servers {
		if id := replicaID(server.ID); server.Suffrage == hraft.Voter && id != 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
