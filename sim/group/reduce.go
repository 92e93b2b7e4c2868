package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/viewline/viewline/replication/vr/core"
)

// Calm is a set of things that a seed drew and that a run does without, to find out which of them a failure needs.
type Calm uint64

// calming is one of them.
type calming struct {
	name  string
	apply func(*mixture)
}

// calmings lists them, those first whose absence makes a schedule easiest to read.
func calmings() []calming {
	return []calming{
		{"drift", func(m *mixture) { m.fault.drift = false }},
		{"starved", func(m *mixture) { m.network.starved = [len(m.network.starved)]bool{} }},
		{"tail", func(m *mixture) { m.network.tail = 0 }},
		{"delay", func(m *mixture) { m.network.delayMax = momentsPerTick / 2 }},
		{"duplicate", func(m *mixture) { m.network.duplicate = 0 }},
		{"loss", func(m *mixture) { m.network.loss = 0 }},
		{"clog", func(m *mixture) { m.network.clog = 0 }},
		{"one-way", func(m *mixture) { m.network.oneWay = 0 }},
		{"partition", func(m *mixture) { m.network.partition = 0 }},
		{"isolate", func(m *mixture) { m.network.isolatePrimary = 0 }},
		{"slow-disk", func(m *mixture) { m.disk.slow = 0 }},
		{"power", func(m *mixture) { m.disk.powerFails = false }},
		{"pause", func(m *mixture) { m.fault.pause = 0 }},
		{"stop", func(m *mixture) { m.fault.stop = 0 }},
		{"crash-all", func(m *mixture) { m.fault.crashAll = 0 }},
		{"crash-primary", func(m *mixture) { m.fault.crashPrimary = 0 }},
		{"crash-at-step", func(m *mixture) { m.fault.crashAtStep = 0 }},
		{"crash", func(m *mixture) { m.fault.crash = 0 }},
		{"handover", func(m *mixture) { m.handover = handoverMixture{} }},
		{"freeze", func(m *mixture) { m.leases.frozen = 0 }},
		{"stale", func(m *mixture) { m.stale = staleMixture{} }},
		{"reconfiguration", func(m *mixture) { m.reconfiguration = reconfigurationMixture{} }},
		{"wipes", func(m *mixture) { m.wipes = wipeMixture{} }},
		{"witnesses", func(m *mixture) { m.witnesses = witnessMixture{} }},
		{"damage", func(m *mixture) { m.damage = damageMixture{} }},
		{"gather", func(m *mixture) { m.fault.gather = 0 }},
		{"transfer-loss", func(m *mixture) { m.fault.transferLoss = 0 }},
		{"slow", func(m *mixture) { m.slow = slowMixture{} }},
		{"chunks", func(m *mixture) { m.chunks = oneStep() }},
		{"reads", func(m *mixture) { m.client.reads = 0 }},
		{"misdirected", func(m *mixture) { m.client.misdirected = 0 }},
		{"filler", func(m *mixture) { m.client.fillerMax = 0 }},
		{"batches", func(m *mixture) { m.client.batchMax = 1 }},
		{"behind", func(m *mixture) { m.behind = behindMixture{} }},
		{"checkpoints", func(m *mixture) { m.limits.checkpointEvery = core.OpNumber(1 << 40) }},
	}
}

// String names what the set does without, as ParseCalm reads it.
func (c Calm) String() string {
	var names []string
	for i, calming := range calmings() {
		if c&(1<<i) != 0 {
			names = append(names, calming.name)
		}
	}
	return strings.Join(names, ",")
}

// ParseCalm reads names that commas divide. An error names what is not one of them.
func ParseCalm(text string) (Calm, error) {
	var c Calm
	for name := range strings.SplitSeq(text, ",") {
		i := slices.IndexFunc(calmings(), func(calming calming) bool { return calming.name == name })
		if i < 0 && name != "" {
			return 0, fmt.Errorf("sim: nothing that could be calmed is called %q: %v", name, ^Calm(0))
		} else if i >= 0 {
			c |= 1 << i
		}
	}
	return c, nil
}

func (c Calm) apply(m *mixture) {
	for i, calming := range calmings() {
		if c&(1<<i) != 0 {
			calming.apply(m)
		}
	}
}

// Reduce looks for less with which a seed breaks the same claim: fewer kinds of trouble, and a shorter time of it.
// It returns the options with what they can do without, and the report of a run with them. Each try is one run, of
// which there are at most tries; the same arguments give the same result.
func Reduce(options Options, tries int) (Options, Report) {
	options.Trace = nil
	best := Run(options)
	if best.Violation == nil {
		return options, best
	}
	try := func(candidate Options) bool {
		if tries--; tries < 0 {
			return false
		}
		report := Run(candidate)
		if report.Violation == nil || report.Violation.Claim != best.Violation.Claim || report.Events > best.Events {
			return false
		}
		options, best = candidate, report
		return true
	}
	for progress := true; progress && tries > 0; {
		progress = false
		for i := range calmings() {
			if candidate := options; candidate.Calm&(1<<i) == 0 {
				candidate.Calm |= 1 << i
				progress = try(candidate) || progress
			}
		}
		progress = shorten(options, best.Violation.Tick, try) || progress
	}
	return options, best
}

// shorten tries to end the time of trouble earlier: right after the violation, and then ever earlier.
func shorten(options Options, tick int, try func(Options) bool) (progress bool) {
	for _, eighths := range []int{8, 7, 6, 4, 2} {
		candidate := options
		candidate.TroubleTicks = max(1, tick*eighths/8)
		if options.TroubleTicks != 0 && candidate.TroubleTicks >= options.TroubleTicks {
			continue
		}
		if !try(candidate) {
			break
		}
		progress = true
	}
	return progress
}
