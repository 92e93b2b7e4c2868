package chaos

import (
	"errors"

	"github.com/viewline/viewline/internal/faultproxy"
)

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
	n.mu.Lock()
	defer n.mu.Unlock()
	total := n.ended
	for _, proxy := range n.links {
		total = total.Plus(proxy.Counts())
	}
	return total
}

// heal lets everything pass again.
func (n *network) heal() error {
	for _, l := range n.all() {
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
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	for _, proxy := range n.links {
		err = errors.Join(err, proxy.Close())
	}
	if n.spaces != nil {
		err = errors.Join(err, n.spaces.Close())
	}
	return err
}
