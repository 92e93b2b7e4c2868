package backends

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrPolicy is what every PolicyError is.
var ErrPolicy = errors.New("backends: durability on different terms")

// Policy is what a backend was seen to do before it acknowledges.
type Policy struct {
	Backend    string `json:"backend"`
	Durability string `json:"durability"`
	Replicas   int    `json:"replicas"`
	// Operations is how many were looked at.
	Operations int `json:"operations"`
	// SyncedCopies is on how many replicas an fsync was begun after an operation was proposed and before it was
	// acknowledged: the least of all operations.
	SyncedCopies int `json:"synced_copies"`
	// Fsyncs are those of all replicas together for one operation of a proposer that is alone, Counted by the backend.
	Fsyncs  float64 `json:"fsyncs"`
	Counted float64 `json:"counted"`
	// Audited: the kernel was asked. Otherwise SyncedCopies are the replicas that counted an fsync for each operation.
	Audited bool `json:"audited"`
}

// String is a sentence for whoever reads the figures.
func (p Policy) String() string {
	by := "by the kernel's word"
	if !p.Audited {
		by = "by its own count"
	}
	return fmt.Sprintf("%s, %s, %d replicas: %d operations, each with an fsync on %d replicas or more before it was acknowledged, %.2f fsyncs for an "+
		"operation alone, %s (%.2f counted)", p.Backend, p.Durability, p.Replicas, p.Operations, p.SyncedCopies, p.Fsyncs, by, p.Counted)
}

// PolicyError says why a backend is not compared with others.
type PolicyError struct {
	Policy Policy
	Reason string
}

// Error gives the reason and what was seen.
func (e *PolicyError) Error() string {
	return fmt.Sprintf("%v: %s (%v)", ErrPolicy, e.Reason, e.Policy)
}

// Is makes every PolicyError an ErrPolicy.
func (e *PolicyError) Is(target error) bool { return target == ErrPolicy }

const (
	// strayFsyncs is how many fsyncs an operation may have in Memory, and by how much count and kernel may differ: files
	// grow, and views begin.
	strayFsyncs = 0.1
	// What a probe does: so many operations by one proposer, and as many by several.
	probeOperations = 100
	probeProposers  = 10
)

// check returns a PolicyError when the backend does not do what its durability promises, no more and no less, or does not
// know what it does.
func (p Policy) check() error {
	majority := p.Replicas/2 + 1
	switch {
	case p.Durability == Sync && p.SyncedCopies < majority:
		return &PolicyError{p, fmt.Sprintf("%s acknowledges with less than %d synced copies", p.Backend, majority)}
	case p.Durability == Memory && p.Fsyncs > strayFsyncs:
		return &PolicyError{p, fmt.Sprintf("%s syncs in memory", p.Backend)}
	case p.Audited && (p.Counted > p.Fsyncs*(1+strayFsyncs)+strayFsyncs || p.Counted < p.Fsyncs*(1-strayFsyncs)-strayFsyncs):
		return &PolicyError{p, fmt.Sprintf("%s does not count its fsyncs right", p.Backend)}
	}
	return nil
}

// probe looks at what a backend does.
func probe(ctx context.Context, o Options, name, durability string, replicas int) (Policy, error) {
	for void := 1; ; void++ {
		p := Policy{Backend: name, Durability: durability, Replicas: replicas, SyncedCopies: replicas}
		err := p.look(ctx, o)
		if err == nil {
			return p, p.check()
		}
		if !errors.Is(err, ErrVoid) || void == voidMax || ctx.Err() != nil {
			return Policy{}, fmt.Errorf("when %s syncs: %w", name, err)
		}
	}
}

// look has one proposer and then several work on a group of their own.
func (p *Policy) look(ctx context.Context, o Options) (err error) {
	g, err := startGroup(ctx, o, p.Backend, p.Durability, p.Replicas, true)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.abandon())
		}
	}()
	for i, proposers := range []int{1, probeProposers} {
		before, trailsBefore, err := g.trails(ctx)
		if err != nil {
			return err
		}
		l := loadRequest{Proposers: proposers, ValueBytes: 128, Operations: probeOperations / proposers, Spans: true}
		if err := g.load(ctx, l); err != nil {
			return err
		}
		_, err = g.poll(ctx, "the operations of a probe", func(meters []Meter) bool {
			sum := outcomesOf(meters)
			return sum.Acknowledged+sum.Unknown+sum.Refused >= uint64(i+1)*probeOperations
		})
		if err != nil {
			return err
		}
		after, trailsAfter, err := g.trails(ctx)
		if err != nil {
			return err
		}
		p.see(before, after, trailsBefore, trailsAfter, proposers == 1)
	}
	return g.finish(ctx)
}

func (g *group) trails(ctx context.Context) ([]Meter, []trail, error) {
	meters, err := ask[Meter](ctx, g, verbMeter, nil)
	if err != nil {
		return nil, nil, err
	}
	trails, err := ask[trail](ctx, g, verbTrail, nil)
	return meters, trails, err
}

// see adds what the processes have told. Of a proposer that is alone each operation is a batch of its own.
func (p *Policy) see(before, after []Meter, trailsBefore, trailsAfter []trail, alone bool) {
	var spans []span
	for _, t := range trailsAfter {
		spans = append(spans, t.Spans...)
	}
	p.Operations += len(spans)
	p.Audited = !slices.ContainsFunc(trailsAfter, func(t trail) bool { return !t.Audited })
	counted, audited, copies := 0.0, 0.0, 0
	for i := range after {
		fsyncs := float64(after[i].Fsyncs - before[i].Fsyncs)
		counted += fsyncs / float64(len(spans))
		audited += float64(len(trailsAfter[i].Fsyncs)-len(trailsBefore[i].Fsyncs)) / float64(len(spans))
		if fsyncs >= float64(len(spans)) {
			copies++
		}
	}
	switch {
	case p.Audited:
		copies = syncedCopies(spans, trailsAfter)
	case !alone:
		copies = p.SyncedCopies // fsyncs that are shared do not tell
	}
	p.SyncedCopies = min(p.SyncedCopies, copies)
	if !alone {
		return
	}
	p.Counted, p.Fsyncs = counted, audited
	if !p.Audited {
		p.Fsyncs = counted
	}
}

// syncedCopies is on how many replicas an fsync began within the span of an operation: the least of all of them.
func syncedCopies(spans []span, trails []trail) int {
	least := len(trails)
	for _, s := range spans {
		copies := 0
		for _, t := range trails {
			// The first one that is not before the span.
			at, _ := slices.BinarySearch(t.Fsyncs, s.Began)
			if at < len(t.Fsyncs) && t.Fsyncs[at] <= s.Ended {
				copies++
			}
		}
		least = min(least, copies)
	}
	return least
}
