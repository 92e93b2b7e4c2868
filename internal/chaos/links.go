package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
	"github.com/viewline/viewline/internal/namespaces"
)

// hasProxy reports whether a link can have a proxy. Without namespaces a node has to be told of it, which takes links to
// the members that its file names, and a clerk's dialer.
func (n *network) hasProxy(l link) bool {
	switch n.partitions {
	case PartitionsNamespaces:
		return l.from != l.to
	case PartitionsProxy:
		named := slices.Contains(n.first, l.from) && slices.Contains(n.first, l.to)
		return l.from == far() || named && l.from.Group == l.to.Group && l.from != l.to
	default:
		return false
	}
}

// lay makes a link's proxy, and has the connections led there. n.mu is held.
func (n *network) lay(l link) error {
	var listener net.Listener
	from, address := n.hosts[l.from], n.address[l.to]
	err := inside(from, func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return fmt.Errorf("chaos: link: %w", err)
	}
	n.laid++
	proxy, err := faultproxy.Start(faultproxy.Options{Listener: listener, Seed: n.seed + n.laid, Dial: func(ctx context.Context) (net.Conn, error) {
		limited, cancel := context.WithTimeout(ctx, linkDialTimeout)
		defer cancel()
		if from != nil {
			return from.Dial(limited, address)
		}
		return (&net.Dialer{}).DialContext(limited, "tcp", address)
	}})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	n.links[l], n.via[l] = proxy, listener.Addr().String()
	if from == nil {
		return nil
	}
	return n.spaces.Turn(from, n.hosts[l.to], uint16(listener.Addr().(*net.TCPAddr).Port))
}

// inside calls a function at a host, or here if there is none.
func inside(host *namespaces.Host, do func() error) error {
	if host != nil {
		return host.Do(do)
	}
	return do()
}

func (n *network) host(node process.Node) *namespaces.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[node]
}

// outside calls a function outside all partitions.
func (n *network) outside(do func() error) error {
	if n.spaces != nil {
		return n.spaces.Do(do)
	}
	return do()
}

func (n *network) addressOf(node process.Node) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.address[node]
}

// peersOf are the nodes of a node's group, members or not, but itself.
func (n *network) peersOf(node process.Node) []process.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(n.nodes(), func(other process.Node) bool { return other.Group != node.Group || other == node })
}

// launch starts a node's command where the node is, with its links.
func (n *network) launch(node process.Node, command *exec.Cmd) error {
	host := n.host(node)
	if host != nil {
		command.Args = append(command.Args, "--insecure") // nobody else is on that network
	} else if peers := n.peers(node); len(peers) > 0 {
		command.Args = append(command.Args, "--peer", strings.Join(peers, ","))
	}
	return inside(host, command.Start)
}

// peers are where a node finds its links.
func (n *network) peers(node process.Node) (peers []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, to := range n.nodes() {
		if via := n.via[link{node, to}]; via != "" {
			peers = append(peers, fmt.Sprintf("%d=%s", to.Replica, via))
		}
	}
	return peers
}

// dialOptions are for connections to nodes, from outside all partitions.
func (n *network) dialOptions() []grpc.DialOption {
	if n.spaces == nil {
		return nil
	}
	return dialer(func(ctx context.Context, address string) (c net.Conn, err error) {
		err = n.outside(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return err
		})
		return c, err
	})
}

// farDialOptions are for connections to nodes from the far clerks, over their links.
func (n *network) farDialOptions() []grpc.DialOption {
	if n.partitions == PartitionsOff {
		return nil
	}
	host := n.host(far())
	return dialer(func(ctx context.Context, address string) (c net.Conn, err error) {
		if host == nil {
			address = n.viaFar(address)
		}
		err = inside(host, func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return err
		})
		return c, err
	})
}

func dialer(dial func(context.Context, string) (net.Conn, error)) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithContextDialer(dial)}
}

// viaFar is where the far clerks' link to an address begins; the address itself if it has none.
func (n *network) viaFar(address string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for node, other := range n.address {
		if via := n.via[link{far(), node}]; other == address && via != "" {
			return via
		}
	}
	return address
}

// clerkOptions are those of a clerk that has its connections made in some way.
func (n *network) clerkOptions(coordinators []string, dial []grpc.DialOption) clerk.Options {
	return clerk.Options{Coordinators: coordinators, DialOptions: dial, Insecure: n.spaces != nil}
}

// all are the links that have a proxy, in order.
func (n *network) all() []link {
	n.mu.Lock()
	defer n.mu.Unlock()
	var links []link
	for l := range n.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b link) int {
		if order := compareNodes(a.from, b.from); order != 0 {
			return order
		}
		return compareNodes(a.to, b.to)
	})
	return links
}

// set puts a link into conditions, if it has a proxy.
func (n *network) set(l link, conditions faultproxy.Conditions) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if proxy := n.links[l]; proxy != nil {
		proxy.Set(conditions)
	}
}

// halfClose ends the way forward of the connections on a link.
func (n *network) halfClose(l link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if proxy := n.links[l]; proxy != nil {
		proxy.HalfClose()
	}
}

// drop lets nothing pass that one end sends to another: as packets where there are namespaces. Else the connections of
// both stay and what they carry that way is swallowed.
func (n *network) drop(ways ...link) error {
	if n.spaces != nil {
		for _, way := range ways {
			if err := n.spaces.Drop(n.host(way.from), n.host(way.to)); err != nil {
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
