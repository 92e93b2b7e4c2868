package check

// component returns the nodes of one strongly connected component with more than one node, or nil. The
// algorithm is Tarjan's (SIAM Journal on Computing, 1972), with a stack of its own instead of recursion.
func (g *graph) component() []int32 {
	s := search{g: g, index: make([]int32, len(g.arcs)), low: make([]int32, len(g.arcs)), on: make([]bool, len(g.arcs))}
	for root := range g.arcs {
		if s.index[root] == 0 {
			if found := s.from(int32(root)); found != nil {
				return found
			}
		}
	}
	return nil
}

type search struct {
	g          *graph
	index, low []int32 // 0: not visited
	on         []bool  // on the stack
	stack      []int32
	path       []frame
	visited    int32
}

// frame is a node on the path of the search and the next of its arcs to follow.
type frame struct {
	node int32
	next int
}

func (s *search) visit(node int32) {
	s.visited++
	s.index[node], s.low[node] = s.visited, s.visited
	s.on[node] = true
	s.stack = append(s.stack, node)
	s.path = append(s.path, frame{node: node})
}

// from searches all that can be reached from a node and returns the first component of several nodes.
func (s *search) from(root int32) []int32 {
	s.visit(root)
	for len(s.path) > 0 {
		top := &s.path[len(s.path)-1]
		if arcs := s.g.arcs[top.node]; top.next < len(arcs) {
			to := arcs[top.next].to
			top.next++
			if s.index[to] == 0 {
				s.visit(to)
			} else if s.on[to] {
				s.low[top.node] = min(s.low[top.node], s.index[to])
			}
			continue
		}
		node := top.node
		s.path = s.path[:len(s.path)-1]
		if len(s.path) > 0 {
			parent := s.path[len(s.path)-1].node
			s.low[parent] = min(s.low[parent], s.low[node])
		}
		if s.low[node] == s.index[node] {
			if found := s.pop(node); len(found) > 1 {
				return found
			}
		}
	}
	return nil
}

// pop takes the component whose first node this is off the stack.
func (s *search) pop(node int32) []int32 {
	for i := len(s.stack) - 1; ; i-- {
		s.on[s.stack[i]] = false
		if s.stack[i] == node {
			found := s.stack[i:]
			s.stack = s.stack[:i]
			return found
		}
	}
}

// cycle returns a shortest cycle through one of the component's transactions.
func (g *graph) cycle(component []int32) *Cycle {
	inside := make(map[int32]bool, len(component))
	start := component[0]
	for _, node := range component {
		inside[node] = true
		if int(start) >= len(g.history) || int(node) < len(g.history) && node < start {
			start = node
		}
	}
	type step struct {
		from int32
		arc  arc
	}
	came := map[int32]step{}
	for queue := []int32{start}; len(queue) > 0; queue = queue[1:] {
		for _, a := range g.arcs[queue[0]] {
			if _, seen := came[a.to]; seen || !inside[a.to] {
				continue
			}
			came[a.to] = step{from: queue[0], arc: a}
			queue = append(queue, a.to)
		}
		if _, back := came[start]; back {
			break
		}
	}
	// Walk back from the start to itself. Moments are left out: two arcs of real time in a row are one.
	found := &Cycle{}
	to := &g.history[start]
	for node := start; ; {
		s := came[node]
		if int(s.from) < len(g.history) {
			edge := Edge{From: &g.history[s.from], To: to, Kind: s.arc.kind}
			if s.arc.object >= 0 {
				edge.OID = g.objects.oids[s.arc.object]
			}
			found.Edges = append([]Edge{edge}, found.Edges...)
			to = edge.From
		}
		if node = s.from; node == start {
			return found
		}
	}
}
