package raft

import (
	"slices"
	"strconv"
	"strings"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// peer is one life of a replica. Each is a server of its own to hashicorp/raft: what one has acknowledged or voted for,
// another has not.
type peer struct {
	id          replication.ReplicaID
	incarnation uint64
}

// server is a peer's name for hashicorp/raft: its id, and its incarnation where that is not the first.
func (p peer) server() hraft.ServerID {
	name := strconv.FormatUint(uint64(p.id), 10)
	if p.incarnation > 0 {
		name += "." + strconv.FormatUint(p.incarnation, 10)
	}
	return hraft.ServerID(name)
}

// address is where hashicorp/raft believes a peer to be. The transport goes by ids, and knows the true address.
func (p peer) address() hraft.ServerAddress { return hraft.ServerAddress(p.server()) }

// peerOf is the peer of a name; one with id 0: none.
func peerOf(name hraft.ServerID) peer {
	id, incarnation, later := strings.Cut(string(name), ".")
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return peer{}
	}
	p := peer{id: replication.ReplicaID(number)}
	if later {
		if p.incarnation, err = strconv.ParseUint(incarnation, 10, 64); err != nil {
			return peer{}
		}
	}
	return p
}

// replicaID is the replica of a name; 0: none.
func replicaID(name hraft.ServerID) replication.ReplicaID { return peerOf(name).id }

// bootstrap is the configuration that a group begins with.
func bootstrap(members []replication.ReplicaID) hraft.Configuration {
	var configuration hraft.Configuration
	for _, id := range slices.Sorted(slices.Values(members)) {
		p := peer{id: id}
		configuration.Servers = append(configuration.Servers, hraft.Server{Suffrage: hraft.Voter, ID: p.server(), Address: p.address()})
	}
	return configuration
}

// voters are the servers that count.
func voters(configuration hraft.Configuration) []hraft.ServerID {
	var ids []hraft.ServerID
	for _, server := range configuration.Servers {
		if server.Suffrage == hraft.Voter {
			ids = append(ids, server.ID)
		}
	}
	return ids
}
