package vr

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// judgeDamage says loudly what a storage has lost, and whether this replica may start all the same. What the others
// have it recovers from them; nobody has what a group of one has lost.
func (r *Replica) judgeDamage(loaded *Loaded) error {
	r.counters.forced.Store(uint64(len(loaded.Forced)))
	for _, line := range loaded.Forced {
		r.options.Logger.Warn("this replica was forced to start from what it had", "group", r.options.Group, "replica", r.options.Self, "when", line)
	}
	if len(loaded.Damage) == 0 {
		return nil
	}
	r.counters.damages.Add(uint64(len(loaded.Damage)))
	var found error
	for _, damage := range loaded.Damage {
		r.options.Logger.Error("the storage is damaged", "group", r.options.Group, "replica", r.options.Self, "file", damage.File,
			"first", damage.First, "last", damage.Last, "error", damage.Err)
		found = errors.Join(found, damage.Err)
	}
	switch {
	case r.options.RefuseDamage:
		return fmt.Errorf("vr: load: repair is refused: %w", found)
	case r.options.isAlone(loaded):
		return fmt.Errorf("vr: load: there is no other member to repair it from: %w", found)
	}
	return nil
}

// isAlone reports whether the newest epoch that a storage knows of has this replica as its only member.
func (o Options) isAlone(loaded *Loaded) bool {
	alone, epoch := len(o.Members) == 1 && !o.Joining, core.EpochNumber(0)
	for _, record := range []core.EncodedMembership{loaded.HardState.Membership, loaded.Checkpoint.Membership} {
		if m, err := record.Decode(); err == nil && m.Epoch >= epoch {
			alone, epoch = len(m.Members) == 1 && m.Has(core.ReplicaID(o.Self)), m.Epoch
		}
	}
	return alone
}

// reasonToRecover is what Status says of a replica that recovers.
func (o Options) reasonToRecover(loaded *Loaded) string {
	if len(loaded.Damage) == 0 {
		return fmt.Sprintf("it did not stop cleanly, and in %v may have lost what it acknowledged", o.Durability)
	}
	reason := ""
	for i, damage := range loaded.Damage {
		if i > 0 {
			reason += "; "
		}
		reason += fmt.Sprintf("%s is damaged: operations %d to %d are lost here", damage.File, damage.First, damage.Last)
	}
	return reason
}

// repaired notes that a replica which recovered has everything again.
func (o *owner) repaired(status *core.ReplicaStatus) {
	o.options.Logger.Info("recovered", "group", o.options.Group, "replica", o.options.Self, "view", status.View, "op", status.Op, "reason", o.reason)
	if o.damaged {
		o.counters.repairs.Add(1)
		o.damaged = false
	}
}

// checkpointDamaged drops a checkpoint that turned out to be damaged when a peer asked for it: the state is here, and a
// new checkpoint of it takes the place of the damaged one. Whoever asked asks again, or somebody else.
func (o *owner) checkpointDamaged(err error) {
	o.counters.damages.Add(1)
	o.options.Logger.Error("the checkpoint is damaged; a new one is written", "group", o.options.Group, "replica", o.options.Self, "error", err)
	o.renewing = true
}

// recoveringReason is the reason while it is one.
func (r *Replica) recoveringReason(described *replication.Status) string {
	if described.Protocol != core.StatusRecovering.String() {
		return ""
	}
	return r.reason
}
