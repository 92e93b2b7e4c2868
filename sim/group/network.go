package group

import (
	"slices"

	"github.com/viewline/viewline/replication/vr/core"
)

// network carries messages between replicas, numbered from 0 here. It loses, repeats, delays and reorders
// them; it never changes one.
type network struct {
	mixture networkMixture
	random  stream
	members int
	// blocked counts, for each link, the partitions that cut it: links[from*members+to].
	blocked []int
	// base is how long a message takes over a link at the least; faults come and go, and this stays.
	base []instant
	// clogged is the moment until which a link holds its messages back; waiting is how many it holds.
	clogged []instant
	waiting []int
	// messages are those under way, each in a slot that its event names; free are slots to use again, landed flights.
	messages []*flight
	free     []int
	landed   []*flight
	entries  slab[core.Entry]
	// partitions are those that go on; a healed one is empty and its number may be used again.
	partitions [][]int
}

// flight is one copy of a message under way.
type flight struct {
	message core.Message
	since   instant
	held    bool // by a clog
}

// sent is one copy's arrival.
type sent struct {
	slot int
	at   instant
}

// newNetwork makes a network in the memory of one that is over, or of a zero one.
func newNetwork(old *network, seed uint64, members int, mixture networkMixture) network {
	links := members * members
	for _, kept := range old.messages {
		if kept != nil {
			old.landed = append(old.landed, kept)
		}
	}
	clear(old.messages)
	old.entries.reset()
	return network{
		mixture: mixture, random: newStream(seed, streamNetwork), members: members,
		base: cleared(old.base, links), blocked: cleared(old.blocked, links), clogged: cleared(old.clogged, links), waiting: cleared(old.waiting, links),
		messages: old.messages[:0], free: old.free[:0], landed: old.landed, entries: old.entries, partitions: old.partitions[:0],
	}
}

// send decides what becomes of a message: no arrival, one or two.
func (n *network) send(now instant, from, to int, message *core.Message, covered *Coverage) (arrivals [2]sent, count int) {
	link := from*n.members + to
	if n.blocked[link] > 0 {
		covered.count(EventMessageBlocked)
		return arrivals, 0
	}
	if n.random.chance(n.mixture.loss) {
		covered.count(EventMessageLost)
		return arrivals, 0
	}
	starved := n.mixture.starved[message.Kind]
	if n.random.chance(n.mixture.starvedLoss) && starved {
		covered.count(EventMessageStarved)
		return arrivals, 0
	}
	copies := 1
	if n.random.chance(n.mixture.duplicate) {
		covered.count(EventMessageDuplicated)
		copies = 2
	}
	for range copies {
		at, held, ok := n.arrival(now, link, starved, covered)
		if !ok {
			continue
		}
		arrivals[count] = sent{slot: n.hold(message, now, held), at: at}
		count++
	}
	return arrivals, count
}

// arrival draws when one copy arrives; not ok: it is lost in a clogged link.
func (n *network) arrival(now instant, link int, starved bool, covered *Coverage) (at instant, held, ok bool) {
	at = now + 1 + n.base[link] + n.random.span(0, n.mixture.delayMax)
	late := n.mixture.tail
	if starved {
		late = max(late, n.mixture.starvedLate)
	}
	if n.random.chance(late) {
		covered.count(EventMessageLate)
		at += n.random.span(0, n.mixture.tailMax)
	}
	if n.clogged[link] <= now {
		return at, false, true
	}
	if n.waiting[link] >= n.mixture.clogCapacity {
		covered.count(EventClogOverflowed)
		return at, false, false
	}
	covered.count(EventMessageClogged)
	n.waiting[link]++
	return max(at, n.clogged[link]), true, true
}

// hold keeps a copy that shares no slice with the sender. Payloads are shared: nobody may ever change one,
// and the state hashes would tell.
func (n *network) hold(message *core.Message, now instant, held bool) int {
	kept := n.newFlight()
	kept.message, kept.since, kept.held = *message, now, held
	kept.message.Entries = n.entries.clone(message.Entries)
	if last := len(n.free) - 1; last >= 0 {
		slot := n.free[last]
		n.free = n.free[:last]
		n.messages[slot] = kept
		return slot
	}
	n.messages = append(n.messages, kept)
	return len(n.messages) - 1
}

func (n *network) newFlight() *flight {
	last := len(n.landed) - 1
	if last < 0 {
		return new(flight)
	}
	kept := n.landed[last]
	n.landed = n.landed[:last]
	return kept
}

// take removes a message that has arrived. Whoever has done with it gives it back to land.
func (n *network) take(slot int) *flight {
	kept := n.messages[slot]
	if kept.held {
		n.waiting[int(kept.message.From-1)*n.members+int(kept.message.To-1)]--
	}
	n.messages[slot] = nil
	n.free = append(n.free, slot)
	return kept
}

// land takes a flight back whose message nobody needs any more.
func (n *network) land(f *flight) { n.landed = append(n.landed, f) }

// clog holds one link's messages back until a moment.
func (n *network) clog(from, to int, until instant) {
	link := from*n.members + to
	n.clogged[link] = max(n.clogged[link], until)
}

// sentBefore reports whether a message sent before a moment is still under way.
func (n *network) sentBefore(moment instant) bool {
	return slices.ContainsFunc(n.messages, func(f *flight) bool { return f != nil && f.since < moment })
}

func (n *network) isBlocked(from, to int) bool { return n.blocked[from*n.members+to] > 0 }

// block cuts one link for good.
func (n *network) block(from, to int) { n.blocked[from*n.members+to]++ }

// cut blocks links until healed: those between the two sides, in one direction or both. It returns the
// partition's number.
func (n *network) cut(inside func(replica int) bool, oneWay bool) int {
	var links []int
	for from := range n.members {
		for to := range n.members {
			if inside(from) && !inside(to) || !oneWay && !inside(from) && inside(to) {
				links = append(links, from*n.members+to)
				n.blocked[from*n.members+to]++
			}
		}
	}
	for number := range n.partitions {
		if n.partitions[number] == nil {
			n.partitions[number] = links
			return number
		}
	}
	n.partitions = append(n.partitions, links)
	return len(n.partitions) - 1
}

// heal ends one partition.
func (n *network) heal(number int) {
	for _, link := range n.partitions[number] {
		n.blocked[link]--
	}
	n.partitions[number] = nil
}

// healAll ends every fault of the network. What is under way still arrives, however late.
func (n *network) healAll() {
	clear(n.blocked)
	clear(n.clogged)
	n.partitions = nil
	n.mixture = networkMixture{delayMax: momentsPerTick / 2}
}
