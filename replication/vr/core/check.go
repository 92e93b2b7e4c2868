package core

import (
	"fmt"
	"slices"
)

// check refuses what no correct member sends, whatever state this replica is in.
func (r *Replica) check(m *Message) error {
	switch {
	case m.Kind < KindPrepare || m.Kind > KindNewCommitted:
		return fmt.Errorf("%w: unknown kind %d", ErrRefused, m.Kind)
	case m.To != r.config.Self:
		return fmt.Errorf("%w: %w: it is for replica %d", ErrRefused, ErrStranger, m.To)
	}
	if err := r.checkIncarnation(m); err != nil {
		return err
	}
	switch {
	case m.Kind >= KindStartEpoch:
		return r.checkEpoch(m)
	case m.Epoch != r.membership.Epoch && !r.config.Omit.Has(RuleEpochOfMessage):
		return nil // it counts for nothing, whatever it says
	case !r.member && (r.config.Incarnation > 0 || r.membership.Has(r.config.Self)):
		return nil // it is for another life of this replica
	case !r.member || !slices.Contains(r.others, m.From):
		return fmt.Errorf("%w: %w: replica %d is not another member", ErrRefused, ErrStranger, m.From)
	case m.View == 0 && m.Kind != KindProbe && m.Kind != KindProbeOK:
		return fmt.Errorf("%w: %v in view 0", ErrRefused, m.Kind)
	case m.View > viewMax:
		return fmt.Errorf("%w: %w: view %d", ErrRefused, ErrViewNumber, m.View)
	case m.LastNormalView > m.View:
		return fmt.Errorf("%w: last-normal-view %d above view %d", ErrRefused, m.LastNormalView, m.View)
	case (m.Kind == KindPrepare || m.Kind == KindCommit || m.Kind == KindStartView) && r.primaryOf(m.View) != m.From:
		return fmt.Errorf("%w: %v from replica %d, which is not primary of view %d", ErrRefused, m.Kind, m.From, m.View)
	case m.Kind == KindPrepare && len(m.Entries) == 0:
		return fmt.Errorf("%w: an empty PREPARE", ErrRefused)
	case m.Kind == KindDoViewChange && r.primaryOf(m.View) != r.config.Self:
		return fmt.Errorf("%w: DOVIEWCHANGE of view %d for another primary", ErrRefused, m.View)
	}
	if err := r.checkRecovery(m); err != nil {
		return err
	}
	return checkEntries(m)
}

// checkRecovery is check for the two messages of a recovery.
func (r *Replica) checkRecovery(m *Message) error {
	logged := m.Op != 0 || m.Commit != 0 || m.Hash != 0
	switch {
	case m.Kind != KindRecovery && m.Kind != KindRecoveryResponse:
		return nil
	case len(m.Entries) > 0:
		return fmt.Errorf("%w: %v with entries", ErrRefused, m.Kind)
	case m.Kind == KindRecovery && m.First == 0:
		return fmt.Errorf("%w: RECOVERY from op-number 0", ErrRefused)
	case m.Kind == KindRecovery:
		return nil
	case m.LastNormalView != m.View:
		return fmt.Errorf("%w: RECOVERYRESPONSE of view %d by a member that is not normal in it", ErrRefused, m.View)
	case logged && r.primaryOf(m.View) != m.From && !r.config.Omit.Has(RuleRecoveryPrimary):
		return fmt.Errorf("%w: RECOVERYRESPONSE with a log from replica %d, which is not primary of view %d", ErrRefused, m.From, m.View)
	case m.Commit > m.Op:
		return fmt.Errorf("%w: RECOVERYRESPONSE with commit-number %d above op-number %d", ErrRefused, m.Commit, m.Op)
	}
	return nil
}

// checkEntries holds a suffix against its own hashes.
func checkEntries(m *Message) error {
	previous := m.PreviousHash
	for i := range m.Entries {
		e := &m.Entries[i]
		switch {
		case e.Op != m.First+OpNumber(i) || e.Op == 0:
			return fmt.Errorf("%w: entry %d in the place of %d", ErrRefused, e.Op, m.First+OpNumber(i))
		case e.View > m.View && m.Kind != KindNewCommitted || e.View == 0 || e.View > viewMax:
			return fmt.Errorf("%w: entry %d of view %d in a message of view %d", ErrRefused, e.Op, e.View, m.View)
		case !e.Follows(previous):
			return fmt.Errorf("%w: entry %d does not link to the one below", ErrRefused, e.Op)
		}
		if e.Kind == EntryReconfiguration {
			if _, err := begunBy(e); err != nil {
				return fmt.Errorf("%w: entry %d: %w", ErrRefused, e.Op, err)
			}
		}
		previous = e.Hash
	}
	last := len(m.Entries) - 1
	switch {
	case last < 0 || m.Kind == KindNewState:
		return nil
	case m.Kind == KindNewCommitted && m.Entries[last].Op > m.Commit:
		// Who learns would keep what nobody says is committed, and could not be restarted with it.
		return fmt.Errorf("%w: entry %d above commit-number %d", ErrRefused, m.Entries[last].Op, m.Commit)
	case m.Kind != KindNewCommitted && m.Entries[last].Op > m.Op:
		return fmt.Errorf("%w: entry %d above op-number %d", ErrRefused, m.Entries[last].Op, m.Op)
	}
	return nil
}
