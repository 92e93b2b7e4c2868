package survey

import (
	"errors"
	"fmt"
	"slices"
)

// ErrChange says that the members of the group cannot be changed so, why, and what to do. Nothing was changed.
var ErrChange = errors.New("survey: the members cannot be changed so")

// Changing is what is to become of a group's members.
type Changing struct {
	// Add are the addresses of newcomers' nodes, which run already. Remove are members that go.
	Add    []string
	Remove []uint32
	// Return: one of Add may be a later life of one of Remove, that keeps its place.
	Return bool
}

// plan is the next epoch's members: what the change makes of the present ones, when newcomers are who they say they are,
// each at its address.
func (c *Changing) plan(now *Membership, newcomers []Membership) ([]EpochMember, error) {
	next := slices.Clone(now.Members)
	for _, replica := range c.Remove {
		at := slices.IndexFunc(next, func(m EpochMember) bool { return m.Replica == replica })
		if at < 0 {
			return nil, fmt.Errorf("%w: replica %d is no member of group %d (its members: %s)", ErrChange, replica, now.Group, idsOf(now.Members))
		}
		next = slices.Delete(next, at, at+1)
	}
	for i := range newcomers {
		self := newcomers[i].Self
		if err := c.admits(now, &newcomers[i], c.Add[i]); err != nil {
			return nil, err
		}
		for _, other := range next {
			switch {
			case other.Replica == self.Replica:
				return nil, fmt.Errorf("%w: %s and %s both are replica %d: of two nodes that were set up with one id only one can become a member; "+
					"set the other up again, in a new directory", ErrChange, other.Address, self.Address, self.Replica)
			case other.Address == self.Address:
				return nil, fmt.Errorf("%w: replicas %d and %d both say that they are reached at %s", ErrChange, other.Replica, self.Replica, self.Address)
			}
		}
		next = append(next, self)
	}
	slices.SortFunc(next, func(a, b EpochMember) int { return int(a.Replica) - int(b.Replica) })
	switch {
	case len(next) == 0:
		return nil, fmt.Errorf("%w: group %d would have no members", ErrChange, now.Group)
	case slices.Equal(next, now.Members):
		return nil, fmt.Errorf("%w: %s are the members of group %d already", ErrChange, idsOf(next), now.Group)
	}
	return next, nil
}

// admits refuses who cannot become a member, by what its node says of itself.
func (c *Changing) admits(now, newcomer *Membership, address string) error {
	self := newcomer.Self
	member, present := now.Member(self.Replica)
	switch {
	case newcomer.Cluster != now.Cluster:
		return fmt.Errorf("%w: the node at %s is of cluster %s, not of %s: set it up with viewline init --join", ErrChange, address, newcomer.Cluster, now.Cluster)
	case newcomer.Backend != now.Backend:
		return fmt.Errorf("%w: the node at %s was set up with backend %s, and group %d has %s: remove its directory, and set it up again with viewline init --join",
			ErrChange, address, newcomer.Backend, now.Group, now.Backend)
	case present && self.Incarnation == member.Incarnation:
		return fmt.Errorf("%w: the node at %s is replica %d, a member already", ErrChange, address, self.Replica)
	case present && self.Incarnation < member.Incarnation:
		return fmt.Errorf("%w: the node at %s is an earlier life of replica %d, which is over: remove its directory, and set it up with viewline init --join",
			ErrChange, address, self.Replica)
	case present && !(c.Return && slices.Contains(c.Remove, self.Replica)):
		return fmt.Errorf("%w: the node at %s is a later life of replica %d, which is a member: viewline member replace --group %s %d %s",
			ErrChange, address, self.Replica, groupArgument(now.Group), self.Replica, address)
	case !present && self.Replica <= now.Largest:
		return fmt.Errorf("%w: the node at %s is replica %d, an id that was a member's before and is never used again: set it up again with viewline init --join",
			ErrChange, address, self.Replica)
	case self.Address == "":
		return fmt.Errorf("%w: the node at %s does not say where it is reached", ErrChange, address)
	}
	return nil
}

// Advice says what is worth knowing of a change that is allowed, or is empty.
func Advice(now, next []EpochMember) string {
	if before, after := len(now), len(next); after%2 == 0 && before != after {
		return fmt.Sprintf("%d members survive the loss of no more than %d do: an odd number is best", after, after-1)
	}
	return ""
}

func groupArgument(group uint32) string {
	if group == 0 {
		return "coordinator"
	}
	return fmt.Sprint(group)
}

func idsOf(members []EpochMember) string {
	ids := make([]uint32, len(members))
	for i := range members {
		ids[i] = members[i].Replica
	}
	return list(ids)
}
