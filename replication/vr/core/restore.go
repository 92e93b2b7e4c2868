package core

import (
	"fmt"
	"slices"
)

// restoreEpoch finds out which epoch this replica is in, and in which view. A checkpoint of a later epoch than that of
// the hard state was made durable just before the restart: nothing was promised yet in its epoch.
func (r *Replica) restoreEpoch(restored Restored) error {
	r.hardState, r.advised = restored.HardState, r.config.Members
	r.view, r.lastNormalView = r.hardState.View, r.hardState.LastNormalView
	newest := Membership{}
	for _, record := range []EncodedMembership{r.hardState.Membership, restored.Checkpoint.Membership} {
		if record == "" {
			continue
		}
		m, err := record.Decode()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRestored, err)
		}
		if m.Epoch > newest.Epoch && record != r.hardState.Membership {
			r.view, r.lastNormalView = m.View, m.View
		}
		if m.Epoch > newest.Epoch || newest.Members == nil {
			newest = m
		}
	}
	if newest.Members != nil {
		r.setMembership(newest)
		return nil
	}
	return r.firstMembership()
}

// firstMembership goes by the configuration, which tells the members of epoch 0, or, one who is to become a member,
// whom to ask.
func (r *Replica) firstMembership() error {
	first := Membership{}
	for _, id := range r.config.Members {
		if !r.config.Joining || id != r.config.Self || r.config.Omit.Has(RuleWipedStays) {
			first.Members = append(first.Members, Member{ID: id, Witness: id == r.config.FirstWitness})
			first.LargestID = id
		}
	}
	r.setMembership(first)
	if r.config.Joining && !r.member {
		r.record = "" // it was not told
		if !r.joins() {
			return fmt.Errorf("%w: replica %d cannot join %v: a new id is above all others", ErrConfig, r.config.Self, first.IDs())
		}
	}
	return nil
}

// restoreLog takes over checkpoint and entries. Entries that the checkpoint contradicts, or that end below it,
// were overtaken by a checkpoint from another replica just before the restart, and go.
func (r *Replica) restoreLog(restored Restored) error {
	r.checkpoint = restored.Checkpoint
	entries := restored.Entries
	for i := 1; i < len(entries); i++ {
		if entries[i].Op != entries[i-1].Op+1 {
			return fmt.Errorf("%w: op-number %d follows %d", ErrRestored, entries[i].Op, entries[i-1].Op)
		}
	}
	for i := range entries {
		// Whoever is no member has what is committed, of whatever view.
		if e := &entries[i]; e.View > r.lastNormalView && e.Op > restored.HardState.Commit {
			return fmt.Errorf("%w: entry %d is of view %d, above last-normal-view %d", ErrRestored, e.Op, e.View, r.lastNormalView)
		}
	}
	r.log = log{base: r.checkpoint, unstable: r.checkpoint.Op + 1, persisted: r.checkpoint.Op}
	if len(entries) == 0 {
		// A checkpoint of another replica may have become durable just before the restart: then storage's log still
		// ends somewhere below it, and has to be told to go on from there.
		if r.checkpoint.Op > 0 {
			r.compacted = r.checkpoint.Op + 1
		}
		return nil
	}
	first, last := entries[0], entries[len(entries)-1]
	switch {
	case first.Op > r.checkpoint.Op+1:
		return fmt.Errorf("%w: the log starts at %d, the checkpoint is at %d", ErrRestored, first.Op, r.checkpoint.Op)
	case first.Op == r.checkpoint.Op+1:
		r.log.entries = slices.Clone(entries)
	default:
		// The hash below the first entry is not known any more, so the first entry itself becomes the base; but that below
		// operation 1.
		kept := log{base: CheckpointMeta{Op: first.Op, View: first.View, Hash: first.Hash}, entries: slices.Clone(entries[1:])}
		if first.Op == 1 {
			kept = log{entries: slices.Clone(entries)}
		}
		if m, err := r.checkpoint.Membership.Decode(); err == nil && m.Op <= kept.base.Op {
			kept.base.Membership = r.checkpoint.Membership
		}
		hash, ok := kept.hashAt(r.checkpoint.Op)
		if ok && hash != r.checkpoint.Hash && r.checkpoint.Op <= restored.HardState.Commit {
			return fmt.Errorf("%w: op-number %d is committed with hash %x, and has %x in the checkpoint", ErrRestored,
				r.checkpoint.Op, hash, r.checkpoint.Hash)
		}
		if !ok || hash != r.checkpoint.Hash {
			r.log.persisted = last.Op
			r.compacted = r.checkpoint.Op + 1
			return nil
		}
		r.log = kept
	}
	r.log.persisted, r.log.unstable, r.log.bytes = last.Op, last.Op+1, bytesOf(r.log.entries)
	return nil
}

// restart decides how a replica takes part again whose log has all that it acknowledged: it needs no recovery
// protocol (docs/DIVERGENCE.md).
func (r *Replica) restart() {
	r.status = StatusNormal
	r.drawTimeout()
	switch {
	case r.view > r.lastNormalView:
		r.becomeViewChange(r.view)
	case r.view > 0 && r.primaryOf(r.view) == r.config.Self:
		// It may have sent PREPAREs that it does not remember; in its old view it could give their op-numbers
		// to other operations.
		if r.config.Omit.Has(RuleNeverResume) {
			r.becomePrimary()
			return
		}
		r.becomeViewChange(r.view + 1)
	case r.view == 0:
		// Nobody was ever primary; there is no one to wait for.
		r.timeout = r.config.HeartbeatTicks + int(r.config.Rand()%uint64(r.config.HeartbeatTicks))
		if len(r.others) == 0 {
			r.becomeViewChange(1)
		}
	}
}
