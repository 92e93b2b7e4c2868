package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
	"github.com/viewline/viewline/txn"
)

// mending undoes what was done to nodes, and notes what came of it.
type mending func(ctx context.Context, nodes []process.Node, done *Fault) error

// fault is one way to hurt a group.
type fault struct {
	kind  string
	name  string
	group uint32
	// hurt does it and names who was hurt; mend undoes it.
	hurt func(ctx context.Context, group uint32) ([]process.Node, error)
	mend mending
	// early: nothing can commit before it is mended.
	early bool
}

// faults are those of one round that were asked for.
func (r *run) faults(round int) []fault { return r.chosen(r.allFaults(round)) }

func (r *run) chosen(faults []fault) []fault {
	return slices.DeleteFunc(faults, func(f fault) bool { return !r.options.asksFor(f.kind) })
}

// allFaults are in order in the first round, which every run has, and after it in any order, with those of processes on
// links that may be slow, and where a group can bear two faults at once with two.
func (r *run) allFaults(round int) []fault {
	all, members := r.processFaults(), r.memberFaults(round)
	switch r.result.Partitions {
	case PartitionsOff:
		return append(all, members...)
	case PartitionsProxy:
		members = nil // newcomers have no proxies, so that they come at the end of the run
	}
	links := r.linkFaults(round)
	if round == 0 {
		return slices.Concat(all, links, members)
	}
	for i := range all {
		all[i] = r.inWeather(all[i])
	}
	if r.options.Replicas >= twoFaultsMin {
		for i := range links {
			links[i] = r.withVictim(links[i])
		}
	}
	all = slices.Concat(all, links, members)
	r.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// processFaults are those of processes.
func (r *run) processFaults() []fault {
	var all []fault
	for _, shard := range r.cluster.Shards() {
		all = append(all, fault{kind: "kill", name: fmt.Sprintf("kill -9 of shard %d's primary", shard), group: shard, hurt: r.killPrimary, mend: r.restart})
	}
	all = append(all, fault{kind: "kill", name: "kill -9 of the coordinator's primary", group: cluster.CoordinatorGroup, hurt: r.killPrimary, mend: r.restart})
	shards := r.cluster.Shards()
	whole := shards[len(shards)-1]
	ofAll := fault{kind: "kill-all", name: fmt.Sprintf("kill -9 of all of shard %d", whole), group: whole, hurt: r.killAll, mend: r.restart, early: true}
	if r.options.Durability != "sync" {
		ofAll.kind, ofAll.name, ofAll.hurt = "end-all", fmt.Sprintf("SIGTERM of all of shard %d", whole), r.endAll
	}
	return append(all, ofAll,
		fault{kind: "end", name: fmt.Sprintf("SIGTERM of shard %d's primary", whole), group: whole, hurt: r.endPrimary, mend: r.restart},
		fault{kind: "stop", name: fmt.Sprintf("SIGSTOP of shard %d's primary", shards[0]), group: shards[0], hurt: r.stopPrimary, mend: r.continueProbed},
		fault{kind: "stop", name: "SIGSTOP of the coordinator's primary", group: cluster.CoordinatorGroup, hurt: r.stopPrimary, mend: r.continueProbed})
}

// suffer does one fault, measures, mends it, and waits until the cluster is whole and has done enough since.
func (r *run) suffer(ctx context.Context, f fault) error {
	nodes, err := f.hurt(ctx, f.group)
	if err != nil {
		return err
	}
	before := r.ledger.Counts().Committed
	next := r.ledger.NextCommit(txn.ShardID(f.group))
	done := Fault{Kind: f.kind, Name: f.name}
	for _, node := range nodes {
		done.Nodes = append(done.Nodes, node.String())
	}
	if f.early {
		if err := f.mend(ctx, nodes, &done); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, commitTimeout)
	done.NextCommit, err = next(limited)
	cancel()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrStuck, f.name, err)
	}
	if !f.early {
		if err := f.mend(ctx, nodes, &done); err != nil {
			return err
		}
	}
	limited, cancel = context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	if err := r.cluster.AwaitWhole(limited); err != nil {
		return fmt.Errorf("chaos: after %s: %w", f.name, err)
	}
	err = survey.Poll(limited, func() error {
		if done.Commits = r.ledger.Counts().Committed - before; done.Commits < 2*commitsAfterFaultMin {
			return fmt.Errorf("%w: %d commits after %s", ErrVoid, done.Commits, f.name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.ledger.Settle(limited, r.clerks[0]); err != nil {
		return err
	}
	r.result.Faults = append(r.result.Faults, done)
	r.result.Kinds[done.Kind]++
	r.say("%s.", done.story())
	return nil
}

// story is one fault as a sentence.
func (f *Fault) story() string {
	text := fmt.Sprintf("%s (%s): the next commit came after %d ms", f.Name, strings.Join(f.Nodes, ", "), f.NextCommit.Milliseconds())
	if f.Asked() > 0 {
		text += fmt.Sprintf("; deposed it was asked %d times past every redirect, refused %d and answered %d, "+
			"and clerks read %d times meanwhile: nothing was stale", f.Asked(), f.Refused, f.Answered, f.Gets)
	}
	if f.Changed > 0 {
		text += fmt.Sprintf("; the members were changed after %d ms", f.Changed.Milliseconds())
	}
	if f.Repeated > 0 {
		text += fmt.Sprintf(", the command given %d times more", f.Repeated)
	}
	if f.Harm > 0 {
		text += fmt.Sprintf("; %d %s", f.Harm, f.HarmOf)
	}
	return text
}

func (r *run) killPrimary(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.cluster.Kill(primary)
}

func (r *run) killAll(_ context.Context, group uint32) ([]process.Node, error) {
	nodes := r.cluster.Nodes(group)
	for _, node := range nodes {
		if err := r.cluster.Kill(node); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// endPrimary ends a primary in order: it hands over first.
func (r *run) endPrimary(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.end(ctx, primary)
}

// endAll ends all nodes of a group in order, at the same time.
func (r *run) endAll(ctx context.Context, group uint32) ([]process.Node, error) {
	nodes := r.cluster.Nodes(group)
	ended := make(chan error, len(nodes))
	for _, node := range nodes {
		go func() { ended <- r.end(ctx, node) }()
	}
	var err error
	for range nodes {
		err = errors.Join(err, <-ended)
	}
	return nodes, err
}

func (r *run) end(ctx context.Context, node process.Node) error {
	limited, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	return r.cluster.Terminate(limited, node)
}

func (r *run) restart(_ context.Context, nodes []process.Node, _ *Fault) error {
	for _, node := range nodes {
		if err := r.cluster.Restart(node); err != nil {
			return err
		}
	}
	return nil
}

// primaryWithProbe finds a primary and opens a session with questions to come, which askDeposed closes.
func (r *run) primaryWithProbe(ctx context.Context, group uint32) (process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return primary, err
	}
	r.probe, err = r.watch.openProbe(ctx, r.cluster.Address(primary), group, r.network.dialOptions())
	return primary, err
}

// stopPrimary stops a primary that has a session with questions to come; its mend is continueProbed.
func (r *run) stopPrimary(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.primaryWithProbe(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.cluster.Stop(ctx, primary)
}

// continueProbed lets a stopped primary go on, after another has taken over, and asks it directly. The first
// questions wait in its sockets while it still believes that it leads.
func (r *run) continueProbed(ctx context.Context, nodes []process.Node, done *Fault) error {
	return r.askDeposed(ctx, nodes[0], done, func() error { return r.cluster.Continue(nodes[0]) })
}

// askDeposed asks a primary directly after another has taken over; it goes on when the first questions are on their
// way. What was acknowledged before they were asked, it must not deny.
func (r *run) askDeposed(ctx context.Context, primary process.Node, done *Fault, goOn func() error) (err error) {
	defer func() {
		err = errors.Join(err, r.probe.close())
		r.probe = nil
	}()
	limited, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := r.awaitDeposed(limited, primary); err != nil {
		return err
	}
	if err := r.watch.await(limited, time.Now()); err != nil {
		return err
	}
	for range probesWaiting {
		if err := r.probe.ask(limited); err != nil {
			return err
		}
	}
	before := r.watch.gets.Load()
	if err := goOn(); err != nil {
		return err
	}
	if err := r.probe.finish(limited); err != nil {
		return err
	}
	done.Probed, done.Answered, done.Refused = true, r.probe.answered, r.probe.refused
	// Clerks may still believe in the old primary: what they get is checked as well.
	return survey.Poll(limited, func() error {
		if done.Gets = int(r.watch.gets.Load() - before); done.Gets < probesMin {
			return fmt.Errorf("%w: %d reads since it went on, need %d", ErrVoid, done.Gets, probesMin)
		}
		return r.watch.final()
	})
}

// awaitDeposed waits until another replica serves in a primary's place.
func (r *run) awaitDeposed(ctx context.Context, hurt process.Node) error {
	return survey.Poll(ctx, func() error {
		primary, err := r.cluster.Primary(ctx, hurt.Group)
		if err == nil && primary == hurt {
			err = fmt.Errorf("chaos: %v is still primary", hurt)
		}
		return err
	})
}
