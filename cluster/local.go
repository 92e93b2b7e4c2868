package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"

	"github.com/viewline/viewline/internal/survey"
)

// Ports for local clusters are drawn from a range that no system takes ports of outgoing connections from: a node
// that is down for a while must find its port free when it comes back.
const (
	localPortMin = 10_000
	localPortMax = 32_000
	// portTriesMax bounds how many taken ports are passed over for each wanted one.
	portTriesMax = 200
)

// LocalLayout describes a cluster on free loopback ports. They are free when it returns; nothing keeps them so.
func LocalLayout(directory string, coordinators, shards, replicas int) (layout *Layout, err error) {
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			err = errors.Join(err, listener.Close())
		}
	}()
	members := func(count int) ([]Member, error) {
		result := make([]Member, count)
		for i := range result {
			listener, err := listenLocally()
			if err != nil {
				return nil, err
			}
			held = append(held, listener)
			result[i] = Member{Replica: uint32(i + 1), Address: listener.Addr().String()}
		}
		return result, nil
	}
	layout = &Layout{Directory: directory}
	layout.setDefaults()
	if layout.Coordinator, err = members(coordinators); err != nil {
		return nil, err
	}
	for id := range shards {
		shard := ShardLayout{ID: uint32(id + 1)}
		if shard.Replicas, err = members(replicas); err != nil {
			return nil, err
		}
		layout.Shards = append(layout.Shards, shard)
	}
	return layout, layout.Validate()
}

// MarkWitnesses makes the last replica of every group its witness. A group of one, which can have none, stays as it is.
func (l *Layout) MarkWitnesses() {
	mark := func(members []Member) {
		if len(members) > 1 {
			members[len(members)-1].Witness = true
		}
	}
	mark(l.Coordinator)
	for _, shard := range l.Shards {
		mark(shard.Replicas)
	}
}

// FreeAddress is a free loopback address for one more node of a local cluster; nothing keeps it free.
func FreeAddress() (string, error) {
	listener, err := listenLocally()
	if err != nil {
		return "", err
	}
	if err := listener.Close(); err != nil {
		return "", fmt.Errorf("cluster: %w", err)
	}
	return listener.Addr().String(), nil
}

func listenLocally() (net.Listener, error) {
	var last error
	for range portTriesMax {
		port := localPortMin + rand.IntN(localPortMax-localPortMin)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return listener, nil
		}
		last = err
	}
	return nil, fmt.Errorf("cluster: no free port: %w", last)
}

// Group is a group of replicas: its ID, 0 for the coordinator's, and its Members, ascending.
type Group = survey.Group

// GroupMember is a replica of a Group and the Address of its node.
type GroupMember = survey.Member

// Groups are all groups of the layout, the coordinator's first.
func (l *Layout) Groups() []Group {
	members := func(members []Member) []GroupMember {
		result := make([]GroupMember, len(members))
		for i, member := range members {
			result[i] = GroupMember{Replica: member.Replica, Address: member.Address, Witness: member.Witness}
		}
		return result
	}
	groups := []Group{{ID: CoordinatorGroup, Members: members(l.Coordinator)}}
	for _, shard := range l.Shards {
		groups = append(groups, Group{ID: shard.ID, Members: members(shard.Replicas)})
	}
	return groups
}
