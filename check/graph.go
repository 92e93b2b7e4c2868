package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/viewline/viewline/txn"
)

// EdgeKind says why one transaction comes before another.
type EdgeKind uint8

// The kinds of dependency, as Adya, Liskov and O'Neil name them, and real time.
const (
	WriteRead  EdgeKind = iota + 1 // the second read what the first wrote
	WriteWrite                     // the second wrote the next version of what the first wrote
	ReadWrite                      // the second wrote the next version of what the first read
	Realtime                       // the first had ended before the second began
)

// String returns the kind's name.
func (k EdgeKind) String() string {
	names := [...]string{"no edge", "wr", "ww", "rw", "real time"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("edge %d", uint8(k))
}

// Edge says that From comes before To in every serial order.
type Edge struct {
	From, To *Transaction
	Kind     EdgeKind
	OID      string // empty for real time
}

// Cycle is a set of dependencies that no serial order can keep.
type Cycle struct{ Edges []Edge }

// Error tells the cycle in one line.
func (c *Cycle) Error() string {
	var text strings.Builder
	text.WriteString("check: a cycle of dependencies: ")
	for _, edge := range c.Edges {
		fmt.Fprintf(&text, "%v -%v", edge.From, edge.Kind)
		if edge.OID != "" {
			fmt.Fprintf(&text, " %q", edge.OID)
		}
		text.WriteString("-> ")
	}
	if len(c.Edges) > 0 {
		text.WriteString(c.Edges[0].From.String())
	}
	return text.String()
}

// arc is an Edge by numbers; the object is -1 for real time.
type arc struct {
	to     int32
	object int32
	kind   EdgeKind
}

// graph holds the dependencies. Nodes below len(history) are its transactions; the others are moments, which
// stand for 'everything that had ended by then', so that real time needs one or two arcs a transaction.
type graph struct {
	history []Transaction
	objects names
	arcs    [][]arc
}

// Graph builds the dependency graph of a history, with the versions of each object ordered by timestamp, and
// returns a *Cycle if it has one. A read of what nobody wrote is a *Counterexample.
func Graph(history []Transaction) error {
	g := &graph{history: history, objects: names{numbers: make(map[string]int32)}, arcs: make([][]arc, len(history), 2*len(history))}
	if err := g.addDependencies(g.versions()); err != nil {
		return err
	}
	g.addRealTime()
	if component := g.component(); component != nil {
		return g.cycle(component)
	}
	return nil
}

// version is one write of an object.
type version struct {
	ts     txn.Timestamp
	writer int32
	absent bool
}

// versions returns every object's versions, oldest first.
func (g *graph) versions() [][]version {
	var all [][]version
	for i := range g.history {
		for _, write := range g.history[i].Writes {
			object := g.objects.number(write.OID)
			if int(object) == len(all) {
				all = append(all, nil)
			}
			all[object] = append(all[object], version{ts: g.history[i].TS, writer: int32(i), absent: write.Delete})
		}
	}
	for object := range all {
		slices.SortFunc(all[object], func(a, b version) int { return cmp.Compare(a.ts, b.ts) })
	}
	return all
}

func (g *graph) addDependencies(all [][]version) error {
	for object, versions := range all {
		for i := 1; i < len(versions); i++ {
			g.add(versions[i-1].writer, arc{to: versions[i].writer, object: int32(object), kind: WriteWrite})
		}
	}
	for i := range g.history {
		for _, read := range g.history[i].Reads {
			object := g.objects.number(read.OID)
			var versions []version
			if int(object) < len(all) {
				versions = all[object]
			}
			at, ok := find(versions, read, &g.history[i])
			if !ok {
				return &Counterexample{Transaction: g.history[i], OID: read.OID, Read: read, Why: "it read what nobody wrote"}
			}
			if at >= 0 {
				g.add(versions[at].writer, arc{to: int32(i), object: object, kind: WriteRead})
			}
			if at+1 < len(versions) {
				g.add(int32(i), arc{to: versions[at+1].writer, object: object, kind: ReadWrite})
			}
		}
	}
	return nil
}

// find returns the index of the version that was read, -1 for the absence before all. Absence without a
// version may have been any that was not filled before the reader; the newest of these is the best for it.
func find(versions []version, read Read, reader *Transaction) (int, bool) {
	if read.Version == 0 && !read.Present {
		bound := reader.TS
		if reader.Snapshot {
			bound++ // it sees what has its own timestamp
		}
		at, _ := slices.BinarySearchFunc(versions, bound, func(v version, ts txn.Timestamp) int { return cmp.Compare(v.ts, ts) })
		at--
		for at >= 0 && !versions[at].absent {
			at--
		}
		return at, true
	}
	at, found := slices.BinarySearchFunc(versions, read.Version, func(v version, ts txn.Timestamp) int { return cmp.Compare(v.ts, ts) })
	return at, found && versions[at].absent != read.Present
}

// add puts an arc in. A transaction does not depend on itself: it may write what it has read.
func (g *graph) add(from int32, a arc) {
	if from != a.to {
		g.arcs[from] = append(g.arcs[from], a)
	}
}

// addRealTime adds a moment for every end, in order: the transaction that ended leads to it, it leads to the
// next moment, and the last moment before a start leads to the transaction that starts.
func (g *graph) addRealTime() {
	ended, begun := make([]int32, 0, len(g.history)), make([]int32, 0, len(g.history))
	for i := range g.history {
		if g.history[i].End != 0 {
			ended = append(ended, int32(i))
		}
		begun = append(begun, int32(i))
	}
	slices.SortFunc(ended, func(a, b int32) int { return cmp.Compare(g.history[a].End, g.history[b].End) })
	slices.SortFunc(begun, func(a, b int32) int { return cmp.Compare(g.history[a].Start, g.history[b].Start) })
	next := 0
	moment := int32(-1)
	for _, i := range begun {
		for next < len(ended) && g.history[ended[next]].End < g.history[i].Start {
			g.arcs = append(g.arcs, nil)
			now := int32(len(g.arcs) - 1)
			g.add(ended[next], arc{to: now, object: -1, kind: Realtime})
			if moment >= 0 {
				g.add(moment, arc{to: now, object: -1, kind: Realtime})
			}
			moment = now
			next++
		}
		if moment >= 0 {
			g.add(moment, arc{to: i, object: -1, kind: Realtime})
		}
	}
}
