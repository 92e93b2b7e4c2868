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

// Groups are all groups of the layout, the coordinator's first, as a survey asks them.
func (l *Layout) Groups() []survey.Group {
	members := func(members []Member) []survey.Member {
		result := make([]survey.Member, len(members))
		for i, member := range members {
			result[i] = survey.Member{Replica: member.Replica, Address: member.Address}
		}
		return result
	}
	groups := []survey.Group{{ID: CoordinatorGroup, Members: members(l.Coordinator)}}
	for _, shard := range l.Shards {
		groups = append(groups, survey.Group{ID: shard.ID, Members: members(shard.Replicas)})
	}
	return groups
}
