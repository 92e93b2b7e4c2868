package chaos

import (
	"cmp"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
	"github.com/viewline/viewline/internal/namespaces"
)

// nodePort is where every node listens that has a namespace of its own.
const nodePort = "7000"

// linkDialTimeout bounds how long a link tries to reach its end.
const linkDialTimeout = 2 * time.Second

// far is the place of the clerks whose links can be hurt: half of those that move money. All others, and whoever asks
// the nodes how they are, are outside all partitions.
func far() process.Node { return process.Node{Group: math.MaxUint32} }

// link is the way of the connections that one node, or the far clerks, make to another node.
type link struct{ from, to process.Node }

func (l link) reverse() link { return link{l.to, l.from} }

// network joins nodes with each other and the far clerks with them. Where namespaces are to be had each node has one, as
// have the far clerks, every link has a proxy, and packets are dropped between them. Else there are proxies on the
// links within the groups that the layout names, and on those of the far clerks.
type network struct {
	partitions string
	spaces     *namespaces.Network // nil: none
	seed       uint64

	mu      sync.Mutex     // guards what follows
	first   []process.Node // of the layout
	hosts   map[process.Node]*namespaces.Host
	address map[process.Node]string
	links   map[link]*faultproxy.Proxy
	via     map[link]string   // where the link begins
	laid    uint64            // links so far
	ended   faultproxy.Counts // of links that are gone
	before  faultproxy.Counts // at the last heal
}

// openNetwork lays the links of a layout, whose addresses it changes if its nodes are to have namespaces. The reason
// why they have none although they should is not empty.
func openNetwork(partitions string, layout *cluster.Layout, seed uint64) (n *network, reason string, err error) {
	n = &network{
		partitions: partitions, seed: seed, hosts: map[process.Node]*namespaces.Host{}, address: map[process.Node]string{},
		links: map[link]*faultproxy.Proxy{}, via: map[link]string{},
	}
	if partitions == PartitionsNamespaces {
		if n.spaces, err = namespaces.Open(); errors.Is(err, namespaces.ErrUnavailable) {
			n.spaces, n.partitions, reason, err = nil, PartitionsProxy, err.Error(), nil
		}
	}
	if err == nil {
		err = n.place(layout)
	}
	if err != nil {
		return nil, "", errors.Join(err, n.close())
	}
	return n, reason, nil
}

// place gives each node its place, and lays the links.
func (n *network) place(layout *cluster.Layout) error {
	if n.spaces != nil {
		host, err := n.spaces.Add()
		if err != nil {
			return err
		}
		n.hosts[far()] = host
	}
	add := func(group uint32, members []cluster.Member) (err error) {
		for i := range members {
			member, node := &members[i], process.Node{Group: group, Replica: members[i].Replica}
			n.first = append(n.first, node)
			if member.Address, err = n.join(node, member.Address); err != nil {
				return err
			}
		}
		return nil
	}
	err := add(cluster.CoordinatorGroup, layout.Coordinator)
	for _, shard := range layout.Shards {
		err = errors.Join(err, add(shard.ID, shard.Replicas))
	}
	return err
}

// join gives a node its place and lays its links. It returns the node's address: the given one where it has no
// namespace.
func (n *network) join(node process.Node, address string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.spaces != nil {
		host, err := n.spaces.Add()
		if err != nil {
			return "", err
		}
		n.hosts[node], address = host, net.JoinHostPort(host.Address(), nodePort)
	}
	n.address[node] = address
	for _, other := range n.nodes() {
		for _, l := range []link{{node, other}, {other, node}} {
			if !n.hasProxy(l) {
				continue
			}
			if err := n.lay(l); err != nil {
				return "", err
			}
		}
	}
	if l := (link{far(), node}); n.hasProxy(l) {
		return address, n.lay(l)
	}
	return address, nil
}

// leave takes the place of a node that has left away, and its links.
func (n *network) leave(node process.Node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	for l, proxy := range n.links {
		if l.from == node || l.to == node {
			err = errors.Join(err, proxy.Close())
			n.ended = n.ended.Plus(proxy.Counts())
			delete(n.links, l)
			delete(n.via, l)
		}
	}
	if host := n.hosts[node]; host != nil {
		err = errors.Join(err, n.spaces.Remove(host))
	}
	delete(n.hosts, node)
	delete(n.address, node)
	return err
}

// nodes are those that have a place, ascending.
func (n *network) nodes() []process.Node {
	var nodes []process.Node
	for node := range n.address {
		nodes = append(nodes, node)
	}
	slices.SortFunc(nodes, compareNodes)
	return nodes
}

func compareNodes(a, b process.Node) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Replica, b.Replica))
}
