package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// commandTimeout is what a command is told to wait at most.
const commandTimeout = 20 * time.Second

// operate runs one of the program's commands, as an operator would, from outside all partitions, and reads its answer.
func (r *run) operate(ctx context.Context, into any, arguments ...string) error {
	command := exec.CommandContext(ctx, r.options.Binary, append(arguments, "--output", "json", "--timeout", commandTimeout.String(),
		"--coordinators", strings.Join(r.cluster.Coordinators(), ","))...)
	if r.network.spaces != nil {
		command.Args = append(command.Args, "--insecure")
	}
	command.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "VIEWLINE_") })
	var answer, complaint bytes.Buffer
	command.Stdout, command.Stderr = &answer, &complaint
	err := r.network.outside(command.Start)
	if err == nil {
		err = command.Wait()
	}
	if err != nil {
		return fmt.Errorf("chaos: viewline %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(complaint.String()))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Bytes(), into); err != nil {
		return fmt.Errorf("chaos: viewline %s answered %.200q: %w", strings.Join(arguments, " "), answer.String(), err)
	}
	return nil
}

// groupArgument is how the command line names a group.
func groupArgument(group uint32) string {
	if group == cluster.CoordinatorGroup {
		return "coordinator"
	}
	return strconv.FormatUint(uint64(group), 10)
}

// member is a member of a group, as the command line lists it.
type member struct {
	Replica     uint32 `json:"replica"`
	Address     string `json:"address"`
	Incarnation uint64 `json:"incarnation"`
	Witness     bool   `json:"witness"`
	Epoch       uint64 `json:"epoch"`
}

// list asks who the members of a group are.
func (r *run) list(ctx context.Context, group uint32) (members []member, err error) {
	return members, r.operate(ctx, &members, "member", "list", "--group", groupArgument(group))
}

// change has the members of a group changed, by a command that is given again while it says that they were not, until they
// are those that are wanted. It returns how often the command was given.
func (r *run) change(ctx context.Context, group uint32, wanted func([]member) bool, arguments ...string) (times int, err error) {
	arguments = append([]string{"member", arguments[0], "--group", groupArgument(group)}, arguments[1:]...)
	return times, survey.Poll(ctx, func() error {
		times++
		changing := r.operate(ctx, nil, arguments...)
		members, err := r.list(ctx, group)
		switch {
		case err == nil && wanted(members):
			r.take(group, members)
			return nil
		case changing == nil && err == nil: // a list that no primary was there for may be old
			return fmt.Errorf("%w: viewline %s succeeded, and the members are %v", ErrMembers, strings.Join(arguments, " "), members)
		default:
			return errors.Join(changing, err)
		}
	})
}

// take has the members of a group be those that surveys ask.
func (r *run) take(group uint32, members []member) {
	var those []cluster.GroupMember
	for _, m := range members {
		those = append(those, cluster.GroupMember{Replica: m.Replica, Address: m.Address, Witness: m.Witness})
	}
	r.cluster.SetMembers(group, those)
}

func has(members []member, replica uint32) bool {
	return slices.ContainsFunc(members, func(m member) bool { return m.Replica == replica })
}

// newcomer sets up and starts the node of a replica that is to join a group. Of several that join at once each has to be
// named: none of them is known yet.
func (r *run) newcomer(ctx context.Context, group uint32, named bool) (node process.Node, err error) {
	if len(r.largest) == 0 {
		r.largest = map[uint32]uint32{}
	}
	r.largest[group] = max(r.largest[group], uint32(r.options.Replicas)) + 1
	node = process.Node{Group: group, Replica: r.largest[group]}
	var address string
	if r.network.spaces == nil {
		if address, err = cluster.FreeAddress(); err != nil {
			return node, err
		}
	}
	if address, err = r.network.join(node, address); err != nil {
		return node, err
	}
	var name []string
	if named {
		name = []string{"--replica", strconv.FormatUint(uint64(node.Replica), 10)}
	}
	file, err := r.setUp(ctx, node, address, name...)
	if err != nil {
		return node, err
	}
	_, err = r.cluster.Adopt(file)
	return node, err
}

// setUp has a directory made for a newcomer, or for a later life of a member, and returns the node's file.
func (r *run) setUp(ctx context.Context, node process.Node, address string, more ...string) (file string, err error) {
	var done struct {
		Replica uint32 `json:"replica"`
		Node    string `json:"node"`
	}
	err = r.operate(ctx, &done, append([]string{
		"init", "--join", groupArgument(node.Group), "--address", address, "--directory", r.home(node),
	}, more...)...)
	if err == nil && done.Replica != node.Replica {
		err = fmt.Errorf("%w: the newcomer is replica %d of group %d, not %d", ErrMembers, done.Replica, node.Group, node.Replica)
	}
	return done.Node, err
}

// home is a node's directory.
func (r *run) home(node process.Node) string { return filepath.Join(r.directory, node.String()) }
