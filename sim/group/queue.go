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
)

// event is something that will happen. Those of a replica that has crashed since (its incarnation is
// another) do not happen any more.
type event struct {
	at          instant
	order       uint64
	kind        eventKind
	replica     int
	incarnation uint32
	// argument depends on kind: a message's or a transfer's slot, a partition's number.
	argument int
}

// eventQueue is a heap: the earliest event first, and among those of one moment the one scheduled first.
type eventQueue struct {
	heap  []event
	order uint64
}

func (q *eventQueue) push(e event) {
	q.order++
	e.order = q.order
	q.heap = append(q.heap, e)
	at := len(q.heap) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if !e.before(&q.heap[parent]) {
			break
		}
		q.heap[at] = q.heap[parent]
		at = parent
	}
	q.heap[at] = e
}

func (q *eventQueue) pop() (event, bool) {
	if len(q.heap) == 0 {
		return event{}, false
	}
	first := q.heap[0]
	last := len(q.heap) - 1
	moved := q.heap[last]
	q.heap = q.heap[:last]
	if last > 0 {
		q.sink(moved)
	}
	return first, true
}

// sink puts an event into the hole at the top, as deep as it belongs.
func (q *eventQueue) sink(e event) {
	at := 0
	for {
		child := 2*at + 1
		if child >= len(q.heap) {
			break
		}
		if right := child + 1; right < len(q.heap) && q.heap[right].before(&q.heap[child]) {
			child = right
		}
		if !q.heap[child].before(&e) {
			break
		}
		q.heap[at] = q.heap[child]
		at = child
	}
	q.heap[at] = e
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}
