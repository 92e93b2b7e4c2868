package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/internal/survey"
)

func (a *app) memberCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "member", GroupID: "run", Short: "See and change who the members of a group are, while it serves",
		Long: `See and change who the members of a group are, while the cluster serves: a shard, by its number, or the coordinator.

One more replica, or one for another (a machine that is replaced), in three steps:

  viewline init --join 1 --address HOST:PORT        # on its machine: makes the node's directory
  viewline shardserver --config shard-1-4/node.toml # it catches up, and takes part in nothing
  viewline member add --group 1 HOST:PORT           # or: member replace --group 1 3 HOST:PORT

A change is one step for all that it adds and removes. Newcomers have caught up before it is made, and it is refused
where the group would have no quorum afterwards; --dry-run says what would become of it. Who is removed is needed until
the command says that it has left; then its node can be stopped, and its directory deleted. A dead one can be removed too.
The primary can be removed like any other: that makes one short gap, where handing its role over first would make two.

A member whose disk was lost comes back under its own number, as a later life: init --join 1 --replica 3, then replace.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(a.memberListCommand(), a.memberAddCommand(), a.memberRemoveCommand(), a.memberReplaceCommand())
	return command
}

func (a *app) memberListCommand() *cobra.Command {
	var name string
	command := &cobra.Command{
		Use: "list", Short: "Show the members of a group, or of all",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			defer func() { err = interruptedUse(cmd.Context(), err) }()
			ctx, cancel := a.limited(cmd.Context())
			defer cancel()
			groups, err := a.pick(ctx, name)
			if err != nil {
				return err
			}
			var rows []memberRow
			for _, group := range groups {
				found, err := survey.FindMembers(ctx, group)
				if err != nil {
					return err
				}
				rows = append(rows, memberRows(&found)...)
			}
			return a.writeMembers(rows)
		},
	}
	command.Flags().StringVar(&name, "group", "", "a shard's number, or coordinator; default: all (VIEWLINE_GROUP)")
	return command
}

// memberRow is a member as it is listed.
type memberRow struct {
	Group uint32 `json:"group"`
	Epoch uint64 `json:"epoch"`
	survey.EpochMember
	Role   string `json:"role,omitempty"`
	Status string `json:"status"`
	Op     uint64 `json:"op"`
	Lag    uint64 `json:"lag"`
}

func memberRows(found *survey.Members) []memberRow {
	rows := make([]memberRow, len(found.Members))
	for i, member := range found.Members {
		r := found.Replicas[i]
		rows[i] = memberRow{found.Group, found.Epoch, member, r.Role, r.Status, r.Op, r.Lag}
		life, answered := found.Lives[member.Replica]
		switch {
		case r.Error != "":
			rows[i].Status = "no answer"
		case answered && life != member.Incarnation:
			rows[i].Status = fmt.Sprintf("another life answers, of incarnation %d", life)
		case r.Failure != "":
			rows[i].Status += ": " + r.Failure
		case r.Serving:
			rows[i].Status += ", serving"
		}
	}
	return rows
}

func (a *app) writeMembers(members []memberRow) error {
	if a.output == "json" {
		return a.json(members)
	}
	rows := make([][]any, len(members))
	for i, m := range members {
		witness := "-"
		if m.Witness {
			witness = "witness"
		}
		rows[i] = []any{groupTitle(m.Group), m.Epoch, m.Replica, m.Address, m.Incarnation, witness, orDash(m.Role), m.Status, m.Op, m.Lag}
	}
	return a.table([]string{"group", "epoch", "replica", "address", "incarnation", "witness", "role", "state", "op", "lag"}, rows)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// memberChange makes the command that changes members: read makes of its arguments what is to change.
func (a *app) memberChange(use, short string, args cobra.PositionalArgs, read func([]string) (survey.Changing, error)) *cobra.Command {
	var group string
	var dryRun bool
	command := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, arguments []string) error {
			changing, err := read(arguments)
			if err == nil && group == "" {
				err = usagef("--group is missing: a shard's number, or coordinator")
			}
			if err != nil {
				return err
			}
			return a.changeMembers(cmd.Context(), group, changing, dryRun)
		},
	}
	command.Flags().StringVar(&group, "group", "", "a shard's number, or coordinator (VIEWLINE_GROUP)")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing, and say what would become of it (VIEWLINE_DRY_RUN)")
	return command
}

func (a *app) memberAddCommand() *cobra.Command {
	return a.memberChange("add --group GROUP ADDRESS...", "Make the nodes at these addresses members", cobra.MinimumNArgs(1),
		func(arguments []string) (survey.Changing, error) {
			return survey.Changing{Add: arguments}, checkAddresses(arguments)
		})
}

func (a *app) memberRemoveCommand() *cobra.Command {
	return a.memberChange("remove --group GROUP REPLICA...", "Have these replicas be members no more", cobra.MinimumNArgs(1),
		func(arguments []string) (survey.Changing, error) {
			replicas, err := parseReplicas(arguments)
			return survey.Changing{Remove: replicas}, err
		})
}

func (a *app) memberReplaceCommand() *cobra.Command {
	return a.memberChange("replace --group GROUP REPLICA ADDRESS", "Put the node at an address in a replica's place, or a later life of it", cobra.ExactArgs(2),
		func(arguments []string) (survey.Changing, error) {
			replicas, err := parseReplicas(arguments[:1])
			if err == nil {
				err = checkAddresses(arguments[1:])
			}
			return survey.Changing{Add: arguments[1:], Remove: replicas, Return: true}, err
		})
}

// checkAddresses refuses what is no address of a node.
func checkAddresses(arguments []string) error {
	for _, argument := range arguments {
		host, port, err := net.SplitHostPort(argument)
		if number, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || number == 0 {
			return usagef("the address of the node is %q, need HOST:PORT", argument)
		}
	}
	return nil
}

func parseReplicas(arguments []string) ([]uint32, error) {
	var replicas []uint32
	for _, argument := range arguments {
		number, err := strconv.ParseUint(argument, 10, 32)
		if err != nil || number == 0 {
			return nil, usagef("the replica is %q, need its number", argument)
		}
		if slices.Contains(replicas, uint32(number)) {
			return nil, usagef("replica %d is named twice", number)
		}
		replicas = append(replicas, uint32(number))
	}
	return replicas, nil
}

// pick finds a group by the name that the command line has for it; "": all.
func (a *app) pick(ctx context.Context, name string) ([]survey.Group, error) {
	if name == "" {
		return a.groups(ctx)
	}
	id, err := parseGroup(name)
	if err != nil {
		return nil, err
	}
	groups, err := a.groups(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(groups, func(g survey.Group) bool { return g.ID == id })
	if at < 0 {
		return nil, fmt.Errorf("%w: no group %d", survey.ErrNoReplica, id)
	}
	return groups[at : at+1], nil
}

func (a *app) changeMembers(ctx context.Context, name string, changing survey.Changing, dryRun bool) (err error) {
	defer func() {
		if !errors.Is(err, survey.ErrChangeUnknown) {
			err = interrupted(ctx, err, "nothing was changed")
		}
	}()
	if err := a.secure(changing.Add...); err != nil {
		return err
	}
	limited, cancel := a.limited(ctx)
	defer cancel()
	groups, err := a.pick(limited, name)
	if err != nil {
		return err
	}
	shown := a.progress()
	done, err := survey.ChangeMembers(limited, groups[0], changing, survey.ChangeOptions{
		DryRun: dryRun, Progress: func(report []survey.ReplicaReport, why error) { shown.show("%s", waitingFor(report, why)) },
	})
	shown.clear()
	if done.Advice != "" {
		fmt.Fprintf(a.err, "note: %s\n", done.Advice)
	}
	if errors.Is(err, survey.ErrUnsettled) { // it is done for all that
		fmt.Fprintf(a.err, "note: %v; see: viewline member list --group %s\n", err, name)
		err = nil
	}
	if err != nil && !(dryRun && len(done.Report) > 0) {
		return err
	}
	return errors.Join(a.writeChanged(&done, err), err)
}

// waitingFor says in a line what keeps a change from being made.
func waitingFor(report []survey.ReplicaReport, why error) string {
	var parts []string
	for _, row := range report {
		switch {
		case row.Was && row.Ready || !row.Will:
		case !row.Heard:
			parts = append(parts, fmt.Sprintf("replica %d is not heard", row.Replica))
		default:
			parts = append(parts, fmt.Sprintf("replica %d lacks %d operations", row.Replica, row.Lag))
		}
	}
	if len(parts) == 0 && why != nil {
		parts = append(parts, why.Error())
	}
	return "waiting: " + strings.Join(parts, ", ")
}

func (a *app) writeChanged(done *survey.Changed, refusal error) error {
	if a.output == "json" {
		return a.json(done)
	}
	if done.DryRun {
		return a.writeRehearsed(done, refusal)
	}
	ids := make([]uint32, len(done.Members))
	for i, member := range done.Members {
		ids[i] = member.Replica
	}
	text := fmt.Sprintf("epoch %d of %s has begun; its members: %s", done.Epoch, groupTitle(done.Group), replicaNames(ids))
	if done.Primary != 0 {
		text += fmt.Sprintf("; replica %d serves", done.Primary)
	}
	text += "\n"
	for _, replica := range done.Left {
		text += fmt.Sprintf("replica %d has left: its node can be stopped, and its directory deleted\n", replica)
	}
	for _, replica := range done.Silent {
		text += fmt.Sprintf("replica %d does not answer, and is not needed: its directory can be deleted\n", replica)
	}
	_, err := fmt.Fprint(a.out, text)
	return err
}

// writeRehearsed tells what would become of a change.
func (a *app) writeRehearsed(done *survey.Changed, refusal error) error {
	rows := make([][]any, len(done.Report))
	for i, r := range done.Report {
		part := "stays"
		switch {
		case !r.Was:
			part = "joins"
		case !r.Will:
			part = "leaves"
		}
		rows[i] = []any{r.Replica, r.Address, part, yes(r.Heard), r.Op, r.Lag, yes(r.Ready)}
	}
	if err := a.table([]string{"replica", "address", "part", "heard", "op", "lag", "ready"}, rows); err != nil {
		return err
	}
	verdict := fmt.Sprintf("epoch %d would begin; nothing was changed", done.Epoch)
	if refusal != nil {
		verdict = "it would be refused now"
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n", verdict)
	return err
}

func yes(it bool) string {
	if it {
		return "yes"
	}
	return "no"
}

// replicaNames are numbers in a sentence.
func replicaNames(replicas []uint32) string {
	names := make([]string, len(replicas))
	for i, replica := range replicas {
		names[i] = strconv.FormatUint(uint64(replica), 10)
	}
	return strings.Join(names, ", ")
}

// groupTitle is how people are told of a group.
func groupTitle(group uint32) string {
	if group == 0 {
		return "coordinator"
	}
	return fmt.Sprintf("shard %d", group)
}
