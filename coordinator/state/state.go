package state

import (
	"fmt"
	"math"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// Options of a State or an Oracle. The zero value is what production runs.
type Options struct {
	// Omit takes rules out; only tests fill it.
	Omit omit.Set
}

// Operation is what the coordinator's group replicates: Bootstrap, RaiseMark or ChangeGroup.
type Operation interface{ operation() }

// Bootstrap gives the cluster its layout, once.
type Bootstrap struct{ Map *Map }

// RaiseMark raises the mark: timestamps up to it may be handed out once it is applied.
type RaiseMark struct{ Mark txn.Timestamp }

// ChangeGroup gives a group the members of a later epoch.
type ChangeGroup struct{ Group Group }

func (Bootstrap) operation()   {}
func (RaiseMark) operation()   {}
func (ChangeGroup) operation() {}

// State is the replicated state.
type State struct {
	options Options
	current *Map
	mark    txn.Timestamp
}

// New returns the empty state.
func New(options Options) *State { return &State{options: options} }

// Restore returns the state of a checkpoint; current may be nil. The error is ErrLayout.
func Restore(options Options, mark txn.Timestamp, current *Map) (*State, error) {
	if current != nil {
		if err := current.Validate(); err != nil {
			return nil, err
		}
	}
	return &State{options: options, current: current, mark: mark}, nil
}

// Map returns the layout, or nil before there is one.
func (s *State) Map() *Map { return s.current }

// Mark returns the mark: no timestamp above it was ever handed out.
func (s *State) Mark() txn.Timestamp { return s.mark }

// Apply executes an operation and returns why it had no effect, or nil. It is deterministic and total.
func (s *State) Apply(operation Operation) error {
	switch o := operation.(type) {
	case Bootstrap:
		return s.bootstrap(o.Map)
	case RaiseMark:
		return s.raise(o.Mark)
	case ChangeGroup:
		return s.changeGroup(o.Group)
	default:
		return fmt.Errorf("coordinator/state: unknown operation %T", operation)
	}
}

// bootstrap takes a layout. Several primaries may propose one before any is applied: the log's order decides.
func (s *State) bootstrap(layout *Map) error {
	if s.current != nil && !s.options.Omit.Has(RuleFirstLayout) {
		return fmt.Errorf("coordinator/state: there is a layout already")
	}
	if layout == nil {
		return malformed("there is none")
	}
	if err := layout.Validate(); err != nil {
		return err
	}
	s.current = layout
	return nil
}

// raise takes a mark. An operation of an earlier primary may be applied after one of a later primary that
// proposed a higher mark.
func (s *State) raise(mark txn.Timestamp) error {
	if mark <= s.mark && !s.options.Omit.Has(RuleMarkRises) {
		return fmt.Errorf("coordinator/state: the mark is at %d already", s.mark)
	}
	s.mark = mark
	return nil
}

// changeGroup takes the members of a group's later epoch. Reports of several primaries may be on their way at once: the
// epoch decides, not the order in which they come.
func (s *State) changeGroup(group Group) error {
	if s.current == nil {
		return fmt.Errorf("coordinator/state: there is no layout yet")
	}
	known := s.current.Group(group.ID)
	if known == nil {
		return malformed("there is no group %d", group.ID)
	}
	if err := group.Validate(); err != nil {
		return err
	}
	if group.Epoch <= known.Epoch && !s.options.Omit.Has(RuleLaterEpoch) {
		return fmt.Errorf("coordinator/state: group %d is in epoch %d already", group.ID, known.Epoch)
	}
	if s.current.Version == math.MaxUint64 {
		return malformed("there is no later version")
	}
	version := s.current.Version
	s.current = s.current.change(group)
	if s.options.Omit.Has(RuleChangeIsNews) {
		s.current.Version = version
	}
	return nil
}
