package group

// instant is a moment of simulated time, or a length of it.
type instant int64

// momentsPerTick is how long a tick of a clock without drift takes.
const momentsPerTick = 8

// eventKind says what happens when an event's time has come.
type eventKind uint8

const (
	eventTick eventKind = iota + 1
	eventDeliver
	eventDiskDone
	eventServeCheckpoint
	eventCheckpointArrived
	eventCheckpointFailed
	eventCheckpointCreated
	eventRestart
	eventResume
	eventHealPartition
	eventFaults
	eventClient
	eventCancelHandover
	eventFetchAgain
	eventHoldExpires
	eventStale
	eventCancelStale
	eventWrittenBehind
)

// event is something that will happen. Those of a replica that has crashed since (its incarnation is
// another) do not happen any more.
type event struct {
	at          instant
	kind        eventKind
	replica     int
	incarnation uint32
	// argument depends on kind: a message's or a transfer's slot, a partition's number.
	argument int
}

// turnMoments is how many moments the queue's wheel has.
const turnMoments = 1 << 11

// eventQueue is a wheel of moments: the earliest event first, and among those of one moment the one scheduled first.
// Nothing is ever scheduled for a moment that is over.
type eventQueue struct {
	// moments are those of the turn that begins at turn, each with its events in the order in which they were scheduled;
	// now is the one that pop is at.
	moments [turnMoments]moment
	turn    instant
	now     instant
	count   int // of all events
	// nodes are the events of this turn, free the first of those that may be used again. 0 is none.
	nodes []eventNode
	free  int32
	// later are the events of turns to come, in the order in which they were scheduled.
	later []event
}

// eventNode is an event with the number of the one that follows it in its moment, small enough that many fit into a cache.
type eventNode struct {
	at          instant
	argument    int32
	incarnation uint32
	next        int32
	replica     int16
	kind        eventKind
}

// moment is the first and the last of its events; 0: it has none.
type moment struct{ first, last int32 }

func (q *eventQueue) push(e event) {
	q.count++
	if e.at >= q.turn+turnMoments {
		q.later = append(q.later, e)
		return
	}
	node := eventNode{at: e.at, argument: int32(e.argument), incarnation: e.incarnation, replica: int16(e.replica), kind: e.kind}
	at := q.free
	if at == 0 {
		if len(q.nodes) == 0 {
			q.nodes = append(q.nodes, eventNode{})
		}
		at = int32(len(q.nodes))
		q.nodes = append(q.nodes, node)
	} else {
		q.free = q.nodes[at].next
		q.nodes[at] = node
	}
	m := &q.moments[e.at-q.turn]
	if m.first == 0 {
		m.first = at
	} else {
		q.nodes[m.last].next = at
	}
	m.last = at
}

func (q *eventQueue) pop() (event, bool) {
	if q.count == 0 {
		return event{}, false
	}
	q.count--
	for q.moments[q.now-q.turn].first == 0 {
		if q.now++; q.now == q.turn+turnMoments {
			q.nextTurn()
		}
	}
	m := &q.moments[q.now-q.turn]
	at := m.first
	node := &q.nodes[at]
	m.first = node.next
	node.next, q.free = q.free, at
	return event{
		at: node.at, kind: node.kind, replica: int(node.replica), incarnation: node.incarnation, argument: int(node.argument),
	}, true
}

// nextTurn takes up what was scheduled for it before it began.
func (q *eventQueue) nextTurn() {
	q.turn += turnMoments
	waiting := q.later
	q.later = q.later[:0]
	for _, e := range waiting {
		q.count--
		q.push(e) // what belongs to a turn after this one is put back, no further than it was
	}
}

// reset empties the queue, and keeps its memory.
func (q *eventQueue) reset() {
	clear(q.moments[:])
	q.turn, q.now, q.count, q.free = 0, 0, 0, 0
	q.nodes, q.later = q.nodes[:0], q.later[:0]
}
