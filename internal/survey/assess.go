package survey

import (
	"fmt"
	"slices"
	"strings"
)

// lagMax is how many operations a replica may be behind and still count as well: the nodes are not asked at the
// same instant, and a loaded group commits thousands a second.
const lagMax = 10_000

// Health is what a group or a cluster can still do.
type Health string

// The healths, best first.
const (
	// Whole: every replica is well.
	Whole Health = "whole"
	// Reduced: it serves, with fewer replicas than it should have.
	Reduced Health = "reduced"
	// Waiting: enough replicas are well, and no primary serves yet.
	Waiting Health = "waiting"
	// Down: too few replicas are well.
	Down Health = "down"
)

// Assessment is what a survey comes to.
type Assessment struct {
	Health Health `json:"health"`
	// Sentence says what the cluster can still lose and, if something is wrong, what to do.
	Sentence string        `json:"sentence"`
	Groups   []GroupHealth `json:"groups"`
}

// GroupHealth is the same of one group.
type GroupHealth struct {
	Group uint32 `json:"group"`
	// Backend is what replicates it; empty: nobody says so.
	Backend string `json:"backend,omitempty"`
	Members int    `json:"members"`
	Well    int    `json:"well"`
	// Spare is how many more replicas may be lost before the group stops.
	Spare   int    `json:"spare"`
	Primary uint32 `json:"primary"` // that serves; 0 when none does
	Health  Health `json:"health"`

	troubles []string
	unwell   []uint32 // to be started
	// recovering may have lost what they acknowledged, and ask the others for it.
	recovering []uint32
	// keeper alone is well, of several that have a state beside a witness; or 0.
	keeper uint32
}

// Assess judges the answers of all replicas of all groups of one cluster.
func Assess(replicas []Replica) Assessment {
	var groups []GroupHealth
	for start := 0; start < len(replicas); {
		end := start
		for end < len(replicas) && replicas[end].Group == replicas[start].Group {
			end++
		}
		groups = append(groups, assessGroup(replicas[start:end]))
		start = end
	}
	result := Assessment{Health: Whole, Groups: groups}
	for _, health := range []Health{Reduced, Waiting, Down} {
		if slices.ContainsFunc(groups, func(g GroupHealth) bool { return g.Health == health }) {
			result.Health = health
		}
	}
	result.Sentence = sentence(groups)
	return result
}

func assessGroup(replicas []Replica) GroupHealth {
	g := GroupHealth{Group: replicas[0].Group, Members: len(replicas)}
	newest := reached(replicas)
	g.Backend = newest.backend
	for _, r := range replicas {
		if r.Error == "" && r.Serving && r.place() == newest {
			g.Primary = r.Replica
		}
		trouble := r.trouble(newest)
		if trouble == "" {
			g.Well++
			continue
		}
		g.troubles = append(g.troubles, fmt.Sprintf("replica %d %s", r.Replica, trouble))
		switch {
		case r.recovers():
			g.recovering = append(g.recovering, r.Replica)
		case r.outside() == "" && !r.foreign(newest):
			g.unwell = append(g.unwell, r.Replica)
		}
	}
	g.keeper = keeper(replicas, newest)
	quorum := g.Members/2 + 1
	g.Spare = max(0, g.Well-quorum)
	switch {
	case g.Well < quorum:
		g.Health = Down
	case g.Primary == 0:
		g.Health = Waiting
	case g.Well < g.Members:
		g.Health = Reduced
	default:
		g.Health = Whole
	}
	return g
}

// keeper finds the only one that is well of those with a state, where there is a witness and should be several: the
// witness has what the others lack of the log, but no state.
func keeper(replicas []Replica, newest place) (only uint32) {
	witnesses, states, well := 0, 0, 0
	for i := range replicas {
		switch r := &replicas[i]; {
		case r.Witness:
			witnesses++
		case r.trouble(newest) == "":
			well, only = well+1, r.Replica
			fallthrough
		default:
			states++
		}
	}
	if witnesses == 0 || states == 1 || well != 1 {
		return 0
	}
	return only
}

// place is a view of an epoch. A view of an earlier epoch may have a larger number, where it came to nothing; the views of
// two backends have nothing to do with each other.
type place struct {
	backend     string
	epoch, view uint64
}

func (r *Replica) place() place { return place{r.Backend, r.Epoch, r.View} }

// reached is the newest place that any of a group's replicas is at.
func reached(replicas []Replica) place {
	newest := place{backend: backendOf(replicas)}
	for i := range replicas {
		p := replicas[i].place()
		if p.backend == newest.backend && (p.epoch > newest.epoch || p.epoch == newest.epoch && p.view > newest.view) {
			newest = p
		}
	}
	return newest
}

// backendOf is the backend of a group: that of most who answer, and of as many that of the one who serves.
func backendOf(replicas []Replica) (backend string) {
	votes := map[string]int{}
	for i := range replicas {
		r := &replicas[i]
		if r.Error != "" {
			continue
		}
		votes[r.Backend] += 2
		if r.Serving {
			votes[r.Backend]++
		}
		if votes[r.Backend] > votes[backend] {
			backend = r.Backend
		}
	}
	return backend
}

