package namespaces

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
)

// mark is on every packet of a connection that Host.Dial makes: no turn is for it.
const mark = 1

// Where an IPv4 header has its receiver.
const (
	receiverOffset = 16
	receiverBytes  = 4
)

// turns lead new connections from one namespace to some addresses to ports of its own.
type turns struct {
	netlink *nftables.Conn
	table   *nftables.Table
	chain   *nftables.Chain
	ports   map[string]uint16 // by address
}

func newTurns(namespace netns.NsHandle) (*turns, error) {
	connection, err := nftables.New(nftables.WithNetNSFd(int(namespace)))
	if err != nil {
		return nil, fmt.Errorf("turns: %w", err)
	}
	t := &turns{netlink: connection, ports: map[string]uint16{}}
	t.table = connection.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "turns"})
	t.chain = connection.AddChain(&nftables.Chain{
		Name: "out", Table: t.table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	if err := connection.Flush(); err != nil {
		return nil, fmt.Errorf("turns: %w", err)
	}
	return t, nil
}

// set turns what goes to an address to a port, or no more if that is 0. All rules change at once.
func (t *turns) set(address string, port uint16) error {
	if t.ports[address] == port {
		return nil
	}
	t.ports[address] = port
	if port == 0 {
		delete(t.ports, address)
	}
	t.netlink.FlushChain(t.chain)
	for _, address := range slices.Sorted(maps.Keys(t.ports)) {
		t.netlink.AddRule(&nftables.Rule{Table: t.table, Chain: t.chain, Exprs: rule(address, t.ports[address])})
	}
	return t.netlink.Flush()
}

// rule is for TCP to an address without the mark.
func rule(address string, port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syscall.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: receiverOffset, Len: receiverBytes},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.ParseIP(address).To4()},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}

// Turn has connections that one host makes to another from now on arrive at a port of its own loopback; 0: no more.
// Host.Dial still reaches the other.
func (n *Network) Turn(from, to *Host, port uint16) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := from.turns.set(to.address, port); err != nil {
		return fmt.Errorf("namespaces: turn from %s to %s: %w", from.address, to.address, err)
	}
	return nil
}

// Dial connects from this host, past every turn.
func (h *Host) Dial(ctx context.Context, address string) (connection net.Conn, err error) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var marking error
		err := raw.Control(func(socket uintptr) {
			marking = syscall.SetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_MARK, mark)
		})
		return errors.Join(err, marking)
	}}
	err = h.Do(func() (err error) {
		connection, err = dialer.DialContext(ctx, "tcp", address)
		return err
	})
	return connection, err
}
