package namespaces

import (
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
)

// Where an IPv4 header has its sender.
const (
	senderOffset = 12
	senderBytes  = 4
)

// filter is the packet filter of one namespace: what comes in from some addresses is dropped.
type filter struct {
	netlink *nftables.Conn
	table   *nftables.Table
	chain   *nftables.Chain
}

func newFilter(namespace netns.NsHandle) (*filter, error) {
	connection, err := nftables.New(nftables.WithNetNSFd(int(namespace)))
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	f := &filter{netlink: connection}
	f.table = connection.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "partitions"})
	f.chain = connection.AddChain(&nftables.Chain{
		Name: "in", Table: f.table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	if err := connection.Flush(); err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	return f, nil
}

// drop adds a rule: what comes from an address is counted and dropped.
func (f *filter) drop(address string) error {
	f.netlink.AddRule(&nftables.Rule{Table: f.table, Chain: f.chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: senderOffset, Len: senderBytes},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.ParseIP(address).To4()},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return f.netlink.Flush()
}

// dropped is how many packets the rules have counted.
func (f *filter) dropped() (uint64, error) {
	rules, err := f.netlink.GetRules(f.table, f.chain)
	if err != nil {
		return 0, err
	}
	packets := uint64(0)
	for _, rule := range rules {
		for _, part := range rule.Exprs {
			if counter, ok := part.(*expr.Counter); ok {
				packets += counter.Packets
			}
		}
	}
	return packets, nil
}

// heal removes every rule.
func (f *filter) heal() (uint64, error) {
	packets, err := f.dropped()
	if err != nil {
		return 0, err
	}
	f.netlink.FlushChain(f.chain)
	return packets, f.netlink.Flush()
}
