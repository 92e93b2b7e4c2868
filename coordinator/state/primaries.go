package state

import (
	"errors"
	"slices"
)

// ErrStranger is what Report returns for a primary that is no member of its group, by number and address.
var ErrStranger = errors.New("coordinator/state: not a member of that group")

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
	known []Primary // ascending by group
}

// Report takes a report and returns whether it is news: the newest (epoch, view) wins, and a view has one
// primary. Only a member of the group, as the map names it, is believed.
func (p *Primaries) Report(current *Map, primary Primary) (news bool, err error) {
	if current == nil {
		return false, ErrStranger
	}
	group := current.Group(primary.Group)
	if group == nil {
		return false, ErrStranger
	}
	if member, found := group.Member(primary.Replica); !found || member.Address != primary.Address {
		return false, ErrStranger
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
