package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/viewline/viewline/internal/survey"
)

// Groups are all groups with their present members, the coordinator's first.
func (c *Cluster) Groups() []Group {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.groups)
}

func (c *Cluster) group(id uint32) (Group, error) {
	groups := c.Groups()
	at := slices.IndexFunc(groups, func(g Group) bool { return g.ID == id })
	if at < 0 {
		return Group{}, fmt.Errorf("%w: no group %d", ErrOptions, id)
	}
	return groups[at], nil
}

// AddNode sets up and starts a node with a newcomer to a group, on a free loopback port, and names its replica. It catches
// up, and is a member once ChangeMembers has made it one. There may be several newcomers at a time.
func (c *Cluster) AddNode(ctx context.Context, group uint32) (replica uint32, err error) {
	return c.addNode(ctx, JoinOptions{Group: group, Replica: c.nextReplica(group)})
}

// nextReplica is above every replica of a group whose node was ever set up.
func (c *Cluster) nextReplica(group uint32) uint32 {
	for next := uint32(1); ; next++ {
		if _, err := os.Stat(c.NodeDirectory(group, next)); err != nil {
			return next
		}
	}
}

// RenewNode deletes the data of a node that does not run, as the loss of its disk does, and sets it up and starts it as a
// later life of its replica, which takes part once ChangeMembers has let it in.
func (c *Cluster) RenewNode(ctx context.Context, group, replica uint32) error {
	name := NodeName(group, replica)
	c.mu.Lock()
	runs := c.nodes[name] != nil
	c.mu.Unlock()
	if runs {
		return fmt.Errorf("cluster: %s runs", name)
	}
	config, err := ReadNodeConfig(c.nodeFile(group, replica))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(config.Data); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	_, err = c.addNode(ctx, JoinOptions{Group: group, Replica: replica, Address: config.Address()})
	return err
}

func (c *Cluster) addNode(ctx context.Context, options JoinOptions) (replica uint32, err error) {
	if options.Address == "" {
		if options.Address, err = FreeAddress(); err != nil {
			return 0, err
		}
	}
	options.Groups, options.Parent = c.Groups(), c.layout.Directory
	joined, err := Join(ctx, options)
	if err != nil {
		return 0, err
	}
	return joined.Replica, c.Restart(joined.Group, joined.Replica)
}

// ChangeMembers has a group take replicas as members, whose nodes AddNode or RenewNode has started, and let others go, in
// one change, and waits until a primary serves with them and those who went are not needed any more; their nodes go on
// running until they are ended. A replica that is in both is let in as a later life. An error may say that it is not
// known what became of it; AwaitMembers tells.
func (c *Cluster) ChangeMembers(ctx context.Context, group uint32, add, remove []uint32) error {
	found, err := c.group(group)
	if err != nil {
		return err
	}
	changing := survey.Changing{Remove: remove, Return: true}
	for _, replica := range add {
		config, err := ReadNodeConfig(c.nodeFile(group, replica))
		if err != nil {
			return err
		}
		changing.Add = append(changing.Add, config.Address())
	}
	if _, err := survey.ChangeMembers(ctx, found, changing, survey.ChangeOptions{}); err != nil {
		return err
	}
	return c.AwaitMembers(ctx, group)
}

// AwaitMembers waits until a primary of a group serves, and takes for the group's members those that it names.
func (c *Cluster) AwaitMembers(ctx context.Context, group uint32) error {
	before, err := c.group(group)
	if err != nil {
		return err
	}
	found, err := survey.AwaitMembers(ctx, before)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups = slices.Clone(c.groups)
	for i := range c.groups {
		if c.groups[i].ID == group {
			c.groups[i] = found.AsGroup()
		}
	}
	return nil
}
