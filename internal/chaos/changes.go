package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/viewline/viewline/cluster/process"
)

// replaceFault has a newcomer join while another member leaves, and hits one of the others, or the newcomer.
func (r *run) replaceFault(kind, name string, group uint32, pick func(context.Context, uint32) (process.Node, error)) fault {
	var c *changing
	var leaves, comes process.Node
	hurt := func(ctx context.Context, group uint32) (hurt []process.Node, err error) {
		if leaves, err = pick(ctx, group); err != nil {
			return nil, err
		}
		victims := without(r.cluster.Nodes(group), leaves)
		if comes, err = r.newcomer(ctx, group, false); err != nil {
			return nil, err
		}
		c, err = r.begin(ctx, append(victims, comes), true, func(ctx context.Context) (int, error) {
			return r.change(ctx, group, func(members []member) bool {
				return has(members, comes.Replica) && !has(members, leaves.Replica)
			}, "replace", strconv.FormatUint(uint64(leaves.Replica), 10), r.network.addressOf(comes))
		})
		return []process.Node{leaves}, err
	}
	mend := func(ctx context.Context, _ []process.Node, done *Fault) error {
		if err := r.finish(ctx, c, done); err != nil {
			return err
		}
		done.Nodes = append(done.Nodes, comes.String()+" came")
		return errors.Join(r.dismiss(ctx, leaves), r.verify(ctx))
	}
	return fault{kind: kind, name: fmt.Sprintf(name, groupName(group)), group: group, hurt: hurt, mend: mend}
}

// growFault has a group grow, and shrink again by any of them, with a blow in each change.
func (r *run) growFault(group uint32, most int) fault {
	var c *changing
	var come []process.Node
	hurt := func(ctx context.Context, group uint32) (hurt []process.Node, err error) {
		come = nil
		addresses := []string{"add"}
		victims := r.cluster.Nodes(group)
		for range most - r.options.Replicas {
			node, err := r.newcomer(ctx, group, true)
			if err != nil {
				return nil, err
			}
			come, addresses = append(come, node), append(addresses, r.network.addressOf(node))
		}
		c, err = r.begin(ctx, append(victims, come...), true, func(ctx context.Context) (int, error) {
			return r.change(ctx, group, func(members []member) bool {
				return !slices.ContainsFunc(come, func(node process.Node) bool { return !has(members, node.Replica) })
			}, addresses...)
		})
		return come, err
	}
	mend := func(ctx context.Context, _ []process.Node, done *Fault) error {
		if err := errors.Join(r.finish(ctx, c, done), r.verify(ctx)); err != nil {
			return err
		}
		return r.shrink(ctx, group, len(come), done)
	}
	return fault{
		kind: "grow", name: fmt.Sprintf("%s grown from %d to %d, and back", groupName(group), r.options.Replicas, most), group: group, hurt: hurt, mend: mend,
	}
}

// shrink has some drawn members leave, in one change, and hits one that stays.
func (r *run) shrink(ctx context.Context, group uint32, fewer int, done *Fault) error {
	states := r.states(group)
	r.random.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
	leave, command := states[:fewer], []string{"remove"}
	for _, node := range leave {
		command = append(command, strconv.FormatUint(uint64(node.Replica), 10))
	}
	c, err := r.begin(ctx, without(r.cluster.Nodes(group), leave...), true, func(ctx context.Context) (int, error) {
		return r.change(ctx, group, func(members []member) bool {
			return !slices.ContainsFunc(leave, func(node process.Node) bool { return has(members, node.Replica) })
		}, command...)
	})
	if err == nil {
		err = r.finish(ctx, c, done)
	}
	for _, node := range leave {
		if err == nil {
			done.Nodes = append(done.Nodes, node.String()+" left")
			err = r.dismiss(ctx, node)
		}
	}
	if err != nil {
		return err
	}
	return r.verify(ctx)
}

// wipeFault kills a replica, deletes its data, and has it come back in a later life. One of the others is hit meanwhile, so
// that the group may stand still until that is mended; where a crash loses what is not on disk yet, it is not killed.
func (r *run) wipeFault(group uint32) fault {
	var c *changing
	var wiped process.Node
	hurt := func(ctx context.Context, group uint32) (hurt []process.Node, err error) {
		wiped = r.draw(r.cluster.Nodes(group)) // a witness too
		lost := r.home(wiped)
		if r.random.IntN(2) == 0 {
			lost = filepath.Join(lost, "data") // and not the file beside it
		}
		if err := errors.Join(r.cluster.Kill(wiped), os.RemoveAll(lost)); err != nil {
			return nil, err
		}
		before, err := r.list(ctx, group)
		if err != nil {
			return nil, err
		}
		if _, err := r.setUp(ctx, wiped, r.network.addressOf(wiped), "--replica", strconv.FormatUint(uint64(wiped.Replica), 10)); err != nil {
			return nil, err
		}
		if err := r.cluster.Restart(wiped); err != nil {
			return nil, err
		}
		c, err = r.begin(ctx, without(r.cluster.Nodes(group), wiped), r.options.Durability == "sync", func(ctx context.Context) (int, error) {
			return r.change(ctx, group, func(members []member) bool { return lifeOf(members, wiped.Replica) > lifeOf(before, wiped.Replica) },
				"replace", strconv.FormatUint(uint64(wiped.Replica), 10), r.network.addressOf(wiped))
		})
		return []process.Node{wiped}, err
	}
	mend := func(ctx context.Context, _ []process.Node, done *Fault) error {
		if err := r.finish(ctx, c, done); err != nil {
			return err
		}
		return r.verify(ctx)
	}
	return fault{kind: "wipe", name: fmt.Sprintf("the disk of a replica of %s wiped", groupName(group)), group: group, hurt: hurt, mend: mend, early: true}
}
