package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/internal/survey"
)

// errNotServing: a group of the cluster does not serve.
var errNotServing = errors.New("not every group serves")

// errNoCoordinator: nobody could be asked who is in the cluster.
var errNoCoordinator = errors.New("no coordinator answers")

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", GroupID: "use", Short: "Show every replica, and what the cluster can still lose",
		Long: `Ask every node how its replica is: its role, its view, how far its log and its commits are, and how far it lags; and,
where the members of a group have changed, its epoch: how often; and where not all have backend vr, the backend.
The last line says what the cluster can still lose. The exit code is 2 while a group does not serve.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			defer func() { err = interruptedUse(cmd.Context(), err) }()
			ctx, cancel := a.limited(cmd.Context())
			defer cancel()
			groups, err := a.groups(ctx)
			if err != nil {
				return err
			}
			replicas := survey.Ask(ctx, groups)
			assessment := survey.Assess(replicas)
			if err := a.writeStatus(replicas, assessment); err != nil {
				return err
			}
			if assessment.Health == survey.Waiting || assessment.Health == survey.Down {
				return errNotServing
			}
			return nil
		},
	}
}

// groups asks the coordinator who is in the cluster.
func (a *app) groups(ctx context.Context) (groups []survey.Group, err error) {
	if err := a.secure(); err != nil {
		return nil, err
	}
	router, err := route.Open(ctx, route.Options{Coordinators: a.coordinators})
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", errNoCoordinator, strings.Join(a.coordinators, ", "), err)
	}
	defer func() { err = errors.Join(err, router.Close()) }()
	current := router.Map()
	add := func(id uint32) {
		group := survey.Group{ID: id}
		for _, member := range current.Members(id) {
			group.Members = append(group.Members, survey.Member{Replica: member.Replica, Address: member.Address, Witness: member.Witness})
		}
		groups = append(groups, group)
	}
	add(route.CoordinatorGroup)
	for _, shard := range current.Shards() {
		add(uint32(shard))
	}
	return groups, nil
}

func (a *app) writeStatus(replicas []survey.Replica, assessment survey.Assessment) error {
	if a.output == "json" {
		return a.json(map[string]any{"replicas": replicas, "assessment": assessment})
	}
	columns := []string{"group", "replica", "address", "role", "state", "durability", "log", "view", "op", "commit", "lag"}
	// Most clusters have one backend, and most groups keep the members that they began with.
	others := slices.ContainsFunc(replicas, func(r survey.Replica) bool { return r.Backend != "" && r.Backend != cluster.BackendVR })
	epochs := slices.ContainsFunc(replicas, func(r survey.Replica) bool { return r.Epoch > 0 })
	if epochs {
		columns = slices.Insert(columns, epochColumn, "epoch")
	}
	if others {
		columns = slices.Insert(columns, backendColumn, "backend")
	}
	rows := make([][]any, len(replicas))
	for i := range replicas {
		if rows[i] = statusRow(&replicas[i]); epochs {
			rows[i] = slices.Insert(rows[i], epochColumn, epochOf(&replicas[i]))
		}
		if others {
			rows[i] = slices.Insert(rows[i], backendColumn, any(orDash(replicas[i].Backend)))
		}
	}
	if err := a.table(columns, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\n%s\n", assessment.Sentence)
	return err
}

// Where the epoch and the backend stand, if they do: the epoch is put in first.
const (
	epochColumn   = 7
	backendColumn = 5
)

func epochOf(r *survey.Replica) any {
	if r.Error != "" {
		return "-"
	}
	return r.Epoch
}

func statusRow(r *survey.Replica) []any {
	group := fmt.Sprintf("shard %d", r.Group)
	if r.Group == route.CoordinatorGroup {
		group = "coordinator"
	}
	if r.Error != "" {
		return []any{group, r.Replica, r.Address, "-", "no answer", "-", "-", "-", "-", "-", "-"}
	}
	state := r.Status
	switch {
	case r.Failure != "":
		state += ": " + r.Failure
	case r.Reason != "":
		state += ": " + r.Reason
	case r.Serving:
		state += ", serving"
	}
	if r.Counters["forced"] > 0 {
		state += ", was forced"
	}
	return []any{group, r.Replica, r.Address, r.Role, state, r.Durability, r.Log, r.View, r.Op, r.Commit, r.Lag}
}
