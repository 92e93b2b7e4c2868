package route

import (
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// learn takes the coordinator's news of primaries.
func (r *Router) learn(primaries []*pb.Primary) {
	var released []*pending
	r.mu.Lock()
	for _, wire := range primaries {
		g := r.groups[wire.GetGroup()]
		if g == nil {
			continue
		}
		if g.learn(Primary{
			Group: wire.GetGroup(), Epoch: wire.GetEpoch(), View: wire.GetView(), Replica: wire.GetReplica(), Address: wire.GetAddress(),
		}) {
			released = append(released, g.parked...)
			g.parked = nil
		}
	}
	r.tidy()
	r.mu.Unlock()
	r.release(released)
}

// adopt takes a map if it is newer. From one that is not it takes the members that have changed since: a coordinator that
// was forced to start from what it had may have lost some versions, and counts them again.
func (r *Router) adopt(m *Map) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	old := r.current.Load()
	newer := old == nil || old.Version < m.Version
	var released []*pending
	for id, known := range m.groups {
		g := r.groups[id]
		switch {
		case g == nil && newer:
			g = &groupState{}
			r.groups[id] = g
		case g == nil || !newer && known.epoch <= g.epoch:
			continue
		}
		released = append(released, g.become(known)...)
	}
	if newer {
		released = append(released, r.dropGroups(m)...)
		r.current.Store(m)
	}
	r.name()
	r.mu.Unlock()
	r.once.Do(func() { close(r.arrived) })
	r.release(released)
}

// dropGroups forgets the groups that a map does not have. The caller holds the lock.
func (r *Router) dropGroups(m *Map) (released []*pending) {
	for id, g := range r.groups {
		if m.groups[id] == nil {
			released = append(released, g.parked...)
			delete(r.groups, id)
		}
	}
	return released
}

// adoptCoordinator takes the coordinator's own members, which may be of a later epoch than the map's: who has left the
// coordinator knows of those who came after it, and of no map any more.
func (r *Router) adoptCoordinator(known *membership) {
	r.mu.Lock()
	released := r.groups[CoordinatorGroup].become(known)
	r.name()
	r.mu.Unlock()
	r.release(released)
}

// become takes the members of a group. Requests that pause are released where there is somebody else to ask.
func (g *groupState) become(known *membership) (released []*pending) {
	if g.setMembers(known.epoch, known.members) {
		released, g.parked = g.parked, nil
	}
	return released
}

// coordinators are the addresses of the coordinator's members, and their epoch.
func (r *Router) coordinators() (epoch uint64, addresses []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	g := r.groups[CoordinatorGroup]
	return g.epoch, g.members // never changed, others replace them
}

// name notes which addresses are members', and lets go of nodes at others. The caller holds the lock.
func (r *Router) name() {
	r.named, r.strays = map[string]bool{}, true
	for _, g := range r.groups {
		for _, address := range g.members {
			r.named[address] = true
		}
	}
	r.tidy()
}

// tidy lets go of the nodes that are no group's any more and that nobody uses. Those that are in use yet are looked at
// again with the next news, as are primaries that no map names yet. The caller holds the lock.
func (r *Router) tidy() {
	if !r.strays {
		return
	}
	primaries := map[string]bool{}
	for _, g := range r.groups {
		primaries[g.choose()] = true
	}
	r.strays = false
	for address, n := range r.nodes {
		switch {
		case r.named[address]:
		case primaries[address] || !n.retire():
			r.strays = true
		default:
			delete(r.nodes, address)
		}
	}
}
