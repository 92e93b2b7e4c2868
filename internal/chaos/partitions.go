package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
	"github.com/viewline/viewline/internal/survey"
)

// How long the links stay hurt at least: drawn between these.
const (
	hurtMin = time.Second
	hurtMax = 3 * time.Second
)

// linkFaults are those of the links, over the groups in turn: each round has the next group for each.
func (r *run) linkFaults(round int) []fault {
	groups := append([]uint32{cluster.CoordinatorGroup}, r.cluster.Shards()...)
	var all []fault
	add := func(kind, name string, hurt func(context.Context, uint32) ([]process.Node, error), mend mending) {
		group := groups[(round+len(all))%len(groups)]
		all = append(all, fault{kind: kind, name: fmt.Sprintf(name, groupName(group)), group: group, hurt: hurt, mend: mend})
	}
	dropped := r.healOf(harm.dropped)
	add("alone", "%s's primary alone", r.alone, r.healProbed)
	add("alone", "%s's primary alone", r.alone, r.healProbed)
	add("one-way", "nobody hears %s's primary", r.mute, dropped)
	add("one-way", "%s's primary hears nobody", r.deaf, dropped)
	add("split", "%s in two parts", r.split, dropped)
	add("pair", "%s's primary and a backup apart", r.pair, dropped)
	add("slow", "slow links of %s", r.slow, r.healOf(func(h harm) (uint64, string) { return h.delayed, "pieces were delayed" }))
	add("corrupting", "links that alter bytes of %s", r.corrupting, r.healOf(func(h harm) (uint64, string) { return h.altered, "bytes were altered" }))
	add("stall", "links of %s's primary standing still", r.stall, r.healOf(func(h harm) (uint64, string) { return h.held, "pieces were held" }))
	add("broken", "all connections within %s broken", r.breakAll, r.healOf(func(h harm) (uint64, string) { return h.broken, "connections were broken" }))
	return append(all, r.distantFaults(round)...)
}

func groupName(group uint32) string {
	if group == cluster.CoordinatorGroup {
		return "the coordinator"
	}
	return fmt.Sprintf("shard %d", group)
}

// between are the ways from the first nodes to the second, and those back too if both. None leads to where it begins.
func between(from, to []process.Node, both bool) []link {
	var ways []link
	for _, a := range from {
		for _, b := range to {
			if a == b {
				continue
			}
			if ways = append(ways, link{a, b}); both {
				ways = append(ways, link{b, a})
			}
		}
	}
	return ways
}

// alone cuts a primary off from its group, both ways; clerks still reach it, and a session has questions for it.
func (r *run) alone(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.primaryWithProbe(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.network.drop(between([]process.Node{primary}, r.others(primary), true)...)
}

// mute lets the others not hear their primary, which hears them.
func (r *run) mute(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.network.drop(between([]process.Node{primary}, r.others(primary), false)...)
}

// deaf lets the primary not hear the others, who hear it.
func (r *run) deaf(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.network.drop(between(r.others(primary), []process.Node{primary}, false)...)
}

// split cuts the group into a majority and the largest minority, drawn at random.
func (r *run) split(_ context.Context, group uint32) ([]process.Node, error) {
	nodes := r.cluster.Nodes(group)
	r.random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	few := (len(nodes) - 1) / 2
	return nodes[:few], r.network.drop(between(nodes[:few], nodes[few:], true)...)
}

// pair cuts a primary and one backup off from each other; both still reach the rest.
func (r *run) pair(ctx context.Context, group uint32) ([]process.Node, error) {
	both, err := r.primaryAndBackup(ctx, group)
	if err != nil {
		return nil, err
	}
	return both, r.network.drop(between(both[:1], both[1:], true)...)
}

func (r *run) primaryAndBackup(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return nil, err
	}
	others := r.others(primary)
	return []process.Node{primary, others[r.random.IntN(len(others))]}, nil
}

// slow makes every link of a group slow, each in its own way.
func (r *run) slow(_ context.Context, group uint32) ([]process.Node, error) {
	nodes := r.cluster.Nodes(group)
	r.setAll(between(nodes, nodes, false), func() faultproxy.Conditions { return faultproxy.Slow(r.random) })
	return nodes, nil
}

// corrupting has the links between a primary and a backup alter bytes.
func (r *run) corrupting(ctx context.Context, group uint32) ([]process.Node, error) {
	both, err := r.primaryAndBackup(ctx, group)
	if err != nil {
		return nil, err
	}
	r.setAll(between(both[:1], both[1:], true), func() faultproxy.Conditions { return faultproxy.Corrupting(r.random) })
	return both, nil
}

// stall has everything to and from a primary wait, until another has taken over: then all of it arrives.
func (r *run) stall(ctx context.Context, group uint32) ([]process.Node, error) {
	primary, err := r.cluster.Primary(ctx, group)
	if err != nil {
		return nil, err
	}
	return []process.Node{primary}, r.impose(stall, []process.Node{primary}, r.others(primary))
}

// setAll puts links into conditions, drawn for each.
func (r *run) setAll(ways []link, draw func() faultproxy.Conditions) {
	for _, l := range ways {
		r.network.set(l, draw())
	}
}

// breakAll half-closes the connections within a group, or resets them: whichever is drawn for each.
func (r *run) breakAll(_ context.Context, group uint32) ([]process.Node, error) {
	nodes := r.cluster.Nodes(group)
	for _, l := range between(nodes, nodes, false) {
		if r.random.IntN(2) == 0 {
			r.network.halfClose(l)
			continue
		}
		r.network.set(l, faultproxy.Conditions{Cut: true})
		r.network.set(l, faultproxy.Conditions{})
	}
	return nodes, nil
}

// healOf makes a mend that lets a fault last its time, and until the harm that it is to do was done, and heals.
func (r *run) healOf(felt func(harm) (uint64, string)) mending {
	return func(ctx context.Context, _ []process.Node, done *Fault) error {
		limited, cancel := context.WithTimeout(ctx, commitTimeout)
		defer cancel()
		if err := r.last(limited); err != nil {
			return err
		}
		err := survey.Poll(limited, func() error {
			h, err := r.network.harm()
			if err != nil {
				return survey.Final{Err: err}
			}
			if done.Harm, done.HarmOf = felt(h); done.Harm == 0 {
				return fmt.Errorf("%w: %s did no harm", ErrVoid, done.Name)
			}
			return nil
		})
		return errors.Join(err, r.network.heal())
	}
}

// last waits as long as a fault of links is to last.
func (r *run) last(ctx context.Context) error {
	timer := time.NewTimer(hurtMin + time.Duration(r.random.Int64N(int64(hurtMax-hurtMin))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// healProbed asks a primary that is alone, after another has taken over: what was acknowledged before the question, it
// must not deny.
func (r *run) healProbed(ctx context.Context, nodes []process.Node, done *Fault) error {
	err := r.askDeposed(ctx, nodes[0], done, func() error { return nil })
	return errors.Join(err, r.healOf(harm.dropped)(ctx, nodes, done))
}
