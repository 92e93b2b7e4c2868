package process

import (
	"errors"
	"fmt"
	"slices"

	"github.com/viewline/viewline/cluster"
)

// Groups are all groups, the coordinator's first, with the members that they began with or that SetMembers has named since.
func (c *Cluster) Groups() []cluster.Group {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.groups)
}

func (c *Cluster) all() []*child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.children)
}

// Adopt starts the node of a file that was set up beside the others, such as a newcomer's, which is no member yet.
func (c *Cluster) Adopt(file string) (Node, error) {
	config, err := cluster.ReadNodeConfig(file)
	if err != nil {
		return Node{}, err
	}
	child := newChild(c.options, file, config)
	if _, err := c.find(child.node); err == nil {
		return child.node, fmt.Errorf("process: there is a %v already", child.node)
	}
	if err := child.start(); err != nil {
		return child.node, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.children = append(c.children, child)
	return child.node, nil
}

// Forget has a node be none of the cluster's any more; its process, if it has one, is killed. The directory stays.
func (c *Cluster) Forget(node Node) error {
	found, err := c.find(node)
	if err != nil {
		return err
	}
	if err := found.kill(); err != nil && !errors.Is(err, ErrNotRunning) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.children = slices.DeleteFunc(c.children, func(other *child) bool { return other == found })
	return nil
}

// SetMembers says who the members of a group are from now on, ascending: those whom surveys ask, and who has to be well.
func (c *Cluster) SetMembers(group uint32, members []cluster.GroupMember) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups = slices.Clone(c.groups)
	for i := range c.groups {
		if c.groups[i].ID == group {
			c.groups[i].Members = members
		}
	}
}
