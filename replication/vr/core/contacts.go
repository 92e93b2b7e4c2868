package core

import "slices"

// partingPatience is for how many of the longest time-outs the members of the epoch before are kept in reach, since one
// that leaves was last heard to tell of the epoch.
const partingPatience = 4

// Contacts are those whom this replica may have to write to of its own accord: the members of its epoch; for a while
// those of the one before, some of whom may leave and wait for EPOCHSTARTED; and those of a later epoch that it has heard
// of. An address is "" where none is in a membership. Ready tells when they change.
func (r *Replica) Contacts() []Member {
	contacts := slices.Clone(r.membership.Members)
	add := func(members ...Member) {
		for _, m := range members {
			if !slices.ContainsFunc(contacts, func(known Member) bool { return known.ID == m.ID }) {
				contacts = append(contacts, m)
			}
		}
	}
	if r.heard.Epoch > r.membership.Epoch {
		contacts = slices.Clone(r.heard.Members) // where it is in both, the newer address counts
		add(r.membership.Members...)
		for _, id := range r.heard.Previous {
			add(Member{ID: id})
		}
	}
	if r.parting > 0 {
		for _, id := range r.membership.Previous {
			add(Member{ID: id})
		}
	}
	return slices.DeleteFunc(contacts, func(m Member) bool { return m.ID == r.config.Self })
}

// keepInReach has the members of the epoch before be contacts, and for a while.
func (r *Replica) keepInReach() {
	r.recontact = r.recontact || r.parting == 0
	r.parting = partingPatience * r.config.ViewChangeTicksMax
}

func (r *Replica) tickContacts() {
	if r.parting > 0 {
		r.parting--
		r.recontact = r.recontact || r.parting == 0
	}
}
