package route

import (
	"cmp"
	"slices"
)

// queue is requests in order. It is bounded by what the Router takes.
type queue struct {
	items []*pending
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(p *pending) { q.items = append(q.items, p) }

func (q *queue) pop() *pending {
	p := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head >= 1024 && q.head > len(q.items)/2 {
		q.items = slices.Delete(q.items, 0, q.head)
		q.head = 0
	}
	return p
}

func (q *queue) takeAll() []*pending {
	items := q.items[q.head:]
	q.items, q.head = nil, 0
	return items
}

// expire takes out what is due, and lowers earliest to the first deadline of the rest. What stands here was
// never written.
func (q *queue) expire(now int64, address string, earliest *int64) []settled {
	var late []settled
	kept := q.items[:0]
	for _, p := range q.items[q.head:] {
		if deadline := p.deadline.Load(); deadline > now {
			*earliest = min(*earliest, deadline)
			kept = append(kept, p)
			continue
		}
		late = append(late, settled{call: p, event: event{kind: expired, address: address}, err: ErrDeadline})
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
	return late
}

// sortSettled brings what was handed to a stream back into that order; what was not stays behind it.
func sortSettled(all []settled) {
	slices.SortStableFunc(all, func(a, b settled) int { return cmp.Compare(a.order-1, b.order-1) })
}
