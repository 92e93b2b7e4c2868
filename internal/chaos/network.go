package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
	"github.com/viewline/viewline/internal/namespaces"
)

// nodePort is where every node listens that has a namespace of its own.
const nodePort = "7000"

// linkDialTimeout bounds how long a link tries to reach its end.
const linkDialTimeout = 2 * time.Second

// link is the way of the connections that one replica makes to another of its group.
type link struct{ from, to process.Node }

// network joins the replicas of each group. Every link has a proxy; where namespaces are to be had each node has one,
// with the beginnings of its links, and packets are dropped between them.
type network struct {
	spaces  *namespaces.Network // nil: none
	hosts   map[process.Node]*namespaces.Host
	nodes   []process.Node
	address map[process.Node]string
	links   map[link]*faultproxy.Proxy
	via     map[link]string // where the link begins
	before  faultproxy.Counts
}

// openNetwork lays the links of a layout, whose addresses it changes if its nodes are to have namespaces. The reason
// why they have none although they should is not empty.
func openNetwork(partitions string, layout *cluster.Layout, seed uint64) (n *network, reason string, err error) {
	n = &network{
		hosts: map[process.Node]*namespaces.Host{}, address: map[process.Node]string{},
		links: map[link]*faultproxy.Proxy{}, via: map[link]string{},
	}
	if partitions == PartitionsNamespaces {
		if n.spaces, err = namespaces.Open(); errors.Is(err, namespaces.ErrUnavailable) {
			n.spaces, reason, err = nil, err.Error(), nil
		}
	}
	if err == nil {
		err = n.place(layout)
	}
	if err == nil && partitions != PartitionsOff {
		err = n.lay(seed)
	}
	if err != nil {
		return nil, "", errors.Join(err, n.close())
	}
	return n, reason, nil
}

// place notes where each node is, and gives it a host.
func (n *network) place(layout *cluster.Layout) error {
	groups := [][]cluster.Member{layout.Coordinator}
	ids := []uint32{cluster.CoordinatorGroup}
	for _, shard := range layout.Shards {
		groups, ids = append(groups, shard.Replicas), append(ids, shard.ID)
	}
	for i, members := range groups {
		for j := range members {
			node := process.Node{Group: ids[i], Replica: members[j].Replica}
			if n.spaces != nil {
				host, err := n.spaces.Add()
				if err != nil {
					return err
				}
				n.hosts[node] = host
				members[j].Address = net.JoinHostPort(host.Address(), nodePort)
			}
			n.nodes = append(n.nodes, node)
			n.address[node] = members[j].Address
		}
	}
	return nil
}

// lay makes a proxy for each link.
func (n *network) lay(seed uint64) error {
	for _, from := range n.nodes {
		for _, to := range n.nodes {
			if from.Group != to.Group || from == to {
				continue
			}
			if err := n.connect(link{from, to}, seed+uint64(len(n.links))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *network) connect(l link, seed uint64) error {
	var listener net.Listener
	err := n.inside(l.from, func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return fmt.Errorf("chaos: link: %w", err)
	}
	proxy, err := faultproxy.Start(faultproxy.Options{Listener: listener, Seed: seed, Dial: func(ctx context.Context) (c net.Conn, err error) {
		err = n.inside(l.from, func() (err error) {
			c, err = (&net.Dialer{Timeout: linkDialTimeout}).DialContext(ctx, "tcp", n.address[l.to])
			return err
		})
		return c, err
	}})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	n.links[l], n.via[l] = proxy, listener.Addr().String()
	return nil
}

// inside calls a function where a node is.
func (n *network) inside(node process.Node, do func() error) error {
	if host := n.hosts[node]; host != nil {
		return host.Do(do)
	}
	return do()
}

// launch starts a node's command where the node is, with its links.
func (n *network) launch(node process.Node, command *exec.Cmd) error {
	var peers []string
	for _, to := range n.nodes {
		if via := n.via[link{node, to}]; via != "" {
			peers = append(peers, fmt.Sprintf("%d=%s", to.Replica, via))
		}
	}
	if len(peers) > 0 {
		command.Args = append(command.Args, "--peer", strings.Join(peers, ","))
	}
	if n.spaces != nil {
		command.Args = append(command.Args, "--insecure") // nobody else is on that network
	}
	return n.inside(node, command.Start)
}

// dialOptions are for connections to nodes, from outside all partitions.
func (n *network) dialOptions() []grpc.DialOption {
	if n.spaces == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (c net.Conn, err error) {
		err = n.spaces.Do(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return err
		})
		return c, err
	})}
}

// clerkOptions are those of a clerk outside all partitions.
func (n *network) clerkOptions(coordinators []string) clerk.Options {
	return clerk.Options{Coordinators: coordinators, DialOptions: n.dialOptions(), Insecure: n.spaces != nil}
}

// set puts a link into conditions.
func (n *network) set(l link, conditions faultproxy.Conditions) { n.links[l].Set(conditions) }

// drop lets nothing pass that one replica sends to another: as packets where there are namespaces. Else the
// connections of both stay and what they carry that way is swallowed.
func (n *network) drop(ways ...link) error {
	if n.spaces != nil {
		for _, way := range ways {
			if err := n.spaces.Drop(n.hosts[way.from], n.hosts[way.to]); err != nil {
				return err
			}
		}
		return nil
	}
	conditions := map[link]faultproxy.Conditions{}
	for _, way := range ways {
		there, back := conditions[way], conditions[way.reverse()]
		there.Forward.Swallow, back.Backward.Swallow = true, true
		conditions[way], conditions[way.reverse()] = there, back
	}
	for l, c := range conditions {
		n.set(l, c)
	}
	return nil
}

func (l link) reverse() link { return link{l.to, l.from} }

// harm is what links have done since the last heal.
type harm struct {
	// Packets were dropped between namespaces; Swallowed and Altered are bytes of connections through the proxies, Held
	// and Delayed pieces, Broken connections that were cut or half-closed.
	packets, swallowed, altered, held, delayed, broken uint64
}

// dropped is the harm of a partition.
func (h harm) dropped() (uint64, string) {
	if h.packets > 0 {
		return h.packets, "packets were dropped"
	}
	return h.swallowed, "bytes were swallowed"
}

func (n *network) harm() (harm, error) {
	now := n.counts()
	h := harm{
		swallowed: now.Swallowed - n.before.Swallowed, altered: now.Altered - n.before.Altered, held: now.Held - n.before.Held,
		delayed: now.Delayed - n.before.Delayed, broken: now.Cut + now.HalfClosed - n.before.Cut - n.before.HalfClosed,
	}
	var err error
	if n.spaces != nil {
		h.packets, err = n.spaces.Dropped()
	}
	return h, err
}

func (n *network) counts() faultproxy.Counts {
	var total faultproxy.Counts
	for _, proxy := range n.links {
		c := proxy.Counts()
		total.Swallowed += c.Swallowed
		total.Altered += c.Altered
		total.Held += c.Held
		total.Delayed += c.Delayed
		total.Cut += c.Cut
		total.HalfClosed += c.HalfClosed
	}
	return total
}

// heal lets everything pass again.
func (n *network) heal() error {
	for l := range n.links {
		n.set(l, faultproxy.Conditions{})
	}
	n.before = n.counts()
	if n.spaces == nil {
		return nil
	}
	_, err := n.spaces.Heal()
	return err
}

func (n *network) close() error {
	var err error
	for _, proxy := range n.links {
		err = errors.Join(err, proxy.Close())
	}
	if n.spaces != nil {
		err = errors.Join(err, n.spaces.Close())
	}
	return err
}