// foreign reports whether a replica was made for another backend than its group has.
func (r *Replica) foreign(newest place) bool { return r.Error == "" && r.Backend != newest.backend }

// outside says what a replica waits for that is no member of the epoch which it knows, or is empty for a member.
func (r *Replica) outside() string {
	switch {
	case r.Error != "" || r.Failure != "":
		return ""
	case r.Status == "transitioning":
		return "is no member yet, in this life (once it has caught up: viewline member --help)"
	case r.Status == "leaving":
		return "is a member no more, and is needed until those that are have begun"
	case r.Status == "left":
		return "is a member no more: its node can be stopped, and its directory removed"
	default:
		return ""
	}
}

func (r *Replica) recovers() bool {
	return r.Error == "" && r.Failure == "" && r.Status == "recovering"
}

// trouble says what is wrong with a replica whose group has reached a view of an epoch, or is empty.
func (r *Replica) trouble(newest place) string {
	switch {
	case r.Error != "":
		return "does not answer"
	case r.foreign(newest):
		return fmt.Sprintf("was set up with backend %s, and its group has %s: it takes part in nothing, put its own directory back", r.Backend, newest.backend)
	case r.Failure != "":
		return "has stopped: " + r.Failure
	case r.recovers() && r.Reason != "":
		return "recovers from the others: " + r.Reason
	case r.recovers():
		return "recovers from the others"
	case r.outside() != "":
		return r.outside()
	case r.Status != "normal":
		return "is in state " + r.Status
	case r.Epoch < newest.epoch:
		return fmt.Sprintf("is still in epoch %d of %d", r.Epoch, newest.epoch)
	case r.View < newest.view:
		return fmt.Sprintf("is still in view %d of %d", r.View, newest.view)
	case r.Lag > lagMax:
		return fmt.Sprintf("lags by %d operations", r.Lag)
	default:
		return ""
	}
}

func (g *GroupHealth) name() string {
	if g.Group == 0 {
		return "the coordinator"
	}
	return fmt.Sprintf("shard %d", g.Group)
}

// sentence says the worst first and ends with what the groups that are whole can lose.
func sentence(groups []GroupHealth) string {
	var parts []string
	for _, health := range []Health{Down, Waiting, Reduced} {
		for i := range groups {
			if groups[i].Health == health {
				parts = append(parts, groups[i].sentence())
			}
		}
	}
	other := ""
	if len(parts) > 0 {
		other = "other "
	}
	whole := slices.DeleteFunc(slices.Clone(groups), func(g GroupHealth) bool { return g.Health != Whole })
	if len(whole) > 0 {
		least := slices.MinFunc(whole, func(a, b GroupHealth) int { return a.Spare - b.Spare }).Spare
		if least == 0 {
			parts = append(parts, fmt.Sprintf("no %sgroup can lose a replica", other))
		} else {
			parts = append(parts, fmt.Sprintf("every %sgroup can lose %s and go on", other, count(least, "")))
		}
	}
	text := strings.Join(parts, "; ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func (g *GroupHealth) sentence() string {
	why := strings.Join(g.troubles, ", ")
	if g.keeper != 0 {
		why += fmt.Sprintf("; of those that are well only replica %d has the state", g.keeper)
	}
	if mayLose := (g.Members - 1) / 2; len(g.recovering) > mayLose {
		return fmt.Sprintf("%s stays stopped: %s may have lost what they had acknowledged, and no more than %d of its %d replicas may at a time (if that is lost for good%s)",
			g.name(), list(g.recovering), mayLose, g.Members, g.wayOut())
	}
	switch g.Health {
	case Down:
		if len(g.unwell) == 0 {
			return fmt.Sprintf("%s is down: it needs %d of its %d replicas and has %d (%s); ask again in a second",
				g.name(), g.Members/2+1, g.Members, g.Well, why)
		}
		return fmt.Sprintf("%s is down: it needs %d of its %d replicas and has %d (%s); start %s",
			g.name(), g.Members/2+1, g.Members, g.Well, why, list(g.unwell))
	case Waiting:
		text := g.name() + " has no serving primary yet: it is changing views, ask again in a second"
		if why != "" {
			text += " (" + why + ")"
		}
		return text
	case Reduced, Whole:
	}
	return fmt.Sprintf("%s can lose %s (%s)", g.name(), count(g.Spare, "more "), why)
}

// wayOut is what becomes of a group when what its replicas had acknowledged is lost for good.
func (g *GroupHealth) wayOut() string {
	if g.Backend == "raft" {
		return ", so is the group: backend raft has no way to go on from what is left"
	}
	return ": viewline force --help"
}

func count(replicas int, more string) string {
	switch replicas {
	case 0:
		return "no " + more + "replicas"
	case 1:
		return "1 " + more + "replica"
	default:
		return fmt.Sprintf("%d %sreplicas", replicas, more)
	}
}

func list(replicas []uint32) string {
	names := make([]string, len(replicas))
	for i, replica := range replicas {
		names[i] = fmt.Sprint(replica)
	}
	if len(names) == 1 {
		return "replica " + names[0]
	}
	return "replicas " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
