package namespaces

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// subnet is the first bytes of every address; they are used nowhere but inside the namespaces.
const (
	subnet       = "10.213.0."
	prefixLength = 24
	switchName   = "switch"
	hostLinkName = "eth0"
)

// Network is a switch with hosts. Open makes one, Close ends it.
type Network struct {
	hub     netns.NsHandle
	control *netlink.Handle // of the hub
	most    int             // hosts

	mu    sync.Mutex
	hosts []*Host // guarded by mu
	added int     // hosts that had a number of their own; guarded by mu
	free  []int   // numbers of hosts that were removed, the one that was first; guarded by mu
}

// Host is one host of a Network.
type Host struct {
	number    int
	address   string
	namespace netns.NsHandle
	filter    *filter
	turns     *turns
}

// Open makes a network without hosts. The error is ErrUnavailable, saying why.
func Open() (n *Network, err error) {
	hub, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	n = &Network{hub: hub, most: HostsMax}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), n.Close())
		}
	}()
	if n.control, err = netlink.NewHandleAt(hub); err != nil {
		return n, err
	}
	// Without a hardware address of its own it would change with the hosts.
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: switchName, HardwareAddr: hardware(1)}}
	if err := n.control.LinkAdd(bridge); err != nil {
		return n, fmt.Errorf("switch: %w", err)
	}
	if err := try(hub); err != nil {
		return n, err
	}
	return n, bringUp(n.control, switchName, address(1))
}

// try tries the filter and the turns where they do no harm: without them there is no use in the rest.
func try(hub netns.NsHandle) error {
	filter, err := newFilter(hub)
	if err != nil {
		return err
	}
	if _, err := filter.heal(); err != nil {
		return err
	}
	turns, err := newTurns(hub)
	if err != nil {
		return err
	}
	return turns.set(address(0), 1)
}

func address(host int) string { return fmt.Sprintf("%s%d", subnet, host) }

func hardware(host int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, byte(host)} }

// bringUp gives a link its address, and starts it and the loopback.
func bringUp(control *netlink.Handle, name, address string) error {
	for _, each := range []string{"lo", name} {
		link, err := control.LinkByName(each)
		if err != nil {
			return fmt.Errorf("link %s: %w", each, err)
		}
		if each == name {
			net := &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(prefixLength, 32)}
			if err := control.AddrAdd(link, &netlink.Addr{IPNet: net}); err != nil {
				return fmt.Errorf("address %s: %w", address, err)
			}
		}
		if err := control.LinkSetUp(link); err != nil {
			return fmt.Errorf("link %s: %w", each, err)
		}
	}
	return nil
}

// Add makes a host. Its address is new until HostsMax were made; then it is that of the host whose removal is longest
// ago.
func (n *Network) Add() (*Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.hosts) >= n.most {
		return nil, fmt.Errorf("namespaces: more than %d hosts", n.most)
	}
	namespace, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	h := &Host{number: n.number(), namespace: namespace}
	h.address = address(h.number)
	n.hosts = append(n.hosts, h)
	if err = n.plug(h, h.port()); err == nil {
		h.filter, err = newFilter(namespace)
	}
	if err == nil {
		h.turns, err = newTurns(namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("namespaces: host %s: %w", h.address, err)
	}
	return h, nil
}

// number takes a host's number; 1 is the hub.
func (n *Network) number() int {
	if n.added < n.most {
		n.added++
		return n.added + 1
	}
	number := n.free[0]
	n.free = n.free[1:]
	return number
}

func (h *Host) port() string { return fmt.Sprintf("port%d", h.number) }

// Remove unplugs a host, which nobody reaches any more, and gives its namespace up. Removing it twice is harmless.
func (n *Network) Remove(h *Host) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := slices.Index(n.hosts, h)
	if at < 0 {
		return nil
	}
	n.hosts = slices.Delete(n.hosts, at, at+1)
	n.free = append(n.free, h.number)
	var err error
	for _, other := range n.hosts {
		err = errors.Join(err, other.turns.set(h.address, 0))
	}
	cable, failed := n.control.LinkByName(h.port())
	if failed == nil {
		failed = n.control.LinkDel(cable)
	}
	if err = errors.Join(err, failed, h.namespace.Close()); err != nil {
		return fmt.Errorf("namespaces: remove host %s: %w", h.address, err)
	}
	return nil
}

// plug lays a cable from the switch to a host.
func (n *Network) plug(h *Host, port string) error {
	bridge, err := n.control.LinkByName(switchName)
	if err != nil {
		return err
	}
	cable := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index},
		PeerName:  hostLinkName, PeerNamespace: netlink.NsFd(int(h.namespace)),
		// Who has the address of one that is gone has its hardware's too: others still know that for a while.
		PeerHardwareAddr: hardware(h.number),
	}
	if err := n.control.LinkAdd(cable); err != nil {
		return fmt.Errorf("cable: %w", err)
	}
	if err := n.control.LinkSetUp(cable); err != nil {
		return fmt.Errorf("cable: %w", err)
	}
	control, err := netlink.NewHandleAt(h.namespace)
	if err != nil {
		return err
	}
	defer control.Close()
	return bringUp(control, hostLinkName, h.address)
}

// Address is the host's, for others of its network.
func (h *Host) Address() string { return h.address }

// Do calls a function inside the host: sockets that it opens and processes that it starts belong there. The function
// must do that on the goroutine that it is called on.
func (h *Host) Do(f func() error) error { return within(h.namespace, f) }

// Do calls a function at the switch, from where every host is reached, whatever is dropped between them.
func (n *Network) Do(f func() error) error { return within(n.hub, f) }

// Drop lets nothing that one host sends arrive at the other, until Heal.
func (n *Network) Drop(from, to *Host) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := to.filter.drop(from.address); err != nil {
		return fmt.Errorf("namespaces: drop from %s to %s: %w", from.address, to.address, err)
	}
	return nil
}

// Dropped is how many packets were dropped since the last Heal.
func (n *Network) Dropped() (uint64, error) { return n.each((*filter).dropped) }

// Heal lets everything pass again and returns how many packets were dropped.
func (n *Network) Heal() (uint64, error) { return n.each((*filter).heal) }

func (n *Network) each(do func(*filter) (uint64, error)) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	total := uint64(0)
	for _, h := range n.hosts {
		packets, err := do(h.filter)
		if err != nil {
			return total, fmt.Errorf("namespaces: filter of %s: %w", h.address, err)
		}
		total += packets
	}
	return total, nil
}

// Close gives the namespaces up. They are gone when the processes in them are.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.control != nil {
		n.control.Close()
		n.control = nil
	}
	var err error
	for _, h := range n.hosts {
		err = errors.Join(err, h.namespace.Close())
	}
	n.hosts = nil
	if n.hub.IsOpen() {
		err = errors.Join(err, n.hub.Close())
	}
	if err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	return nil
}

// newNamespace makes a namespace that nobody is in.
func newNamespace() (made netns.NsHandle, err error) {
	made = netns.None()
	err = elsewhere(func() error {
		made, err = netns.New()
		return err
	})
	return made, err
}

// within calls a function with its thread in a namespace.
func within(namespace netns.NsHandle, f func() error) error {
	return elsewhere(func() error {
		if err := netns.Set(namespace); err != nil {
			return fmt.Errorf("namespaces: enter: %w", err)
		}
		return f()
	})
}

// elsewhere calls a function that may change the namespace of its thread, and changes it back. Where that fails the
// thread stays locked, and so ends with its goroutine.
func elsewhere(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = home.Close() }()
	err = f()
	if back := netns.Set(home); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}
