package cluster

import "sync"

// link is one direction between two replicas of a group.
type link struct{ group, from, to uint32 }

// end is a replica of a group, at the end of its links.
type end struct{ group, replica uint32 }

// faults are the links of a cluster that carry nothing.
type faults struct {
	mu     sync.RWMutex
	cut    map[link]struct{}
	paused map[end]struct{} // nothing comes from or to them
}

func newFaults() faults { return faults{cut: map[link]struct{}{}, paused: map[end]struct{}{}} }

func (f *faults) pass(group, from, to uint32) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, cut := f.cut[link{group, from, to}]
	_, mute := f.paused[end{group, from}]
	_, deaf := f.paused[end{group, to}]
	return !cut && !mute && !deaf
}

func (f *faults) pause(replica end, paused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if paused {
		f.paused[replica] = struct{}{}
		return
	}
	delete(f.paused, replica)
}

func (f *faults) add(links ...link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range links {
		f.cut[l] = struct{}{}
	}
}

func (f *faults) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.cut)
}

// Cut lets nothing pass between replicas of a group in one direction. Clerks still reach both.
func (c *Cluster) Cut(group, from, to uint32) { c.faults.add(link{group, from, to}) }

// Partition lets nothing pass between two replicas of a group, either way.
func (c *Cluster) Partition(group, one, other uint32) {
	c.faults.add(link{group, one, other}, link{group, other, one})
}

// Isolate lets nothing pass between a replica and the others of its group. Clerks still reach it.
func (c *Cluster) Isolate(group, replica uint32) {
	for _, other := range c.replicas(group) {
		if other != replica {
			c.Partition(group, replica, other)
		}
	}
}

// Heal lets everything pass again, but to and from nodes that are paused.
func (c *Cluster) Heal() { c.faults.heal() }
