package cluster

import "fmt"

// groupConfig is what is configured of one group, wherever that stands.
type groupConfig struct {
	name                     string // for people
	backend, durability, log string
	leases                   *bool
	members                  []Member
	// witness: it is configured of a newcomer who is to be one.
	witness bool
}

// validate names the first thing that is wrong, or returns nil; addresses holds who uses which, over all groups.
func (g *groupConfig) validate(addresses map[string]string) error {
	backend, err := backendOf(g.backend)
	if err != nil {
		return err
	}
	if err := validateMembers(g.name, g.members, addresses); err != nil {
		return err
	}
	if err := backend.refuse(g); err != nil {
		return err
	}
	return g.validateDurability()
}

// validateDurability refuses a group that no crash of a replica is survived in: one would stop it for good.
func (g *groupConfig) validateDurability() error {
	if g.durability != "sync" && len(g.members) < 3 {
		return fmt.Errorf("%w: %s has %d replicas; durability %s needs 3, so that those that crash can recover from the others",
			ErrConfig, g.name, len(g.members), g.durability)
	}
	return nil
}
