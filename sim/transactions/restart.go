package transactions

import (
	"io"

	"github.com/viewline/viewline/txn/history"
)

// restart ends a replica's process and starts it again from a checkpoint of a replica that has applied at
// least as much. What it had in memory is gone: its front, who waited there, what it had admitted and not yet
// proposed, and all answers that it owed.
func (w *World) restart() bool {
	i := w.random.below(len(w.shards))
	s := &w.shards[i]
	r := w.random.below(len(s.replicas))
	source := r
	if other := w.random.below(len(s.replicas)); s.replicas[other].applied > s.replicas[r].applied {
		source = other
	}
	w.mark(MarkRestart)
	w.tracef("%4d  restart: shard %d, replica %d from a checkpoint of replica %d", w.now, s.number, r, source)
	old := s.replicas[r]
	for _, e := range s.log[old.applied:] {
		if e.replica == r && e.message >= 0 {
			w.put(event{kind: giveUp, a: e.message})
		}
	}
	state := w.restored(s, source)
	s.replicas[r] = replica{state: state, front: w.newFront(state), applied: s.replicas[source].applied, incarnation: old.incarnation + 1}
	for number := range w.messages {
		if m := &w.messages[number]; m.waiting && m.shard == i && m.replica == r {
			m.waiting = false
			w.redirect(int32(number))
		}
	}
	if s.primary == r {
		w.elect(i)
	}
	return true
}

// restored takes a checkpoint and makes a state of it; the two have to be the same.
func (w *World) restored(s *shard, source int) *history.State {
	var records []history.Record
	snapshot := s.replicas[source].state.Snapshot()
	if err := snapshot.Each(func(record history.Record) error {
		records = append(records, record)
		return nil
	}); err != nil {
		w.problem("a checkpoint of shard %d cannot be read: %v", s.number, err)
	}
	state, err := history.Restore(w.stateOptions(s.number), func() (history.Record, error) {
		if len(records) == 0 {
			return nil, io.EOF
		}
		record := records[0]
		records = records[1:]
		return record, nil
	})
	if err != nil {
		panic(err) // a checkpoint that was not damaged
	}
	if state.Hash() != s.replicas[source].state.Hash() {
		w.problem("a restored replica of shard %d differs", s.number)
	}
	return state
}
