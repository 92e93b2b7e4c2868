package state

import (
	"errors"
	"slices"

	"github.com/viewline/viewline/internal/omit"
)

// Errors of a report that is not believed.
var (
	// ErrStranger: the primary is none of the members of its group that may be one, by number and address.
	ErrStranger = errors.New("coordinator/state: not a member of that group")
	// ErrEpoch: the primary's epoch is not the one that the map has.
	ErrEpoch = errors.New("coordinator/state: not the group's present epoch")
)

// Primary is what a primary said of itself.
type Primary struct {
	Group   uint32
	Epoch   uint64
	View    uint64
	Replica uint32
	Address string
}

// newer reports whether p is of a later (epoch, view).
func (p Primary) newer(other Primary) bool {
	if p.Epoch != other.Epoch {
		return p.Epoch > other.Epoch
	}
	return p.View > other.View
}

// Primaries is who reported to be primary. It is soft state: never logged, gone with the process, and advice to
// whoever reads it. Its size is bounded by the map's groups. The zero value is ready.
type Primaries struct {
	omit  omit.Set
	known []Primary // ascending by group
}

// NewPrimaries returns an empty one.
func NewPrimaries(options Options) Primaries { return Primaries{omit: options.Omit} }

// Check judges what a primary says of itself and, unless named is nil, of its group. It returns the change that is to be
// applied before Report can take it, or nil. The errors are ErrStranger, ErrEpoch and ErrLayout.
func (p *Primaries) Check(current *Map, primary Primary, named *Group) (*ChangeGroup, error) {
	if current == nil {
		return nil, ErrStranger
	}
	known := current.Group(primary.Group)
	switch {
	case known == nil:
		return nil, ErrStranger
	case primary.Epoch < known.Epoch:
		return nil, ErrEpoch
	case primary.Epoch == known.Epoch:
		return nil, p.member(known, primary)
	case named == nil:
		return nil, ErrEpoch // it may be right, and nobody can tell
	}
	if named.ID != primary.Group || named.Epoch != primary.Epoch {
		return nil, malformed("the primary of group %d in epoch %d names the members of group %d in epoch %d",
			primary.Group, primary.Epoch, named.ID, named.Epoch)
	}
	if err := named.Validate(); err != nil {
		return nil, err
	}
	if err := p.member(named, primary); err != nil {
		return nil, err
	}
	return &ChangeGroup{Group: *named}, nil
}

// member refuses who is not a member of the group that can be primary.
func (p *Primaries) member(group *Group, primary Primary) error {
	member, found := group.Member(primary.Replica)
	if (!found || member.Address != primary.Address || member.Witness) && !p.omit.Has(RuleReporterBelongs) {
		return ErrStranger
	}
	return nil
}

// Report takes a report and returns whether it is news: the newest (epoch, view) wins, and a view has one primary. Only a
// primary of the epoch that the map has is believed; Check says what has to come first.
func (p *Primaries) Report(current *Map, primary Primary) (news bool, err error) {
	if _, err := p.Check(current, primary, nil); err != nil {
		return false, err
	}
	at, found := slices.BinarySearchFunc(p.known, primary.Group, func(k Primary, group uint32) int { return compare(k.Group, group) })
	if !found {
		p.known = slices.Insert(p.known, at, primary)
		return true, nil
	}
	if !primary.newer(p.known[at]) {
		return false, nil
	}
	p.known[at] = primary
	return true, nil
}

// Keep forgets those whose epoch is over in the map.
func (p *Primaries) Keep(current *Map) {
	if current == nil || p.omit.Has(RulePresentEpoch) {
		return
	}
	p.known = slices.DeleteFunc(p.known, func(k Primary) bool {
		group := current.Group(k.Group)
		return group == nil || group.Epoch != k.Epoch
	})
}

// All returns what is known, ascending by group, in a new slice.
func (p *Primaries) All() []Primary { return slices.Clone(p.known) }

// Of returns the primary of a group.
func (p *Primaries) Of(group uint32) (Primary, bool) {
	at, found := slices.BinarySearchFunc(p.known, group, func(k Primary, group uint32) int { return compare(k.Group, group) })
	if !found {
		return Primary{}, false
	}
	return p.known[at], true
}

// Forget drops everything.
func (p *Primaries) Forget() { p.known = nil }
