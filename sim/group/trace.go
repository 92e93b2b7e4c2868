package group

import (
	"fmt"
	"strings"

	"github.com/viewline/viewline/replication/vr/core"
)

// tracing reports whether a trace is wanted; callers ask first, since building a line costs more than the
// event that it tells of.
func (s *simulation) tracing() bool { return s.options.Trace != nil }

func (s *simulation) traceHeader() {
	if !s.tracing() {
		return
	}
	m := &s.mixture
	fmt.Fprintf(s.options.Trace, "seed %d: %d replicas, %v, %d ticks of faults\nnetwork %+v\ndisk %+v\nfaults %+v\nlimits %+v\n",
		s.options.Seed, m.members, m.durability, m.safetyTicks, m.network, m.disk, m.fault, m.limits)
	fmt.Fprintf(s.options.Trace, "%8s  %-3s %-8s %-12s %5s %7s %5s  %s\n",
		"tick", "who", "role", "status", "view", "commit", "op", "event")
}

// trace writes one line about a replica, or about none.
func (s *simulation) trace(h *host, format string, arguments ...any) {
	if !s.tracing() {
		return
	}
	who, role, status, numbers := "", "", "", [3]string{}
	if h != nil {
		who, status = fmt.Sprintf("r%d", h.id), "down"
		if h.running() {
			now := h.replica.Status()
			role, status = "backup", now.Status.String()
			if now.Primary == h.id {
				role = "primary"
			}
			numbers = [3]string{fmt.Sprint(now.View), fmt.Sprint(now.Commit), fmt.Sprint(now.Op)}
		}
	}
	fmt.Fprintf(s.options.Trace, "%8.2f  %-3s %-8s %-12s %5s %7s %5s  %s\n", float64(s.now)/momentsPerTick,
		who, role, status, numbers[0], numbers[1], numbers[2], fmt.Sprintf(format, arguments...))
}

// describe tells a message in one line.
func describe(m *core.Message) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s r%d->r%d v%d", m.Kind, m.From, m.To, m.View)
	if m.Incarnation != 0 {
		fmt.Fprintf(&text, " life %d", m.Incarnation)
	}
	if m.Op != 0 {
		fmt.Fprintf(&text, " op %d", m.Op)
	}
	if m.Commit != 0 {
		fmt.Fprintf(&text, " commit %d", m.Commit)
	}
	if m.LastNormalView != 0 {
		fmt.Fprintf(&text, " last-normal %d", m.LastNormalView)
	}
	if m.Round != 0 {
		fmt.Fprintf(&text, " round %d", m.Round)
	}
	if m.Nonce != 0 {
		fmt.Fprintf(&text, " nonce %x", m.Nonce&0xffff)
	}
	if m.First != 0 {
		fmt.Fprintf(&text, " first %d", m.First)
	}
	if m.Checkpoint.Op != 0 {
		fmt.Fprintf(&text, " checkpoint %d", m.Checkpoint.Op)
	}
	if m.Stamp != 0 {
		fmt.Fprintf(&text, " stamp %d of clock %d", m.Stamp, m.Clock)
	}
	if m.Agree {
		text.WriteString(" agree")
	}
	if len(m.Entries) > 0 {
		text.WriteString(" entries")
		describeEntries(&text, m.Entries)
	}
	return text.String()
}

// describeEntries writes op-number/view:hash of each entry, up to a few.
func describeEntries(text *strings.Builder, entries []core.Entry) {
	const shown = 8
	for i := range entries {
		if i == shown {
			fmt.Fprintf(text, " ... to %d", entries[len(entries)-1].Op)
			return
		}
		fmt.Fprintf(text, " %d/v%d:%04x", entries[i].Op, entries[i].View, uint64(entries[i].Hash)&0xffff)
	}
}

// describeBatch tells what a Ready makes durable.
func describeBatch(b *batch) string {
	var text strings.Builder
	if b.states {
		fmt.Fprintf(&text, " view %d last-normal %d commit %d", b.hardState.View, b.hardState.LastNormalView, b.hardState.Commit)
	}
	if b.truncate {
		fmt.Fprintf(&text, " truncate above %d", b.truncateAbove)
	}
	if len(b.entries) > 0 {
		text.WriteString(" entries")
		describeEntries(&text, b.entries)
	}
	if b.truncateBelow > 0 {
		fmt.Fprintf(&text, " truncate below %d", b.truncateBelow)
	}
	return text.String()
}

// situation tells where every replica stands, for a violation of progress.
func (s *simulation) situation() string {
	var text strings.Builder
	fmt.Fprintf(&text, "committed %d, visible %d", len(s.checks.committed), s.checks.visible)
	for _, h := range s.hosts {
		if !h.running() {
			fmt.Fprintf(&text, "; r%d down", h.id)
			continue
		}
		fmt.Fprintf(&text, "; r%d %+v applied %d, %d proposals, %d reads, fetching %v, busy %v, inbox %d",
			h.id, h.replica.Status(), h.machine.applied, len(h.proposals), len(h.reads), h.fetching, h.busy, len(h.inbox))
	}
	return text.String()
}
