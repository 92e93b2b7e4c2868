package survey

import (
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// askTimeout bounds how long one node may take to answer, statesTimeout how long with the hashes of its states.
const (
	askTimeout    = 2 * time.Second
	statesTimeout = 30 * time.Second
)

// asksMax bounds how many nodes are asked at once.
const asksMax = 64

// roleWitness is what a witness's node says that it is.
const roleWitness = "witness"

// Group is a group whose replicas are asked.
type Group struct {
	ID      uint32
	Members []Member // ascending by replica
}

// Member is one replica and where its node listens.
type Member struct {
	Replica uint32
	Address string
	// Witness: it has no state, and is never primary.
	Witness bool
}

// Replica is what was learnt about one replica. Without an answer only the first fields are set.
type Replica struct {
	Group   uint32 `json:"group"`
	Replica uint32 `json:"replica"`
	Address string `json:"address"`
	Witness bool   `json:"witness,omitempty"` // it holds log entries and has no state
	// Error is why the node gave no answer about this replica, or empty.
	Error string `json:"error,omitempty"`

	Cluster    string `json:"cluster,omitempty"`
	Version    string `json:"version,omitempty"`
	Backend    string `json:"backend,omitempty"`    // what replicates the group: vr, raft
	Durability string `json:"durability,omitempty"` // what an acknowledged write survives: sync, async, memory
	Log        string `json:"log,omitempty"`        // how the directory keeps the log: bbolt, wal, raft-boltdb, memory
	Role       string `json:"role,omitempty"`       // primary, backup, witness
	Status     string `json:"status,omitempty"`     // what the protocol says: normal, view-change, recovering, transferring, stopped, transitioning, leaving, left
	Serving    bool   `json:"serving"`
	// Epoch is how often the members of its group have changed, as far as it knows.
	Epoch      uint64 `json:"epoch"`
	View       uint64 `json:"view"`
	Op         uint64 `json:"op"`
	Commit     uint64 `json:"commit"`
	Applied    uint64 `json:"applied"`
	Checkpoint uint64 `json:"checkpoint"`
	// Lag is by how many operations its commit number is behind the newest of its group.
	Lag     uint64 `json:"lag"`
	Failure string `json:"failure,omitempty"`
	// Reason is why it recovers, while it does.
	Reason string `json:"reason,omitempty"`
	// StateHash is of the state machine at Applied, when it offers one.
	StateHash string            `json:"state_hash,omitempty"`
	Counters  map[string]uint64 `json:"counters,omitempty"`
	// NodeCounters are those of the replica's process: sessions, refusals, frames to and from peers.
	NodeCounters map[string]uint64 `json:"node_counters,omitempty"`
	// CPUSeconds is what the replica's process has used so far.
	CPUSeconds float64 `json:"cpu_seconds"`
}

// Ask asks all nodes at once and returns one element for each member, in the order of the groups. What a node
// does not answer before ctx or 2 s are over stands in Replica.Error.
func Ask(ctx context.Context, groups []Group, dial ...grpc.DialOption) []Replica {
	return askAll(ctx, groups, false, dial)
}

// AskStates is Ask with the hash of every replica's state, which each node reads its whole state for; it waits
// up to 30 s.
func AskStates(ctx context.Context, groups []Group, dial ...grpc.DialOption) []Replica {
	return askAll(ctx, groups, true, dial)
}

func askAll(ctx context.Context, groups []Group, states bool, dial []grpc.DialOption) []Replica {
	var replicas []Replica
	for _, group := range groups {
		for _, member := range group.Members {
			replicas = append(replicas, Replica{Group: group.ID, Replica: member.Replica, Address: member.Address, Witness: member.Witness})
		}
	}
	var asks sync.WaitGroup
	room := make(chan struct{}, asksMax)
	for i := range replicas {
		room <- struct{}{}
		asks.Go(func() {
			defer func() { <-room }()
			replicas[i].ask(ctx, states, dial)
		})
	}
	asks.Wait()
	newest := map[uint32]uint64{}
	for _, r := range replicas {
		newest[r.Group] = max(newest[r.Group], r.Commit)
	}
	for i := range replicas {
		if r := &replicas[i]; r.Error == "" {
			r.Lag = newest[r.Group] - r.Commit
		}
	}
	return replicas
}

func (r *Replica) ask(ctx context.Context, states bool, dial []grpc.DialOption) {
	response, err := askNode(ctx, r.Address, states, dial)
	if err != nil {
		r.Error = err.Error()
		return
	}
	at := slices.IndexFunc(response.GetReplicas(), func(s *pb.ReplicaStatus) bool {
		return s.GetGroup() == r.Group && s.GetReplica() == r.Replica
	})
	if at < 0 {
		r.Error = "the node has no such replica"
		return
	}
	status := response.GetReplicas()[at]
	r.Cluster, r.Version = hex.EncodeToString(response.GetCluster()), response.GetVersion()
	r.Role, r.Status, r.Serving, r.Failure = status.GetRole(), status.GetStatus(), status.GetServing(), status.GetFailure()
	r.Witness = r.Role == roleWitness
	r.Backend, r.Durability, r.Log, r.Reason = status.GetBackend(), status.GetDurability(), status.GetLog(), status.GetReason()
	r.Epoch, r.View, r.Op, r.Commit = status.GetEpoch(), status.GetView(), status.GetOp(), status.GetCommit()
	r.Applied, r.Checkpoint = status.GetApplied(), status.GetCheckpoint()
	r.StateHash, r.Counters = hex.EncodeToString(status.GetStateHash()), status.GetCounters()
	r.NodeCounters, r.CPUSeconds = response.GetCounters(), response.GetCpuSeconds()
}

// AskNode asks one node about all its replicas. It waits until the node is reached, at most until ctx or 2 s
// are over.
func AskNode(ctx context.Context, address string, dial ...grpc.DialOption) (*pb.NodeStatusResponse, error) {
	return askNode(ctx, address, false, dial)
}

func askNode(ctx context.Context, address string, states bool, dial []grpc.DialOption) (*pb.NodeStatusResponse, error) {
	timeout := askTimeout
	if states {
		timeout = statesTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return askAdmin(address, dial, func(client pb.AdminServiceClient) (*pb.NodeStatusResponse, error) {
		return client.NodeStatus(ctx, &pb.NodeStatusRequest{StateHash: states})
	})
}
