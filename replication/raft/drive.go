package raft

import (
	"context"
	"maps"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// drivesPerTimeout is how often in a ViewChangeTimeout a replica looks whether there is something to do about the members:
// who is none has to be one that is heard.
const drivesPerTimeout = 4

// newcomerPatience is for how many of ViewChangeTimeout a newcomer gets the log that asks for it no more.
const newcomerPatience = 10

// drive has hashicorp/raft's configuration follow the members, wherever the leader of the library is, and the transport reach
// those who matter.
func (r *Replica) drive() {
	tick := time.NewTicker(r.options.ViewChangeTimeout / drivesPerTimeout)
	defer tick.Stop()
	reached := r.contacts()
	for {
		select {
		case <-tick.C:
			r.askWho()
		case <-r.looking:
		case <-r.stopping:
			return
		}
		if contacts := r.contacts(); !maps.Equal(contacts, reached) {
			r.options.Transport.Reach(contacts)
			reached = contacts
		}
		for r.ended() == nil && r.stepOn() {
		}
	}
}

// look has the driver look; it does not block.
func (r *Replica) look() {
	select {
	case r.looking <- struct{}{}:
	default: // it has one
	}
}

// contacts are whom the transport is to reach, with their addresses where they are known.
func (r *Replica) contacts() map[replication.ReplicaID]string {
	contacts := map[replication.ReplicaID]string{}
	for _, id := range r.options.Members {
		contacts[id] = ""
	}
	if r.raft != nil {
		for _, server := range r.raft.GetConfiguration().Configuration().Servers {
			contacts[replicaID(server.ID)] = ""
		}
	}
	for _, members := range []*membership{r.machine.members.Load(), r.newestMembers()} {
		for _, member := range members.Members {
			contacts[member.ID] = member.Address
		}
	}
	delete(contacts, r.options.Self)
	return contacts
}

// stepOn does what is next, and reports whether it did something.
func (r *Replica) stepOn() bool {
	term := r.raft.CurrentTerm()
	if r.raft.State() != hraft.Leader || r.settledTerm.Load() != term {
		return false
	}
	s := r.scene(term)
	r.rpc.hearing.forgetBut(s.configuration.Servers)
	next := nextStep(s)
	if next.deed == deedNone {
		return false
	}
	err := r.do(next)
	r.options.Logger.Info("configuration", "group", r.options.Group, "replica", r.options.Self, "deed", next.deed.String(),
		"server", string(next.server.server()), "error", err)
	return err == nil
}

// scene is what the leader of a term sees.
func (r *Replica) scene(term uint64) *scene {
	o, hearing := r.options, r.rpc.hearing
	members := r.machine.members.Load()
	return &scene{
		self: o.self(), members: members, configuration: r.raft.GetConfiguration().Configuration(),
		newcomers: hearing.newcomers(newcomerPatience*o.ViewChangeTimeout, members.admits),
		heard:     func(p peer) bool { return hearing.within(p, o.ViewChangeTimeout) },
		caughtUp: func(p peer) bool {
			few := uint64(o.BatchEntriesMax) * uint64(o.InFlightMax)
			return hearing.within(p, o.ViewChangeTimeout) && hearing.match(p.server(), term)+few >= r.raft.LastIndex() && hearing.match(p.server(), term) > 0
		},
	}
}

// do does a step and waits until it is committed.
func (r *Replica) do(next step) error {
	p, wait := next.server, r.options.RequestTimeout
	switch next.deed {
	case deedAdd:
		return r.raft.AddNonvoter(p.server(), p.address(), 0, wait).Error()
	case deedPromote:
		return r.raft.AddVoter(p.server(), p.address(), 0, wait).Error()
	case deedRemove:
		return r.raft.RemoveServer(p.server(), 0, wait).Error()
	default:
		return r.giveWay(p)
	}
}

// giveWay has a member lead in this replica's place.
func (r *Replica) giveWay(heir peer) error {
	if !r.handing.CompareAndSwap(false, true) {
		return replication.ErrTransferUnderWay
	}
	defer r.handing.Store(false)
	return r.handTo(context.Background(), heir)
}

// String is the deed in the log.
func (d deed) String() string {
	return [...]string{"none", "hand over", "add", "promote", "remove"}[d]
}
