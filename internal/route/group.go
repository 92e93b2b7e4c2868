package route

import (
	"slices"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// suspectAfter is how long a node must have owed an answer in silence before it is suspected.
const suspectAfter = 200 * time.Millisecond

// group decides which member of a group to ask. It is pure.
//
// As long as a primary is known and not suspected, it is asked. Otherwise the members are asked in turn: one of
// them is the primary, or knows it. What is known only changes to something newer by (epoch, view), so that
// late news do no harm.
type group struct {
	// epoch is that of members, the addresses of those who may be primary: no witness is ever asked.
	epoch   uint64
	members []string
	primary Primary
	// suspected: the known primary did not answer, or denies being primary.
	suspected bool
	// cursor is the member to ask when there is no primary to ask.
	cursor int
}

// setMembers takes the members of an epoch, unless those of a later one are known. It returns whether they differ from
// what was known. A primary of an earlier epoch is forgotten with those who have left.
func (g *group) setMembers(epoch uint64, members []Member) bool {
	if epoch < g.epoch {
		return false
	}
	var addresses []string
	for _, member := range members {
		if !member.Witness {
			addresses = append(addresses, member.Address)
		}
	}
	g.epoch = epoch
	if g.primary.Epoch < epoch && !slices.Contains(addresses, g.primary.Address) {
		g.primary.Address, g.primary.Replica, g.suspected = "", 0, false
	}
	if slices.Equal(g.members, addresses) {
		return false
	}
	g.members, g.cursor = addresses, 0
	return true
}

// choose returns the address to ask, or nothing if there is none.
func (g *group) choose() string {
	switch {
	case g.settled() || len(g.members) == 0:
		return g.primary.Address
	default:
		return g.members[g.cursor]
	}
}

// settled reports whether the primary is known.
func (g *group) settled() bool { return g.primary.Address != "" && !g.suspected }

// learn takes news of a primary from the coordinator. It returns true when they are news: newer by (epoch,
// view) than what is known, or the first of that view.
func (g *group) learn(primary Primary) bool {
	if primary.Address == "" || primary.Epoch < g.epoch || g.compare(primary.Epoch, primary.View) > 0 {
		return false
	}
	if g.compare(primary.Epoch, primary.View) == 0 && g.primary.Address != "" {
		if g.primary.Address == primary.Address {
			g.primary = primary // now with its number
		}
		return false
	}
	g.primary, g.suspected = primary, false
	return true
}

// redirected takes what a replica says that is not primary itself: an epoch, a view in it, and perhaps that one's
// primary's address. It returns the address if that is to be believed, and whether it is of a newer view than was known.
func (g *group) redirected(from string, told Primary) (redirect string, news bool) {
	g.failed(from)
	known := g.compare(told.Epoch, told.View)
	if told.Address == "" || told.Address == from || told.Epoch < g.epoch || known > 0 {
		return "", false
	}
	if known == 0 && g.settled() {
		return g.primary.Address, false
	}
	told.Group = g.primary.Group
	g.primary, g.suspected = told, false
	return told.Address, known < 0
}

// failed takes that an address was not reached, or does not serve. Many requests fail at once there: only the
// first moves anything, since the next ones failed where nobody is sent any more.
func (g *group) failed(address string) {
	if address != g.choose() {
		return
	}
	g.suspected = true
	if len(g.members) > 0 && g.members[g.cursor] == address {
		g.cursor = (g.cursor + 1) % len(g.members)
	}
}

// served takes that an address answered as only a primary does. It counts only where no primary is known: an
// answer may be older than the news of the next primary.
func (g *group) served(address string) {
	if g.settled() {
		return
	}
	if g.primary.Address != address {
		g.primary.Address, g.primary.Replica = address, 0
	}
	g.suspected = false
}

// compare orders what is known against a view: negative if the view is newer.
func (g *group) compare(epoch, view uint64) int {
	switch {
	case g.primary.Epoch != epoch && g.primary.Epoch < epoch, g.primary.Epoch == epoch && g.primary.View < view:
		return -1
	case g.primary.Epoch == epoch && g.primary.View == view:
		return 0
	default:
		return 1
	}
}

// observe takes an event of a copy into account, with the primary that a refusal names. It returns the redirect to
// follow, if any, and whether a newer view became known.
func (g *group) observe(e event, told Primary) (redirect string, news bool) {
	switch {
	case e.kind == refused && e.code == pb.Code_CODE_NOT_PRIMARY:
		return g.redirected(e.address, told)
	case e.kind == refused && (e.code == pb.Code_CODE_UNAVAILABLE || e.code == pb.Code_CODE_UNKNOWN_GROUP),
		e.kind == unreached, e.kind == broken, e.kind == expired && e.silent:
		g.failed(e.address)
	case e.kind == answered:
		g.served(e.address)
	}
	return "", false
}

// silent reports whether a node that let a request's time run out is to be suspected: it was asked long enough
// ago, and has said nothing at all since.
func silent(waited, sinceHeard time.Duration) bool {
	return waited >= suspectAfter && sinceHeard >= waited
}

// stalledAt is when a stream is to be given up that owes an answer since owedSince and brought something last at
// heard: an idle stream that is asked again has its whole time again.
func stalledAt(owedSince, heard, timeout int64) int64 { return max(owedSince, heard) + timeout }
